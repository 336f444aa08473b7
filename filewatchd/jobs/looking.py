"""Looking at due paths, once: who is ready, what happened to them, and what of that the rule wants.

The look happens in the pool, in the lane of the paths' filesystem (that of a few just touched files of a local one on
the loop); everything it means is decided here, on the loop, by the pure functions of `filewatchd.rules`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from filewatchd.jobs.binding import Binding
from filewatchd.jobs.changes import source_of
from filewatchd.jobs.eyes import Eyes, Taken
from filewatchd.jobs.runner import Item, Key
from filewatchd.jobs.transients import note_transients
from filewatchd.model import FileIdentity, Hint, Kind, Look
from filewatchd.rules.breaker import PROBATION, LoopBreaker, MassLimit, Suspicion
from filewatchd.rules.debounce import Pending
from filewatchd.rules.holding import Brake
from filewatchd.rules.ready import ask_again, is_ready, sure_hint
from filewatchd.rules.resolve import NOTHING, Before, Found, Told, changes_of, resolve
from filewatchd.state.rows import RACY

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

log = logging.getLogger("filewatchd.jobs")

_MOUNTING = 0.05  # seconds until paths are looked at again that a mount or unmount may have come between
ERROR_PAUSE = 5.0  # seconds until a path that couldn't be looked at, or journaled, is tried again
_MOST_OWN = 10_000  # own writes remembered
_UNKNOWN, _OPEN, _OPEN_AWAY = Before(None), Before(None, open=True), Before(None, open=True, away=True)
_NO_JOB: tuple[int | None, FileIdentity | None] = (None, None)
_NEVER_ASKED: tuple[FileIdentity | None, int] = (None, 0)


class Looking:
    """The looks of one rule, and what has to be remembered between two of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        # Not ready: somebody had it open for writing at the last look; the last event of which that look knew.
        self.written: dict[Key, float] = {}
        self._waiting: dict[Key, tuple[FileIdentity, int]] = {}  # not ready: last identity, times asked
        self._own: dict[str, FileIdentity | None] = {}
        self._sure = sure_hint(pipeline.settings.ready)
        self.eyes = Eyes(pipeline)
        self.held: dict[Key, float] = {}  # not ready for longer than ready_timeout, since when
        self.breaker = LoopBreaker()
        self.limit = MassLimit(pipeline.settings.limit)

    def wrote(self, path: str, identity: FileIdentity | None) -> None:
        """An action wrote this, or took it away (None): finding it so is no change."""
        if len(self._own) >= _MOST_OWN:
            self._own.clear()
        self._own[path] = identity

    def resolve_all(self, taken: Taken, looks: list[Look], mounts: int, now: float) -> list[Found]:
        """What happened to each path that is ready; the others go back to the window.

        ``mounts``: the number of the mount table before the looks.
        """
        before = self.before([key for key, _ in taken])
        bindings, breaker = self._pipeline.bindings, self.breaker
        wall = self._pipeline.clock.wall_ns()
        found: list[Found] = []
        complete: list[tuple[Binding, Key, Pending[Key], Look]] = []
        stands = self.ground(mounts)
        waited_for: dict[Key, Key] = {}  # the other side of a rename whose new name isn't complete, and that name
        for (key, entry), look in zip(taken, looks, strict=True):
            binding, partner = bindings.get(key[0]), entry.partner
            if binding is None:
                continue
            if not stands(key[0], look):
                self._pipeline.window.put_back(key, entry, _MOUNTING, now)
            elif self._may_be_taken(key, entry, look, now, wall):
                complete.append((binding, key, entry, look))
            elif partner is not None:
                waited_for[partner] = key
        for binding, key, entry, look in complete:
            if key in waited_for:
                self._pipeline.window.put_back(key, entry, 0.0, now)
                self._pipeline.window.pair(key, waited_for[key])
                continue
            f = self._resolve(binding, key, before, look, entry, now)
            if f.path in breaker.known and self._loops(f, entry, now):
                self._pipeline.window.put_back(key, entry, PROBATION, now)
            else:
                found.append(f)
        return found

    def ground(self, mounts: int) -> Callable[[int, Look], bool]:
        """Whether a look can be believed: its root stands where it is known to, and what is absent was there to see."""
        engine = self._pipeline.engine
        still = engine.mounts() == mounts
        known = {number for number, binding in self._pipeline.bindings.items() if engine.facts(binding.root).stands}
        return lambda number, look: number in known and (still or look.identity is not None)

    def _may_be_taken(self, key: Key, entry: Pending[Key], look: Look, now: float, wall: int) -> bool:
        """Whether a looked-at path is ready; otherwise it is put back, or left to a scan."""
        if look.error:
            self._pipeline.window.put_back(key, entry, ERROR_PAUSE, now)
            self._pipeline.count("look_errors")
            return False
        if entry.hint & self._sure and not self._waiting and not self.held:
            return True  # as nearly all are
        return self._ready(key, entry, look, now, wall)

    def _resolve(
        self, binding: Binding, key: Key, batch: Mapping[Key, Before], look: Look, entry: Pending[Key], now: float
    ) -> Found:
        before = batch[key]
        resolved = NOTHING if self.is_cancelled(key, entry.hint, look) else resolve(before, look, entry.hint)
        path = binding.path(key[1])
        kind = resolved.kind
        if resolved.transient and entry.hint & Hint.OTHER:
            resolved = NOTHING  # it is a directory, or was
        if before.away and look.identity is None:
            self._pipeline.count("unmounted")
        if kind is not None:
            if self.is_own(path, look) and not entry.hint & Hint.FORCED:
                resolved = resolved._replace(kind=None, record=True)
            elif look.nlink > 1:
                for other in self._other_names(binding, key, look, kind):
                    if other not in batch:  # else it has just been looked at, too
                        self._pipeline.mark_after(other, entry.hint & ~Hint.CLOSED, now, 0.0, entry.first)
        if resolved.kind is not None:
            self._own.pop(path, None)  # what an action left there isn't there any more
        return Found(key, path, binding.root, before, look, resolved, entry.hint)

    def _other_names(self, binding: Binding, key: Key, look: Look, kind: Kind) -> list[Key]:
        """What happened to a file with several names happened to all of them, and only this one had an event."""
        assert look.identity is not None
        if binding.baseline is None:
            return []
        if kind is Kind.CREATED:  # a new name: rows of the older ones may not say yet that there are several
            self._pipeline.engine.links.add(binding, look.identity.ino)
        return [(key[0], path) for path in self._pipeline.engine.manifest.links(binding.baseline.id, look.identity.ino)]

    def before(self, keys: list[Key]) -> dict[Key, Before]:
        """What is known of these paths."""
        open_keys = self._pipeline.open
        known = {key: _OPEN if key in open_keys else _UNKNOWN for key in keys}
        by_binding: dict[int, list[str]] = {}
        for number, path in keys:
            by_binding.setdefault(number, []).append(path)
        for number, paths in by_binding.items():
            binding = self._pipeline.bindings.get(number)
            if binding is None or binding.baseline is None:
                continue
            rows = self._pipeline.engine.manifest.rows(binding.baseline.id, paths)
            for path, row in rows.items():
                key = number, path
                away = binding.standing.is_elsewhere(path, row[4])
                known[key] = Before(FileIdentity(*row[:4]), bool(row[4] & RACY), known[key].open, away)
            for path in paths if binding.standing.away else ():
                key = number, path
                if known[key] is _OPEN and binding.standing.may_be_elsewhere(path):
                    known[key] = _OPEN_AWAY
        return known

    def _ready(self, key: Key, entry: Pending[Key], look: Look, now: float, wall: int) -> bool:
        previous, asked = self._waiting.get(key, _NEVER_ASKED)
        if is_ready(self._pipeline.settings.ready, entry.hint, look, previous, self._pipeline.settings.settle, wall):
            self._waiting.pop(key, None)
            self.written.pop(key, None)
            if self.held.pop(key, None) is not None:
                log.info(
                    "%s is complete",
                    self._pipeline.bindings[key[0]].path(key[1]),
                    extra={"rule": self._pipeline.settings.name},
                )
            return True
        assert look.identity is not None
        self._waiting[key] = (look.identity, asked + 1)
        if look.writers:
            self.written[key] = entry.last
        else:
            self.written.pop(key, None)
        self._pipeline.window.put_back(key, entry, ask_again(self._pipeline.settings.settle, asked), now)
        if key not in self.held and now - entry.first >= self._pipeline.settings.ready_timeout:
            self.held[key] = now
            self._pipeline.engine.report_held(
                self._pipeline, self._pipeline.bindings[key[0]].path(key[1]), now - entry.first
            )
        return False

    def is_cancelled(self, key: Key, hint: int, look: Look) -> bool:
        """Whether somebody cancelled its job, and it is still as it was then: not even a comparison brings it up."""
        job, identity = self._pipeline.cancelled.get(key, _NO_JOB)
        if hint & (Hint.FORCED | Hint.WRITE) or look.identity != identity:
            return False
        return job is not None and self._pipeline.open.get(key) == job

    def is_own(self, path: str, look: Look) -> bool:
        """Whether it is what an action wrote."""
        return path in self._own and self._own[path] == look.identity

    def _loops(self, f: Found, entry: Pending[Key], now: float) -> bool:
        """Whether the path triggers its own rule, or may; then it isn't taken further now."""
        if f.resolved.kind is None or not entry.hint & Hint.LIVE:
            return False
        suspicion = self.breaker.changed(f.path, entry.first, entry.last, now)
        if suspicion is Suspicion.LOOPS:
            self._pipeline.holding.brake(
                Brake.LOOPED,
                f"{f.path} triggers its own rule in a loop: exclude what the rule writes, or write it elsewhere",
            )
        return suspicion in (Suspicion.PROBATION, Suspicion.LOOPS)

    def changes(self, found: list[Found], now: float) -> list[Item]:
        """What the rule wants of it, as items; the rest is entered in the manifest without a job."""
        told = self.wanted(found)
        polled = self.eyes.polled({f.root for f in found})
        items = [
            Item(
                t.found.key,
                t.change,
                self.flags(t.found.key, t.found.look),
                t.source.key if t.source is not None else None,
                source_of(t.found.hint, again=t.found.before.open, polled=t.found.root in polled),
            )
            for t in told
        ]
        if self.limit.limit is not None and self._exceeds(told, now):
            self._hold_masses(found, now)
            return []
        if len(items) < len(found):
            busy = {item.key for item in items} | {item.old_key for item in items}
            self.record_quietly([f for f in found if f.key not in busy], now)
        self._pipeline.count("changes", len(items))
        return items

    def tell_others(self, found: Sequence[Found]) -> None:
        """Tell actions that ask of paths where no file is, but for those of which a job tells that a file is gone."""
        pipeline = self._pipeline
        if not pipeline.engine.asks(pipeline):
            return
        kinds = pipeline.settings.changes
        for f in found:
            if f.hint & Hint.OTHER or (f.look.identity is None and f.resolved.kind not in kinds):
                whole = bool(f.hint & Hint.OTHER and f.hint & Hint.SCAN)
                pipeline.engine.other(pipeline, f.root, f.key[1], whole)

    def wanted(self, found: Sequence[Found]) -> list[Told]:
        """The changes that the rule wants; of a file that somebody asks for, whatever kind it is."""
        kinds = self._pipeline.settings.changes
        return [
            t
            for t in changes_of(found, moves=Kind.MOVED in kinds)
            if t.change.kind in kinds or (t.found.hint & Hint.FORCED and t.found.look.identity is not None)
        ]

    def _exceeds(self, told: list[Told], now: float) -> bool:
        """Whether too many paths have changed; what somebody asked for doesn't count."""
        changed = sum(not t.found.hint & Hint.FORCED for t in told)
        return changed > 0 and self.limit.exceeded(changed, now)

    def flags(self, key: Key, look: Look) -> int:
        """A look's flags as the manifest keeps them."""
        return self._pipeline.bindings[key[0]].flags(key[1], look)

    def _hold_masses(self, found: list[Found], now: float) -> None:
        assert self._pipeline.settings.limit is not None
        limit = self._pipeline.settings.limit
        why = f"more than {limit.paths} paths changed within {limit.per:g} s (limit)"
        self._pipeline.holding.brake(Brake.EXCEEDED, why)
        for f in found:
            self._pipeline.window.mark_after(f.key, f.hint & ~Hint.CLOSED, now, 0.0)

    def record_quietly(self, found: list[Found], now: float) -> None:
        """Enter what needs no job: kinds the rule doesn't want, own writes, rows no longer racy."""
        put: dict[int, list[tuple[str, FileIdentity, int]]] = {}
        drop: dict[int, list[str]] = {}
        closed: list[Key] = []
        note_transients(self._pipeline, found)
        for f in found:
            key: Key = f.key
            if f.resolved.kind is None and not f.resolved.record:
                continue
            if key in self._pipeline.open:
                closed.append(key)
            if f.look.identity is None:
                drop.setdefault(key[0], []).append(key[1])
            else:
                put.setdefault(key[0], []).append((key[1], f.look.identity, self.flags(key, f.look)))
                if f.look.racy:
                    self._pipeline.look_again(key, now)
        if put or drop or closed:
            self._pipeline.engine.store.record(self._pipeline, put, drop, closed)
