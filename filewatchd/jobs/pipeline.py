"""One rule's way from dirty path to outcome. Runs on the loop; looking at the disk happens in the pool.

A due path stays dirty until the rule has a free slot. Then a batch is taken and looked at once: that look
resolves the changes and is the first attempt's identity, journaled before anything runs. So a write during the
job is a new change, and a kill -9 at any moment leaves either a dirty difference or an *open row*: a path
attempted without an outcome, which counts as present and different until some job handles it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from filewatchd.errors import FilewatchdError
from filewatchd.jobs.absences import Absences
from filewatchd.jobs.attempts import Attempts
from filewatchd.jobs.binding import Binding, selection_of
from filewatchd.jobs.holding import Holding
from filewatchd.jobs.looking import ERROR_PAUSE, Looking, Taken
from filewatchd.jobs.noticed import noticed
from filewatchd.jobs.queue import BUSY, DRAINS, Drain, Ebb, Move, share, slot, width
from filewatchd.jobs.runner import Key, OpenAction, Record
from filewatchd.jobs.timings import Timings
from filewatchd.model import BatchBy, FileIdentity, Hint, RuleSettings, Trigger
from filewatchd.rules.debounce import Pending, Window
from filewatchd.state.comparison import ManifestReader

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine

log = logging.getLogger("filewatchd.jobs")

_MOST = 1000  # paths in a job
_ASKED = Hint.FORCED | Hint.SCHEDULED
_NEWS = ~Hint.AGAIN  # a second look neither cancels what runs nor is skipped for it
_STUCK_AFTER = 5.0  # seconds for cancelled jobs to end
_AGAIN_AFTER = 1.0  # seconds after which a racy row is looked at once more


class Pipeline:
    """A rule at work."""

    def __init__(self, settings: RuleSettings, engine: Engine) -> None:
        """``engine``: what all rules share."""
        self.settings = settings
        self.engine = engine
        self.clock = engine.clock
        self.window: Window[Key] = Window(settings.settle, settings.max_wait, together=settings.batch is BatchBy.RULE)
        self.selection = selection_of(settings)
        self.bindings: dict[int, Binding] = {}
        self.actions: list[OpenAction] = []
        self.counters: dict[str, int] = {}
        self.saved: dict[str, int] = {}  # the counters as they are on disk
        self.last: dict[str, Any] | None = None
        self.timings = Timings()
        self.open: dict[Key, int] = {}  # open rows: path -> the job that journals it
        # Open rows of jobs that somebody cancelled: the job, and what the path was then.
        self.cancelled: dict[Key, tuple[int, FileIdentity | None]] = {}
        self.skipped: dict[Key, Pending[Key]] = {}
        self.taken: dict[Key, float] = {}  # being looked at, or in a running job: dirty since when
        self._tasks: dict[asyncio.Task[None], Record | None] = {}
        self.looking = Looking(self)
        self.attempts = Attempts(self)
        self.holding = Holding(self)
        self.absences = Absences()
        self._timer: asyncio.TimerHandle | None = None
        self.counted = 0  # dirty paths when they were last counted
        self.drains = Drain.INTAKE
        self.successor: Pipeline | None = None  # a reload replaced this one: what it still finds goes there

    @property
    def heir(self) -> Pipeline:
        """The pipeline that takes what this one finds: itself, or who has replaced it by now."""
        heir = self
        while heir.successor is not None:
            heir = heir.successor
        return heir

    # ---- dirty paths

    def grown(self) -> int:
        """By how much the dirty paths are more, or less, than when this was last asked; a held rule's don't count."""
        before, self.counted = self.counted, 0 if self.holding.why else len(self.window)
        return self.counted - before

    def mark(self, key: Key, hint: int, now: float) -> None:
        """A path is dirty. A newer change supersedes a retry that waits, or joins what `on_busy: skip` left."""
        if self.successor is not None:
            self.heir.mark(key, hint, now)
            return
        if self.holding.why is not None and key not in self.window and not self.holding.has_room():
            return
        if hint & Hint.AWAY:
            self._may_have_been_away(key, now)
        if self.attempts.waiting and hint & Hint.LIVE:
            self.attempts.supersede(key)
        if self.skipped:
            left = self.skipped.pop(key, None)
            if left is not None:
                hint |= left.hint
        self.window.mark(key, hint, now)
        self.engine.touched.add(self)

    def _may_have_been_away(self, key: Key, now: float) -> None:
        """A path that was handled just now is open again; one that is being attempted stays open at the end."""
        job = self.absences.job_of(key, now) if key not in self.open else None
        if job is not None:
            self.open[key] = job

    def is_live(self, key: Key) -> bool:
        """True if a path is dirty, being looked at, running or open: what a baseline must not touch."""
        return key in self.window or key in self.taken or key in self.open

    def is_stalled(self, number: int) -> bool:
        """True if the filesystem of this binding's root doesn't answer."""
        binding = self.bindings.get(number)
        return binding is not None and self.engine.facts(binding.root).stalled

    def attempted(self) -> Iterator[Key]:
        """Open rows, and the paths being looked at or run: known without being in the manifest, or dirty."""
        yield from list(self.open)
        yield from list(self.taken.keys() - self.open.keys())

    def reader(self) -> ManifestReader:
        """A connection of a scan's own."""
        return self.engine.reader()

    def request(self, trigger: Trigger, paths: Sequence[str]) -> None:
        """Somebody asks for a job over these paths, or for one over no path."""
        now, hint = self.clock.monotonic(), _asking(trigger)
        if not paths:
            self.attempts.due.append(Record(trigger, [], self.clock.wall_ns()))
        for path in paths:
            for key in self.keys_of(path):
                self.mark(key, hint, now)
        self.engine.touched.add(self)
        self.engine.poke()

    def keys_of(self, path: str) -> list[Key]:
        """What a full path is to the rule: one key for each root that covers it; none if its patterns don't."""
        found = [(binding.number, binding.relative(path)) for binding in self.bindings.values()]
        return [
            (number, relative)
            for number, relative in found
            if relative is not None
            and self.selection.selects_path(relative)
            and (self.settings.recursive or "/" not in relative)
        ]

    def inherit(self, old: Pipeline) -> None:
        """Take over a replaced pipeline's bindings, dirty paths and open rows; what it runs, it finishes itself."""
        now = self.clock.monotonic()
        for number, binding in old.bindings.items():
            self.bindings[number] = Binding(number, self, binding.root, self.selection, self.engine.manifest)
            self.bindings[number].settle(binding.regions)
        kept = old.holding.paused.kept
        for key in [*old.window, *old.skipped, *kept, *(k for k in old.open if k not in old.taken)]:
            if self.selection.selects_path(key[1]):
                entry = old.window.get(key)
                asked = (kept.get(key, 0) | (entry.hint if entry is not None else 0)) & _ASKED
                self.window.mark_after(key, Hint.SCAN | asked, now, self.settings.settle)
        self.attempts.due = [record for record in old.attempts.due if not record.items]  # jobs over no path
        self.cancelled = old.cancelled
        self.open, self.taken = old.open, old.taken  # shared: what still runs there ends in them
        old.successor = self
        self.engine.touched.add(self)

    # ---- taking

    def advance(self, now: float) -> None:
        """Give out what is due to free slots, and set the timer for what comes next."""
        due = self.window.release(now)
        most = width(self.settings.on_busy, self.settings.concurrency)
        move = BUSY[self.settings.on_busy, slot(len(self._tasks), most)]
        if move is Move.START or self.holding.why is not None:  # what is held neither leaves nor cancels anything
            self._fill(most, now)
        elif move is Move.LEAVE and due:
            self._skip(now)
        elif move is Move.CANCEL and due and self.window.is_due(_NEWS):
            self.cancel_running()
        self._arm(now)

    def _fill(self, most: int, now: float) -> None:
        while len(self._tasks) < most and self.is_free():
            due = self.window.release(now)
            waiting = self.attempts.due if self.holding.why is None else []
            if not due and not waiting:
                break
            if not self.engine.slots.take(self):
                break
            if waiting:
                self._start(self.attempts.retry(waiting.pop(0)))
                continue
            taken = self._take(share(due, most - len(self._tasks), _MOST), now)
            if not taken:
                self.engine.give_slot()
                break
            self._start(self._process(taken))

    def is_free(self) -> bool:
        """Whether a job may start at all, or a look at what a pause discards."""
        return not self.holding.waits and self.drains is Drain.INTAKE and self.engine.gate.is_open

    def _take(self, most: int, now: float) -> Taken:
        taken = []
        stalled = {number for number, binding in self.bindings.items() if self.engine.facts(binding.root).stalled}
        for key, entry in self.window.take(most, now):
            if key[0] in stalled:
                self.window.put_back(key, entry, ERROR_PAUSE, now)
            elif key in self.taken:  # in a running job of this rule: waits for its end
                self.window.put_back(key, entry, max(self.settings.settle, 0.05), now)
            else:
                taken.append((key, entry))
        if taken and self.skipped:
            taken += list(self.skipped.items())
            self.skipped.clear()
            self.engine.doubted()
        self.taken.update((key, entry.first) for key, entry in taken)
        return taken

    def _skip(self, now: float) -> None:
        for key, entry in self.window.take(1 << 30, now, 1 << 40):
            if entry.hint & _NEWS:
                self.skipped[key] = entry
                self.count("skipped_while_busy")
            else:
                self.window.put_back(key, entry, _AGAIN_AFTER, now)
        self.engine.doubted()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.engine.failed(self, task.exception())
        self.engine.give_slot()
        self.engine.touched.add(self)
        self.engine.poke()

    def _arm(self, now: float) -> None:
        due = self.window.next_due(now)
        if self._timer is not None:
            if due is not None and self._timer.when() <= due and self._timer.when() > now:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self.holding.waits:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.engine.touched.add(self)
        self.engine.poke()

    # ---- a batch

    async def _process(self, taken: Taken) -> None:
        """Look at a batch, and make a job of what the rule wants of it."""
        try:
            mounts = self.engine.mounts()
            looks = await self.looking.look(taken)
            if self.successor is not None or self.holding.waits:  # a reload came between, with the actions, or a hold
                self._put_back(taken, 0.0)
                return
            now = self.clock.monotonic()
            found = self.looking.resolve_all(taken, looks, mounts, now)
            if self.holding.discards:
                self.holding.paused.discard(found, now)
                return
            items = self.looking.changes(found, now)
            if items:
                story = noticed(taken, items, self.clock)
                await self.attempts.attempt(Record(_trigger(taken), items, self.clock.wall_ns(), story))
        except FilewatchdError as error:
            self._wait(taken, error)
        finally:
            self.release(key for key, _ in taken)

    def _wait(self, taken: Taken, error: FilewatchdError) -> None:
        """The paths stay dirty; while state can't be written, for the gate to open, which tells of it for all rules."""
        if not self.engine.gate.is_open:
            self._put_back(taken, 0.0)
            return
        log.error("rule %s waits: %s", self.settings.name, error, extra={"rule": self.settings.name})
        self._put_back(taken, ERROR_PAUSE)

    def _put_back(self, taken: Taken, delay: float) -> None:
        """Nothing came of a batch, and nothing is lost: its paths are dirty as before."""
        heir, now = self.heir, self.clock.monotonic()
        for key, entry in taken:
            if heir.selection.selects_path(key[1]):
                heir.window.put_back(key, entry, delay, now)
        self.engine.touched.add(heir)

    def release(self, keys: Iterable[Key]) -> None:
        """These paths are no longer looked at or run."""
        for key in keys:
            self.taken.pop(key, None)

    def named(self, keys: Iterable[Key]) -> list[str]:
        """Full paths."""
        return [self.bindings[key[0]].path(key[1]) for key in keys if key[0] in self.bindings]

    def jobs(self) -> list[Record]:
        """The jobs that run now."""
        return [record for record in self._tasks.values() if record is not None]

    def running(self, task: asyncio.Task[None], record: Record | None) -> None:
        """A batch has become a job, which can be cancelled; or (None) an attempt has ended, and can't be any more."""
        self._tasks[task] = record

    def look_again(self, key: Key, now: float) -> None:
        """The row of a path is racy."""
        self.mark_after(key, Hint.AGAIN, now, _AGAIN_AFTER)

    def ask_held(self, now: float) -> None:
        """Ask once more whether files that were held open still are: a backend may not tell of a close."""
        for key in list(self.looking.written):
            if self.window.hasten(key, now):
                self.looking.written[key] = -math.inf
                self.engine.touched.add(self)

    def mark_after(self, key: Key, hint: int, now: float, delay: float, since: float | None = None) -> None:
        heir = self.heir
        heir.window.mark_after(key, hint, now, delay, since)
        self.engine.touched.add(heir)

    # ---- life

    def resume(self) -> None:
        """Go on after a hold.

        Raises:
            StateError: the hold can't be taken from the journal.
        """
        self._go_on(self.holding.release)

    def pause_over(self) -> None:
        """The time of its pause is over."""
        self._go_on(self.holding.pause_over)

    def _go_on(self, release: Callable[[], None]) -> None:
        """What is dirty by now doesn't count towards the limit: a person said go on, or when to."""
        release()
        if self.holding.why is not None:
            return
        without_room, self.holding.without_room = self.holding.without_room, 0
        self.looking.breaker.reset()
        self.looking.limit.reset(len(self.window) + without_room)
        self.engine.touched.add(self)
        if without_room:
            self.engine.doubted()
            for binding in self.bindings.values():
                self.engine.rescan(binding.root)

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
                self.engine.store.journal.mark_cancelled(job, by)
                record.cancelled_by = by
                task.cancel()
                return len(record.items)
        return None

    async def drain(self, deadline: float) -> None:
        """Start nothing more, and wait for what runs; past the deadline it is cancelled and stays journaled."""
        self.drains = DRAINS[self.drains, Ebb.ASKED]
        self.engine.slots.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        await self._ebb(max(0.0, deadline - self.clock.monotonic()), Ebb.LATE)
        if self.drains is Drain.CUTTING:
            self.cancel_running()
            await self._ebb(_STUCK_AFTER, Ebb.STUCK)
        for opened in self.actions:
            await opened.action.stop(max(0.0, deadline - self.clock.monotonic()))
            await opened.context.stop(max(0.0, deadline - self.clock.monotonic()))

    async def _ebb(self, seconds: float, otherwise: Ebb) -> None:
        """Wait so long for what runs."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        self.drains = DRAINS[self.drains, otherwise if self._tasks else Ebb.EMPTY]

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + by

    def remember(self, record: Record, counted: dict[str, int], seconds: float) -> None:
        """Keep the last outcome for status."""
        self.last = {"job": record.id, "time_ns": self.clock.wall_ns(), "seconds": seconds, "outcomes": counted}
        self.engine.state_changed()

    def failed(self) -> list[Key]:
        """Paths that have failed for good, and wait for somebody to ask for a retry, or for a change."""
        busy = self.attempts.waiting, self.window, self.taken
        return [key for key in self.open if not any(key in each for each in busy)]

    def statistics(self) -> dict[str, Any]:
        """What status shows of the rule."""
        return {
            "dirty": len(self.window),
            "running": len(self._tasks),
            "retrying": len(self.attempts.waiting),
            "open": len(self.open),
            "failed": len(self.failed()),
            "held": len(self.looking.held),
            "skipped": len(self.skipped),
            "paused": self.holding.why,
            "discarded": self.holding.without_room + self.holding.paused.discarded,
            "waits": None if self.engine.gate.is_open else "state can't be written",
            "counters": dict(self.counters),
            "last": self.last,
        }


def _asking(trigger: Trigger) -> int:
    """The hint of a path for which somebody asks."""
    return Hint.FORCED | Hint.SCHEDULED if trigger is Trigger.SCHEDULE else Hint.FORCED


def _trigger(taken: Taken) -> Trigger:
    hints = 0
    for _, entry in taken:
        hints |= entry.hint
    if hints & Hint.LIVE:
        return Trigger.CHANGE
    if hints & Hint.FORCED:
        return Trigger.SCHEDULE if hints & Hint.SCHEDULED else Trigger.MANUAL
    return Trigger.STARTUP if hints & Hint.STARTUP else Trigger.RESCAN
