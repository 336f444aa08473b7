"""A rule's batches: due paths are taken when a slot is free, looked at once, and made a job of.

Until then they stay dirty; while a batch is looked at, or its job runs, its paths are *taken*.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from filewatchd.errors import FilewatchdError
from filewatchd.jobs.eyes import Taken
from filewatchd.jobs.looking import ERROR_PAUSE
from filewatchd.jobs.noticed import noticed
from filewatchd.jobs.queue import BUSY, DRAINS, Drain, Ebb, Move, share, slot, width
from filewatchd.jobs.runner import Record
from filewatchd.model import Hint, Trigger

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

log = logging.getLogger("filewatchd.jobs")

_MOST = 1000  # paths in a job
_NEWS = ~Hint.AGAIN  # a second look neither cancels what runs nor is skipped for it
_STUCK_AFTER = 5.0  # seconds for cancelled jobs to end
AGAIN_AFTER = 1.0  # seconds after which a racy row is looked at once more


class Batches:
    """Those of one rule that are looked at or run."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._tasks: dict[asyncio.Task[None], Record | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.drains = Drain.INTAKE

    def __len__(self) -> int:
        return len(self._tasks)

    def advance(self, now: float) -> None:
        """Give out what is due to free slots, and set the timer for what comes next."""
        pipeline, settings = self._pipeline, self._pipeline.settings
        due = pipeline.window.release(now)
        most = width(settings.on_busy, settings.concurrency)
        move = BUSY[settings.on_busy, slot(len(self._tasks), most)]
        if move is Move.START or pipeline.holding.why is not None:  # what is held neither leaves nor cancels anything
            self._fill(most, now)
        elif move is Move.LEAVE and due:
            self._skip(now)
        elif move is Move.CANCEL and due and pipeline.window.is_due(_NEWS):
            self.cancel_running()
        self._arm(now)

    def _fill(self, most: int, now: float) -> None:
        pipeline = self._pipeline
        while len(self._tasks) < most and self._is_free():
            due = pipeline.window.release(now)
            waiting = pipeline.backoff.due if pipeline.holding.why is None else []
            if not due and not waiting:
                break
            if not pipeline.engine.slots.take(pipeline):
                break
            if waiting:
                self._start(pipeline.attempts.retry(waiting.pop(0)))
                continue
            taken = self._take(share(due, most - len(self._tasks), _MOST), now)
            if not taken:
                pipeline.engine.give_slot()
                break
            self._start(self._process(taken))

    def _is_free(self) -> bool:
        """Whether a job may start at all, or a look at what a pause discards."""
        pipeline = self._pipeline
        return not pipeline.holding.waits and self.drains is Drain.INTAKE and pipeline.engine.gate.is_open

    def _take(self, most: int, now: float) -> Taken:
        pipeline, taken = self._pipeline, []
        stalled = {number for number in pipeline.bindings if pipeline.is_stalled(number)}
        for key, entry in pipeline.window.take(most, now):
            if key[0] in stalled:
                pipeline.window.put_back(key, entry, ERROR_PAUSE, now)
            elif key in pipeline.taken:  # in a running job of this rule: waits for its end
                pipeline.window.put_back(key, entry, max(pipeline.settings.settle, 0.05), now)
            else:
                taken.append((key, entry))
        if taken and pipeline.skipped:
            taken += list(pipeline.skipped.items())
            pipeline.skipped.clear()
            pipeline.engine.doubted()
        pipeline.taken.update((key, entry.first) for key, entry in taken)
        if pipeline.backoff.waiting:
            pipeline.backoff.yield_to([key for key, _ in taken], now)
        if pipeline.open:
            pipeline.untold.update(key for key, _ in taken if key in pipeline.open)
        return taken

    def _skip(self, now: float) -> None:
        pipeline = self._pipeline
        for key, entry in pipeline.window.take(1 << 30, now, 1 << 40):
            if entry.hint & _NEWS:
                pipeline.skipped[key] = entry
                pipeline.count("skipped_while_busy")
            else:
                pipeline.window.put_back(key, entry, AGAIN_AFTER, now)
        pipeline.engine.doubted()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        engine = self._pipeline.engine
        if not task.cancelled() and task.exception() is not None:
            engine.failed(self._pipeline, task.exception())
        engine.give_slot()
        self._go_on()

    def _arm(self, now: float) -> None:
        due = self._pipeline.window.next_due(now)
        if self._timer is not None:
            if due is not None and self._timer.when() <= due and self._timer.when() > now:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self._pipeline.holding.waits:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._go_on()

    def _go_on(self) -> None:
        self._pipeline.engine.touched.add(self._pipeline)
        self._pipeline.engine.poke()

    # ---- a batch

    async def _process(self, taken: Taken) -> None:
        """Look at a batch, and make a job of what the rule wants of it."""
        pipeline, looking, clock = self._pipeline, self._pipeline.looking, self._pipeline.clock
        try:
            mounts = pipeline.engine.mounts()
            looks = await looking.eyes.look(taken)
            if pipeline.successor is not None or pipeline.holding.waits:  # a reload, or a hold, came between
                self._put_back(taken, 0.0)
                return
            now = clock.monotonic()
            found = looking.resolve_all(taken, looks, mounts, now)
            if pipeline.holding.discards:
                pipeline.holding.paused.discard(found, now)
                return
            looking.tell_others(found)
            items = looking.changes(found, now)
            if items:
                story = noticed(taken, items, clock)
                await pipeline.attempts.attempt(Record(_trigger(taken), items, clock.wall_ns(), story))
        except FilewatchdError as error:
            self._wait(taken, error)
        finally:
            pipeline.release(key for key, _ in taken)

    def _wait(self, taken: Taken, error: FilewatchdError) -> None:
        """The paths stay dirty; while state can't be written, for the gate to open, which tells of it for all rules."""
        if not self._pipeline.engine.gate.is_open:
            self._put_back(taken, 0.0)
            return
        rule = self._pipeline.settings.name
        log.error("rule %s waits: %s", rule, error, extra={"rule": rule})
        self._put_back(taken, ERROR_PAUSE)

    def _put_back(self, taken: Taken, delay: float) -> None:
        """Nothing came of a batch, and nothing is lost: its paths are dirty as before."""
        heir, now = self._pipeline.heir, self._pipeline.clock.monotonic()
        for key, entry in taken:
            if heir.selection.selects_path(key[1]):
                heir.window.put_back(key, entry, delay, now)
        self._pipeline.engine.touched.add(heir)

    def jobs(self) -> list[Record]:
        """The jobs that run now."""
        return [record for record in self._tasks.values() if record is not None]

    def running(self, task: asyncio.Task[None], record: Record | None) -> None:
        """A batch has become a job, which can be cancelled; or (None) an attempt has ended, and can't be any more."""
        self._tasks[task] = record

    def cancel_running(self, *, at_once: bool = False) -> None:
        """Cancel the running jobs; their paths become dirty again. ``at_once``: commands get no grace."""
        for task, record in list(self._tasks.items()):
            if record is not None and (at_once or not task.cancelling()):
                task.cancel()

    def cancel_job(self, job: int, by: str) -> int | None:
        """Somebody cancels a job that runs; over how many paths it is. None if it doesn't run here.

        Raises:
            StateError: it can't be written down, so the job goes on.
        """
        for task, record in self._tasks.items():
            if record is not None and record.id == job:
                self._pipeline.engine.store.journal.mark_cancelled(job, by)
                record.cancelled_by = by
                task.cancel()
                return len(record.items)
        return None

    # ---- its end

    async def drain(self, deadline: float) -> None:
        """Start nothing more, and wait for what runs; past the deadline it is cancelled and stays journaled."""
        self.drains = DRAINS[self.drains, Ebb.ASKED]
        if self._timer is not None:
            self._timer.cancel()
        await self._ebb(max(0.0, deadline - self._pipeline.clock.monotonic()), Ebb.LATE)
        if self.drains is Drain.CUTTING:
            self.cancel_running()
            await self._ebb(_STUCK_AFTER, Ebb.STUCK)

    async def _ebb(self, seconds: float, otherwise: Ebb) -> None:
        """Wait so long for what runs."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        self.drains = DRAINS[self.drains, otherwise if self._tasks else Ebb.EMPTY]


def _trigger(taken: Taken) -> Trigger:
    hints = 0
    for _, entry in taken:
        hints |= entry.hint
    if hints & Hint.LIVE:
        return Trigger.CHANGE
    if hints & Hint.FORCED:
        return Trigger.SCHEDULE if hints & Hint.SCHEDULED else Trigger.MANUAL
    return Trigger.STARTUP if hints & Hint.STARTUP else Trigger.RESCAN
