"""`explain`: what every rule makes of a path, why, and what waits for it; or what one rule would do now."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from filewatchd.config.configuration import Configuration
from filewatchd.config.origins import UNKNOWN
from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError, decoded, listed, time_text, words
from filewatchd.errors import StalledError
from filewatchd.jobs.binding import Binding, below
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.waiting import Stage, Waiting, waiting
from filewatchd.model import RootState, RuleSettings
from filewatchd.rules.events import events_of
from filewatchd.service.covering import Covered, covered
from filewatchd.service.planning import planned
from filewatchd.service.preview import preview
from filewatchd.service.reasons import Case, besides, deciding
from filewatchd.service.report import Life
from filewatchd.service.rooting import Rooting
from filewatchd.service.sight import Sight, see
from filewatchd.state.rows import Row
from filewatchd.watch.roots import Root, RootKey
from filewatchd.work.files import writers_of

_PATIENCE = 10.0  # seconds for a look
_LONGEST = 300.0  # seconds for a comparison of a rule's roots
_STALLED = "its filesystem doesn't answer"
_ELSEWHERE = "it is below no root, so what is there is told to who may act alone"
_JSON_MOST = 1 << 63  # what a number in JSON may be at most; a stamp may be beyond that on tmpfs
_FEW = 20  # rules asked without letting others on


class Explaining:
    """The handler of `control.api.ROUTES`: explain."""

    def __init__(self, engine: Engine, rooting: Rooting, life: Callable[[], Life], configured: asyncio.Event) -> None:
        """``configured``: the rules have their roots."""
        self._engine = engine
        self._rooting = rooting
        self._life = life
        self._configured = configured

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"explain": self.explain}

    async def explain(self, asked: arguments.Explain, peer: Peer) -> documents.Explained:
        """What the rules make of a path; without one, what the rule would do now."""
        if asked.rule is not None and asked.path is None and asked.path_b64 is None:
            await self._configured.wait()
            return await self._now(self._rules(asked.rule)[0].name)
        path = path_of(asked)
        await self._configured.wait()
        sight = await (self._see(path) if peer.acts else self._see_inside(path))
        return await self._path(path, sight, self._rules(asked.rule))

    async def _now(self, rule: str) -> documents.Explained:
        pipeline = self._engine.pipelines.get(rule)
        if pipeline is None:
            return msgspec.convert({"rule": rule, "planned": [], "together": [], "more": 0}, documents.Explained)
        tops = {root.path: root.top for root in self._rooting.roots() if root.file is None and _walkable(root)}
        try:
            async with asyncio.timeout(_LONGEST):
                plans = await preview(pipeline, lambda binding: tops.get(binding.root))
        except (StalledError, TimeoutError):
            raise RequestError(503, f"a filesystem of the rule {rule} doesn't answer") from None
        return documents.Explained(rule=rule, **planned(plans))

    def _rules(self, wanted: str | None) -> Sequence[RuleSettings]:
        rules = self._life().configuration.rules
        chosen = [rule for rule in rules if wanted in (None, rule.name)]
        if wanted is not None and not chosen:
            known = ", ".join(rule.name for rule in rules) or "none"
            raise RequestError(404, f"there is no rule {wanted}; there are {known}")
        return chosen

    async def _path(self, path: str, sight: Sight, rules: Sequence[RuleSettings]) -> documents.Explained:
        configuration = self._life().configuration
        watched = {root.key: root for root in self._rooting.roots()}
        verdicts = []
        for number, rule in enumerate(rules):
            if number % _FEW == _FEW - 1:
                await asyncio.sleep(0)
            verdicts.append(await self._verdict(self._case(rule, configuration, path, sight, watched)))
        told = {**listed(path), "exists": sight.kind, "rules": verdicts}
        return msgspec.convert(told, documents.Explained)

    async def _see_inside(self, path: str) -> Sight:
        """The same for who may only ask and sees less than the daemon: of what is below no root nothing is told."""
        tops = [top for root in self._rooting.roots() for top in (root.path, _real(root)) if top]

        def inside(path: str) -> bool:
            return any(below(top, path) is not None for top in tops)

        sight = await self._see(path) if inside(path) else None
        if sight is not None and inside(sight.real):  # a symlink below a root may lead anywhere
            return sight
        return Sight(path, links=sight.links[:1] if sight is not None else (), error=_ELSEWHERE)

    async def _see(self, path: str) -> Sight:
        """Look, in the lane of the filesystem that the path is likely to be on: another that hangs is no obstacle."""
        roots = [root.path for root in self._rooting.roots() if below(root.path, path) is not None]
        lane = self._engine.facts(max(roots, key=len)).lane if roots else "explain"
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._engine.pool.run(lane, see, path)
        except TimeoutError:
            return Sight(path, error=_STALLED)

    async def _verdict(self, case: Case) -> documents.Verdict:
        if case.waiting is not None and case.waiting.stage is Stage.HELD:
            found = await self._engine.pool.run("", writers_of, case.path)
            case = case._replace(writers=[f"{program} (pid {pid})" for pid, program in found])
        reasons = list(deciding(case))
        matches = all(reason.passed for reason in reasons)
        also = list(besides(case)) if case.cover is not None else []
        told = {
            "rule": case.rule.name,
            "matches": matches,
            "why": _sentence(matches, reasons, also),
            "reasons": [*reasons, *also],
            "pending": None if case.waiting is None else self._pending(case.waiting, case.writers),
            "known": None if case.known is None else _known(case.known),
        }
        return msgspec.convert(told, documents.Verdict)

    def _case(
        self,
        rule: RuleSettings,
        configuration: Configuration,
        path: str,
        sight: Sight,
        watched: Mapping[RootKey, Root],
    ) -> Case:
        origins, pipeline = configuration.origins.get(rule.name, UNKNOWN), self._engine.pipelines.get(rule.name)
        roots = _roots(rule, pipeline, watched)
        cover = covered(rule.roots, {name: _real(root) for name, root in roots.items()}, path, sight.real)
        case = Case(rule, origins, pipeline, path, sight, cover)
        binding = _binding(pipeline, cover)
        if pipeline is None or cover is None or binding is None:
            return case
        return case._replace(
            root=roots.get(cover.root),
            waiting=waiting(pipeline, (binding.number, cover.relative)),
            known=self._row(binding, cover.relative),
        )

    def _row(self, binding: Binding, relative: str) -> Row | None:
        if binding.baseline is None:
            return None
        return self._engine.manifest.rows(binding.baseline.id, [relative]).get(relative)

    def _pending(self, found: Waiting, writers: Sequence[str]) -> dict[str, Any]:
        now, wall = self._engine.clock.monotonic(), self._engine.clock.wall_ns()

        def told(when: float | None) -> str | None:
            return None if when is None else time_text(wall + int((when - now) * 1e9))

        return {
            "state": found.stage.value,
            "since": told(found.since),
            "due": told(found.due),
            "job": found.job,
            "events": events_of(found.hint),
            "writers": [words(writer) for writer in writers],
        }


def _roots(rule: RuleSettings, pipeline: Pipeline | None, watched: Mapping[RootKey, Root]) -> dict[str, Root]:
    """The roots that are watched for a rule, by their names."""
    names = [] if pipeline is None else [binding.root for binding in pipeline.bindings.values()]
    keys = [RootKey(name, rule.recursive, rule.follow_symlinks) for name in names]
    return {key.path: watched[key] for key in keys if key in watched}


def _walkable(root: Root) -> bool:
    """Whether its tree is what the rule knows: not one that is away, hangs, or is being got to know."""
    return root.state in (RootState.LIVE, RootState.DEGRADED)


def _real(root: Root) -> str:
    """Where a root really is; empty while it leads nowhere."""
    return (root.place.real or "") if root.place is not None else ""


def _binding(pipeline: Pipeline | None, cover: Covered | None) -> Binding | None:
    if pipeline is None or cover is None:
        return None
    return next((binding for binding in pipeline.bindings.values() if binding.root == cover.root), None)


def _sentence(matches: bool, reasons: Sequence[documents.Reason], also: Sequence[documents.Reason]) -> str:
    if not matches:
        return "it doesn't match: " + next(reason.text for reason in reasons if not reason.passed)
    but = next((reason.text for reason in also if not reason.passed), None)
    return "it matches" if but is None else f"it matches, but {but}"


def _known(row: Row) -> dict[str, Any]:
    stamps = {"mtime_ns": row.mtime_ns, "ctime_ns": row.ctime_ns}
    small = {name: ns if -_JSON_MOST <= ns < _JSON_MOST else None for name, ns in stamps.items()}
    return {"inode": row.ino, "size": row.size, **small}


def path_of(asked: arguments.Explain) -> str:
    """The path that is asked about, without `.`, `..` and doubled slashes; symlinks stay as they are.

    Raises:
        RequestError: there is none, or it is none.
    """
    if (asked.path is None) is (asked.path_b64 is None):
        raise RequestError(400, "say what to explain: one of path, path_b64, and rule (what it would do now)")
    path = asked.path or decoded(asked.path_b64 or "", "path_b64")
    if not path.startswith("/") or "\0" in path:
        raise RequestError(400, f"path: {words(path)!r} isn't an absolute path")
    return "/" + os.path.normpath(path).lstrip("/")
