"""Attempts at a job: journaled before they start, settled when they end, and retried with back-off.

What waits for the next attempt is in `backoff`.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from filewatchd.actions.base import Use
from filewatchd.errors import StalledError, StateError
from filewatchd.jobs.looking import ERROR_PAUSE
from filewatchd.jobs.queue import JobState, backoff
from filewatchd.jobs.runner import Item, JobRun, Key, OpenAction, Record, counts, run_actions
from filewatchd.jobs.story import Start, log_end
from filewatchd.model import OK, FileIdentity, Hint, Kind, Look, Outcome, Verdict
from filewatchd.state.rows import RACY
from filewatchd.work.files import look_at

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline


_LONGEST = 3600.0  # seconds that a retry is put off because somebody wishes it


class Attempts:
    """The attempts of one rule's jobs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._random = random.Random()

    async def attempt(self, record: Record) -> None:
        """Journal an attempt, run it, and settle its outcomes."""
        if self._pipeline.settings.event is not None and record.notice is None:
            self._pipeline.engine.notifying.gather(self._pipeline, record)
        record.attempt += 1
        task = asyncio.current_task()
        assert task is not None
        self._pipeline.batches.running(task, record)
        try:
            self._pipeline.engine.store.begin(self._pipeline, record)
        except StateError:
            record.attempt -= 1  # it was none
            raise
        self._pipeline.engine.attempting.add(record.id)
        started, mounts = self._pipeline.clock.monotonic(), self._pipeline.engine.mounts()
        record.start = Start(self._pipeline.settings.name, record)
        asyncio.get_running_loop().call_soon(record.start.tell)  # the work comes first
        try:
            await run_actions(self._pipeline.actions, record, functools.partial(self._call, record))
        except asyncio.CancelledError:
            while task.uncancel():
                pass
        finally:
            self._pipeline.engine.attempting.discard(record.id)
        self._pipeline.batches.running(task, None)
        await self._settle(record, started, mounts)

    @asynccontextmanager
    async def _call(self, record: Record, opened: OpenAction, items: Sequence[Item]) -> AsyncIterator[JobRun]:
        """One call of an action, with its files to itself if it needs that."""
        if opened.needs.use is Use.ANY:
            yield self._new_run(record, items)
            return
        files = [item.change.path for item in items]
        async with opened.context.lock(files, shared=opened.needs.use is Use.SHARED):
            yield self._new_run(record, items)

    def _new_run(self, record: Record, items: Sequence[Item]) -> JobRun:
        record.run = JobRun(
            record,
            self._pipeline.settings.name,
            self._pipeline.engine.generations.number,
            items,
            self._pipeline.settings.timeout,
            self._pipeline.engine.store.steps(record.id),
            self._effect,
            self._wrote,
            lambda: not self._pipeline.engine.gate.is_open,
        )
        return record.run

    async def _settle(self, record: Record, started: float, mounts: int) -> None:
        """Sort the outcomes: handled paths go to the manifest, the others wait, fail, or become dirty again.

        While they can't be written they wait here, and their paths count as in a running job. ``mounts``: the number of
        the mount table when the attempt started.
        """
        now = self._pipeline.clock.monotonic()
        items = list(record.items.values())
        counted = counts(items) if record.alone in (None, OK) else {record.alone.verdict.value: 1}
        if record.start is not None:
            record.start.tell()
        log_end(self._pipeline.settings.name, record, items, counted, now - started)
        for name, number in counted.items():
            self._pipeline.count(name, number)
        handled = [item for item in items if item.outcome is not None and item.outcome.handled]
        left = [item for item in items if not (item.outcome is not None and item.outcome.handled)]
        again = [item for item in left if self._is_retried(item.outcome, record)]
        repeats = bool(again) or self._is_retried(record.alone, record)
        pause = self._pause(record, again)
        state = JobState.BACKOFF

        def write() -> None:
            nonlocal state
            until_ns = self._pipeline.clock.wall_ns() + int(pause * 1e9) if repeats else None
            doubtful = [item for item in handled if self._may_have_been_away(item, mounts)]
            engine = self._pipeline.engine
            with engine.store.database.transaction():
                state = engine.store.settle(self._pipeline, record, handled, doubtful, until_ns)
                engine.notifying.ended(self._pipeline, record, state, items)

        gate = self._pipeline.engine.gate
        await gate.through(write)
        self._pipeline.looking.breaker.ran([item.change.path for item in handled], started, now)
        for item in handled:
            if item.flags & RACY and item.change.kind is not Kind.DELETED:
                self._pipeline.look_again(item.key, now)
        self._pipeline.absences.ended(handled, now, mounts)
        record.items = {}
        for item in left:
            if not self._is_retried(item.outcome, record):
                self._pipeline.backoff.give_up(item, record, now)
        if repeats:
            self._pipeline.backoff.begin(record, again, pause)
        taken = self._pipeline.taken
        since = min((record.since, *(taken.get(item.key, math.inf) for item in handled)))
        self._pipeline.timings.ended(now - started, math.inf if repeats or since == math.inf else now - since)
        self._pipeline.remember(record, counted, now - started)
        self._pipeline.engine.notifying.settled(self._pipeline, record, state)
        if any(_came(item) for item in items):
            name, came = self._pipeline.settings.name, self._pipeline.engine.expecting.came
            await gate.through(lambda: came(name, record.trigger, record.created_ns))

    def _may_have_been_away(self, item: Item, mounts: int) -> bool:
        """Whether something was told of a directory above a path while it was attempted, but that it was unmounted."""
        entry = self._pipeline.window.get(item.key) if item.change.kind is not Kind.DELETED else None
        return entry is not None and bool(entry.hint & Hint.AWAY) and self._pipeline.engine.mounts() == mounts

    def _is_retried(self, outcome: Outcome | None, record: Record) -> bool:
        if outcome is None or outcome.verdict is not Verdict.FAILED or record.cancelled_by is not None:
            return False
        if record.notice is not None and self._pipeline.successor is not None:  # others tell it now
            return False
        return outcome.retryable and record.attempt < self._pipeline.settings.retry.attempts

    def _pause(self, record: Record, again: list[Item]) -> float:
        """Seconds until the next attempt: as is configured, or what a receiver has asked for if that is longer."""
        outcomes = (OK, record.alone, *(item.outcome for item in again))
        wished = max(outcome.after for outcome in outcomes if outcome is not None)
        return max(min(wished, _LONGEST), backoff(self._pipeline.settings.retry, record.attempt, self._random))

    async def retry(self, record: Record) -> None:
        """Look at the paths once more, and attempt what is still there or still gone."""
        keys = list(record.items)
        taken = self._pipeline.backoff.take(record)
        self._pipeline.backoff.retrying.add(record)
        self._pipeline.taken.update(dict.fromkeys(taken, math.inf))  # no flush waits for a retry
        try:
            looks: list[Look] | None = None
            with suppress(StalledError):
                looks = await self._pipeline.looking.eyes.look_at(keys, None)
            if record.cancelled_by is not None:
                return
            if self._pipeline.successor is not None:  # a reload came between, and took the actions along
                for key in keys:
                    self._pipeline.mark_after(key, Hint.SCAN, self._pipeline.clock.monotonic(), 0.0)
                if not keys:
                    self._pipeline.heir.request(record.trigger, ())
            elif self._pipeline.holding.why is not None:  # no attempt was made: it waits on
                self._pipeline.backoff.begin(record, list(record.items.values()), 0.0)
            elif looks is None:
                self._pipeline.backoff.begin(record, list(record.items.values()), ERROR_PAUSE)
            else:
                await self._retry(record, keys, looks)
        finally:
            self._pipeline.backoff.retrying.discard(record)
            self._pipeline.release(taken)

    async def _retry(self, record: Record, keys: Sequence[Key], looks: Sequence[Look]) -> None:
        for key, look in zip(keys, looks, strict=True):
            self._renew(record, key, look)
        if record.items or not keys:  # a job over no path has nothing that could be gone
            await self._attempt_again(record)

    async def _attempt_again(self, record: Record) -> None:
        made = record.attempt
        try:
            await self.attempt(record)
        except StateError:
            if record.attempt > made:
                raise
            self._pipeline.backoff.begin(record, list(record.items.values()), 0.0)  # until the gate opens

    def _renew(self, record: Record, key: Key, look: Look) -> None:
        item = record.items[key]
        there, was_deleted = look.identity is not None, item.change.kind is Kind.DELETED
        if there == was_deleted and item.change.original_path is None:  # it went, or came back: another change
            del record.items[key]
            self._pipeline.backoff.doubt_source(item, self._pipeline.clock.monotonic())
            since = None if record.since == math.inf else record.since
            self._pipeline.mark_after(key, Hint.SCAN, self._pipeline.clock.monotonic(), 0.0, since)
        elif item.change.original_path is None:
            item.change = item.change._replace(identity=look.identity)
            item.flags = self._pipeline.looking.flags(key, look)

    def _effect(self, kind: str, old: str, new: str | None) -> None:
        if kind in ("moved", "removed", "archived"):
            self._pipeline.looking.wrote(old, None)
        self._pipeline.engine.effect(kind, old, new)

    def _wrote(self, path: str, identity: FileIdentity | None) -> None:
        if identity is None:
            look = look_at(path, 0, False)
            identity = look.identity
        self._pipeline.looking.wrote(path, identity)


def _came(item: Item) -> bool:
    """Whether a path has been attempted, and not only begun."""
    return item.outcome is not None and item.outcome.verdict is not Verdict.CANCELLED
