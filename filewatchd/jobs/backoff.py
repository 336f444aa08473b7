"""Jobs between two attempts: they wait without holding a slot, and then in line for one.

A newer change of one of a job's paths takes that path out of it. Somebody may end the waiting, or cancel the job; what
isn't tried any further stays open, or is dirty again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from filewatchd.jobs.queue import Drain
from filewatchd.jobs.runner import Item, Key, Record
from filewatchd.model import Hint, Verdict

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline


class BackOff:
    """A rule's jobs in back-off. ``waiting``: their paths; ``due``: jobs whose back-off is over."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.waiting: dict[Key, Record] = {}
        self.due: list[Record] = []
        self._alarms: dict[int, asyncio.TimerHandle] = {}  # jobs in back-off
        self.retrying: set[Record] = set()  # whose paths are looked at for the next attempt
        self._alone: dict[int, Record] = {}  # jobs over no path in back-off, by their numbers
        self.sources: dict[Key, Record] = {}  # the old names of moves that wait

    def left_behind(self) -> list[Key]:
        """The old names of moves that are in back-off or in a retry: nobody has been told yet that these are gone."""
        items = (item for record in {*self.waiting.values(), *self.retrying} for item in record.items.values())
        return [item.old_key for item in items if item.old_key is not None]

    def begin(self, record: Record, again: list[Item], pause: float) -> None:
        """A job waits for so many seconds, with these of its paths."""
        record.items = {item.key: item for item in again}
        taken = self._pipeline.taken
        record.since = min([record.since, *(taken.get(item.key, math.inf) for item in again)])
        live = [item.key for item in again if item.key in self._pipeline.window]
        for item in again:
            self.waiting[item.key] = record
            if item.old_key is not None:
                self.sources[item.old_key] = record
        for key in live:  # a newer change came while it ran
            self.supersede(key)
        if record.alone is not None:
            self._alone[record.id] = record
        if record.items or record.alone is not None:
            alarm = asyncio.get_running_loop().call_later(pause, self._retry_due, record)
            self._alarms[record.id] = alarm

    def supersede(self, key: Key) -> None:
        """A newer change of a path takes it out of the retry that waits."""
        record = self.waiting.pop(key, None)
        item = record.items.pop(key, None) if record is not None else None
        if item is not None:
            self.doubt_source(item, self._pipeline.clock.monotonic())

    def yield_to(self, keys: Iterable[Key], now: float) -> None:
        """Another job tells what became of these paths, so no retry does.

        A move that waits and came from one of them is no move any more: told later, it would say that the path is gone,
        though it may be there anew.
        """
        for key in keys:
            self.supersede(key)
            if (record := self.sources.pop(key, None)) is not None:
                for moved in [item.key for item in record.items.values() if item.old_key == key]:
                    del self.waiting[moved], record.items[moved]
                    self._pipeline.mark_after(moved, Hint.SCAN, now, 0.0)

    def take(self, record: Record) -> list[Key]:
        """Its paths wait no longer, and neither do the old names of its moves; returns all of them."""
        olds = [item.old_key for item in record.items.values() if item.old_key is not None]
        for key in record.items:
            self.waiting.pop(key, None)
        for key in olds:
            self.sources.pop(key, None)
        return [*record.items, *olds]

    def hasten(self, job: int | None) -> int:
        """End the back-off of one job, or of all; how many paths waited in it."""
        waiting = (*self.waiting.values(), *self._alone.values())
        records = {record.id: record for record in waiting if record.id in self._alarms}
        chosen = [record for record in records.values() if job in (None, record.id)]
        for record in chosen:
            self._alarms[record.id].cancel()
            self._retry_due(record)
        return sum(len(record.items) for record in chosen)

    def cancel(self, job: int, by: str) -> int | None:
        """Somebody cancels a job in back-off; over how many paths it is. None if it isn't here.

        Raises:
            StateError: it can't be written down, so the job waits on.
        """
        for record in {*self.waiting.values(), *self._alone.values(), *self.due, *self.retrying}:
            if record.id == job and (record.items or record.alone is not None):
                self._pipeline.engine.store.journal.cancel(job, by, self._pipeline.clock.wall_ns())
                record.cancelled_by = by
                paths = len(record.items)
                self._end(record)
                return paths
        return None

    def _end(self, record: Record) -> None:
        """It is tried no more; its paths stay open. One that is being looked at just now finds that out by itself."""
        if (alarm := self._alarms.pop(record.id, None)) is not None:
            alarm.cancel()
        self._alone.pop(record.id, None)
        self.due = [other for other in self.due if other is not record]
        now = self._pipeline.clock.monotonic()
        for key, item in record.items.items():
            if self.waiting.get(key) is record:
                del self.waiting[key]
            self.give_up(item, record, now)
        record.items = {}

    def take_alone(self) -> list[Record]:
        """Give away the jobs over no path that wait: a reload replaces their rule."""
        found = [record for record in (*self.due, *self._alone.values()) if record.alone is not None]
        for record in found:
            if (alarm := self._alarms.pop(record.id, None)) is not None:
                alarm.cancel()
        self.due = [record for record in self.due if record.alone is None]
        self._alone.clear()
        for record in found:
            record.renew()
        return found

    def has_alone(self) -> bool:
        """Whether a job over no path waits."""
        return bool(self._alone) or any(record.alone is not None for record in self.due)

    def repeat(self, job: int) -> bool:
        """End the back-off of a job over no path; False if there is none of this number."""
        if job not in self._alone:
            return False
        self.hasten(job)
        return True

    def due_at(self, record: Record) -> float | None:
        """When a job's back-off is over (monotonic); None if it is."""
        alarm = self._alarms.get(record.id)
        return None if alarm is None else alarm.when()

    def _retry_due(self, record: Record) -> None:
        self._alarms.pop(record.id, None)
        self._alone.pop(record.id, None)
        if (record.items or record.alone is not None) and self._pipeline.batches.drains is Drain.INTAKE:
            self.due.append(record)
            self._pipeline.batches.advance(self._pipeline.clock.monotonic())

    def give_up(self, item: Item, record: Record, now: float) -> None:
        """A cancelled path is dirty again, unless somebody cancelled its job.

        That one, or a failed one, stays open, and waits for a retry or a change.
        """
        cancelled = item.outcome is not None and item.outcome.verdict is Verdict.CANCELLED
        if record.cancelled_by is not None:
            self._pipeline.cancelled[item.key] = record.id, item.change.identity
        elif cancelled and self._pipeline.batches.drains is Drain.INTAKE:
            self._pipeline.mark_after(item.key, Hint.SCAN, now, 0.0)
        self.doubt_source(item, now)

    def doubt_source(self, item: Item, now: float) -> None:
        """A move that isn't taken further leaves its old name to be resolved by itself: it is gone."""
        if item.old_key is not None:
            self.sources.pop(item.old_key, None)
            self._pipeline.mark_after(item.old_key, Hint.SCAN, now, 0.0)
