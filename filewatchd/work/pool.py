"""Threads for blocking work: one lane per filesystem, so that a hung one holds up no other.

The kernel can't be told to give up on a hung filesystem: a thread inside lstat on a dead NFS mount stays there
until the server answers. So every filesystem has a lane of its own with at most two threads; a lane whose threads
hang queues up and shows as stalled, the other lanes go on. The threads are daemon threads: a hung one can't hold
the process's exit. They start with the first work, and end after a while without any: waiting costs one wake-up at
the end of that while, never a periodic one. Where no thread may be had just then, work waits, and it is tried again.

``queue.SimpleQueue`` hands work over in C, and results come back by ``call_soon_threadsafe``: a hop there and back
costs some 50 us, so work is dispatched in batches and not file by file.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from filewatchd.clock import Clock, SystemClock

T = TypeVar("T")
log = logging.getLogger("filewatchd.work")

_AGAIN = 1.0  # seconds until a thread that couldn't be started is tried again

_here = threading.local()  # what a pool thread knows of itself


def alive() -> None:
    """Called by long work between its steps: it goes on, so its lane isn't hanging. Elsewhere it does nothing."""
    beat: Callable[[], None] | None = getattr(_here, "beat", None)
    if beat is not None:
        beat()


class Task(NamedTuple):
    """One piece of work on its way to a thread."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    work: Callable[..., Any]
    args: tuple[Any, ...]


class LaneStatistics(NamedTuple):
    """A lane at a glance. ``oldest``: seconds the longest-running work has been running, 0.0 if there is none."""

    queued: int
    running: int
    oldest: float


class Lane:
    """The queue and the threads of one filesystem. Its counters change only under the pool's lock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.queued = 0
        self.threads = 0
        self.short = False  # it has none, for none could be started
        self.running: dict[int, float] = {}  # thread -> when its work began


class Pool:
    """Runs blocking functions in the lane of their filesystem; "" is the common lane.

    ``threads`` is the most a lane has, ``linger`` the seconds an idle thread waits for more work before it ends.
    `hangs` is called on the loop with a lane's name and True when work in it has been running for ``patience`` seconds,
    and with False when it went on.
    """

    def __init__(
        self, *, threads: int = 2, linger: float = 20.0, patience: float = 10.0, clock: Clock | None = None
    ) -> None:
        self._most = threads
        self._linger = linger
        self._patience = patience
        self._now = (clock or SystemClock()).monotonic
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.hangs: Callable[[str, bool], None] = lambda _lane, _does: None
        self._hanging: set[str] = set()
        self._supervised = False

    def run(self, lane: str, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run ``work(*args)`` in a thread of the lane; call it on the event loop's thread.

        Cancelling the future abandons the result; work that has not begun is then left out.

        Raises:
            RuntimeError: the pool was closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._enqueue(lane, Task(loop, future, work, args), loop)
        if not self._supervised:
            self._supervised = True
            loop.call_later(self._patience, self._supervise, loop)
        return future

    def _supervise(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell of lanes that hang or go on; runs only while there is work."""
        lanes = self.statistics()
        hanging = {name for name, lane in lanes.items() if lane.oldest >= self._patience}
        before, self._hanging = self._hanging, hanging
        for name in sorted(before ^ hanging):
            self.hangs(name, name in hanging)
        self._supervised = not self._closed and any(lane.queued or lane.running for lane in lanes.values())
        if self._supervised:
            loop.call_later(self._until_next(lane.oldest for lane in lanes.values()), self._supervise, loop)

    def _until_next(self, oldest: Iterable[float]) -> float:
        """Seconds until a lane may begin to hang; at most a tenth of our patience where one does, and never less."""
        soonest = min((self._patience - age for age in oldest), default=self._patience)
        return max(soonest, self._patience / 10)

    def hanging(self, lane: str) -> bool:
        """Whether work in a lane has been running for longer than our patience."""
        with self._lock:
            found = self._lanes.get(lane)
            return (
                found is not None and self._now() - min(found.running.values(), default=self._now()) >= self._patience
            )

    def close(self) -> None:
        """Let all threads end once their queues are empty; doesn't wait for them."""
        with self._lock:
            self._closed = True
            for lane in self._lanes.values():
                for _ in range(lane.threads):
                    lane.tasks.put(None)

    def statistics(self) -> dict[str, LaneStatistics]:
        """What every lane is doing."""
        with self._lock:
            now = self._now()
            return {
                name: LaneStatistics(lane.queued, len(lane.running), now - min(lane.running.values(), default=now))
                for name, lane in self._lanes.items()
            }

    def _enqueue(self, name: str, task: Task, loop: asyncio.AbstractEventLoop) -> None:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name)
        lane.queued += 1
        lane.tasks.put(task)
        waiting = lane.threads - len(lane.running)
        if waiting < lane.queued and lane.threads < self._most and not lane.short:
            self._staff(lane, loop)

    def _staff(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        """One thread more. Where none may be had, those there are do the work; if there are none, it waits."""
        try:
            thread = threading.Thread(target=self._serve, args=(lane,), name=f"pool {lane.name}".strip(), daemon=True)
            thread.start()
            lane.threads += 1
            lane.short = False
        except RuntimeError as error:
            if lane.threads == 0:
                if not lane.short:
                    log.error("%s: work waits until one can: raise TasksMax= of the unit, or end what fills it", error)
                lane.short = True
                loop.call_later(_AGAIN, self._staff_again, lane, loop)

    def _staff_again(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._staff(lane, loop)

    def _serve(self, lane: Lane) -> None:
        """A thread's life: take, do, deliver, until there was nothing to do for a while."""
        me = threading.get_ident()
        _here.beat = lambda: lane.running.__setitem__(me, self._now())
        while (task := self._take(lane, me)) is not None:
            if not task.future.cancelled():
                deliver(task, *perform(task))
            del task  # its arguments and result may be large, and the next wait long
            with self._lock:
                del lane.running[me]

    def _take(self, lane: Lane, me: int) -> Task | None:
        """The next task, counted as running; None once this thread has been counted out."""
        while True:
            try:
                task = lane.tasks.get(timeout=self._linger)
            except Empty:
                task = None
            with self._lock:
                if task is not None:
                    lane.queued -= 1
                    lane.running[me] = self._now()
                    return task
                if lane.queued == 0:  # under the lock: whoever enqueues next sees one thread less
                    self._count_out(lane)
                    return None

    def _count_out(self, lane: Lane) -> None:
        lane.threads -= 1
        if lane.threads == 0:
            del self._lanes[lane.name]


def perform(task: Task) -> tuple[Any, BaseException | None]:
    """The task's result, or what it raised."""
    try:
        return task.work(*task.args), None
    except BaseException as error:  # noqa: BLE001 - it travels to whoever waits for the result
        return None, error


def deliver(task: Task, result: Any, error: BaseException | None) -> None:
    """Hand the result over to the event loop; a loop that was closed has nobody waiting."""
    try:
        task.loop.call_soon_threadsafe(settle, task.future, result, error)
    except RuntimeError:
        if not task.loop.is_closed():
            raise


def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Resolve the future on the loop's thread, unless its waiter has gone."""
    if future.done():
        return
    if isinstance(error, StopIteration):  # a future refuses it: it would end whatever generator awaits
        error = RuntimeError(f"the work raised StopIteration: {error}")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
