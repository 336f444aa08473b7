"""What is told of a rule's index and its runs, and how runs are begun and ended (`endpoints`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from filewatchd.actions.checksum import endpoints
from filewatchd.actions.checksum.glance import LANE, look_at
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.listing import standing
from filewatchd.actions.checksum.seeing import Presence, Wanted
from filewatchd.errors import ActionError
from filewatchd.state.index.reading import Reader, Summary
from filewatchd.state.index.rows import Root, Run, split

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum


class Figures:
    """One method for each endpoint."""

    def __init__(self, action: Checksum) -> None:
        self._action = action

    async def answer(self, endpoint: str, arguments: Any, uid: int | None) -> Any:
        """The document of an endpoint; ``uid``: who asks, if that is known.

        Raises:
            ActionError: it can't be done.
        """
        return await getattr(self, f"_{endpoint}")(arguments, uid)

    async def _status(self, _: None, uid: int | None) -> endpoints.Status:
        action = self._action
        found = await action.ctx.pool.run(LANE, summaries, action.index.path, action.ctx.rule.name)
        return endpoints.Status(
            index=action.index.path, set_aside=action.index.set_aside, roots=[_root(*each) for each in found]
        )

    async def _runs(self, _: None, uid: int | None) -> endpoints.Runs:
        action = self._action
        found = await action.ctx.pool.run(LANE, runs, action.index.path, action.ctx.rule.name)
        return endpoints.Runs(runs=[self._run(run) for run in found])

    def _run(self, run: Run) -> endpoints.RunInfo:
        running = self._action.runs.running.get(run.id)
        walk = running.walk if running is not None else None
        return endpoints.RunInfo(
            id=run.id,
            kind=run.kind,
            mode=run.mode,
            state=run.state,
            root=_shown(run.root),
            began=_time(run.began_ns),
            ended=None if run.ended_ns is None else _time(run.ended_ns),
            files=run.files,
            total=run.total,
            bytes=run.bytes,
            reading=walk.reading if walk is not None else 0,
            findings=run.findings,
            waits=self._action.runs.cycle.waits if run.kind == "scrub" and running is not None else "",
            verdicts={} if walk is None else {verdict.value: count for verdict, count in walk.verdicts.items()},
        )

    async def _verify(self, asked: endpoints.Verify, uid: int | None) -> endpoints.Begun:
        places = [(ground.root, "") for ground in self._action.ctx.grounds()]
        if asked.path is not None:
            places = [(root, scope) for root, _ in places if (scope := _below(root, asked.path)) is not None]
        if not places:
            raise ActionError("no root of the rule is there, or none has that path", retryable=False)
        if asked.path is not None:
            places = [place for place in places if await self._is_something(*place)]
            if not places:
                text = f"there is no file or directory {asked.path}, nor does the index know one"
                raise ActionError(text, retryable=False)
        begun = [await self._action.runs.verify(root, scope, asked.mode, uid) for root, scope in places]
        return endpoints.Begun(runs=begun)

    async def _is_something(self, root: str, path: str) -> bool:
        """Whether there is a file or directory, or one is known."""
        ctx, ledger = self._action.ctx, await self._action.ledger(root)
        if not path or await ctx.pool.run(LANE, _knows, ledger, path):
            return True
        (seen,) = await look_at(ctx, root, [Wanted(*split(path))], self._action.tracking())
        (stands,) = await ctx.worker.call(standing, root, [path])
        return bool(stands) or seen.presence is not Presence.ABSENT

    async def _stop(self, asked: endpoints.Stop, uid: int | None) -> endpoints.Begun:
        await self._action.runs.halt(asked.run)
        return endpoints.Begun(runs=[asked.run])

    async def _resume(self, asked: endpoints.Resume, uid: int | None) -> endpoints.Begun:
        return endpoints.Begun(runs=[await self._action.runs.resume(asked.run)])


def summaries(path: str, rule: str) -> list[tuple[Root, Summary]]:
    """A rule's roots in figures."""
    with Reader(path) as reader:
        return [(root, reader.summary(root.id)) for root in reader.roots(rule)]


def runs(path: str, rule: str) -> list[Run]:
    """A rule's last runs."""
    with Reader(path) as reader:
        return reader.runs(rule)


def _knows(ledger: Ledger, path: str) -> bool:
    """Whether there is a row of a path, or beneath it."""
    return bool(ledger.rows([path]) or ledger.count(path))


def _root(root: Root, summary: Summary) -> endpoints.RootInfo:
    since = None if summary.oldest is None or summary.unverified else _time(summary.oldest * 1_000_000_000)
    return endpoints.RootInfo(
        root=_shown(root.root),
        built=None if root.built_ns is None else _time(root.built_ns),
        files=summary.files,
        symlinks=summary.symlinks,
        bytes=summary.bytes,
        verified_since=since,
        unverified=summary.unverified,
        waiting=summary.waiting,
    )


def _below(root: str, path: str) -> str | None:
    top = root.rstrip("/")
    if path.rstrip("/") == top:
        return ""
    return path[len(top) + 1 :].rstrip("/") if path.startswith(top + "/") else None


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _time(when_ns: int) -> str:
    return datetime.fromtimestamp(when_ns / 1e9, UTC).isoformat(timespec="microseconds")
