"""watchdog: its observers and its event queue, on every system it knows. On Linux inotify through watchdog's eyes.

What watchdog does: an observer has an emitter (a thread) for each scheduled path and one thread that dispatches all
their events. On Linux all emitters of an observer share one inotify descriptor and one thread that reads it, so what is
read is in the order in which it happened; then each emitter holds back a MOVED_FROM for 0.5 s to pair it, with
everything that came after it. If the kernel's queue overflows, it only logs that. If a watch can't be had below the
top, it goes on without.

So, each in a file of its own:
- `watchdog_schedules`: what is observed. Arming proves that watchdog has a directory under its path.
- `watchdog_group`: what watchdog keeps to itself on Linux, and we reach for.
- `watchdog_barrier`: a file of ours, then a mark behind each emitter's queue. Both are exact; no time has to pass.
  The same file tells when an overflow is over: then `Lost` is told.
- `watchdog_anchors`: names outside the trees.
- `watchdog_observer`: its threads can die of an exception (`watchdog_group` tells of one). Then a new observer takes
  over, and all is looked at.
- `watchdog_events`: what its events mean. Every emitter has the same filter: the kernel has one mask per directory, and
  the last to ask would set it for all. OPENED and CLOSED_NO_WRITE are not in it: a watcher that scans would wake
  itself with them.

The backend itself, here, takes in what is told, and hands on what is wanted.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watchdog.events import DirDeletedEvent, FileSystemEvent

from filewatchd.clock import Clock
from filewatchd.watch.backends.base import Armed, Event, GoneDirectory, Keeper, Lost, TopGone
from filewatchd.watch.backends.watchdog_anchors import Anchors
from filewatchd.watch.backends.watchdog_barrier import Barrier
from filewatchd.watch.backends.watchdog_events import Telling
from filewatchd.watch.backends.watchdog_observer import Observation
from filewatchd.watch.backends.watchdog_schedules import Schedule, Schedules, drop, standing
from filewatchd.work.pool import Pool

_LANE = "watchdog"


class WatchdogBackend:
    """See the module's theory of operation."""

    name = "watchdog"
    limits: Sequence[str] = (
        "writes by other hosts on network filesystems are not seen",
        "writes through mmap are seen when they are synced or unmapped",
        "edits through a hard link outside the roots are not seen before the next scan",
        "on other systems than Linux, all below a root is watched, excluded directories too",
        "a file that is moved in from elsewhere counts as created, not as complete",
        "a move out of the watched trees is told half a second late",
        "every root and every directory above one costs a thread, and watchdog's queues have no bound",
    )

    def __init__(self, pool: Pool) -> None:
        """Raises FatalError if the system gives watchdog no descriptor."""
        self._pool = pool
        self._observation = Observation(self._overflowed, self._died)
        self._anchors = Anchors()
        self._schedules = Schedules(self._observation, self._anchors, self._hear, self._tell)
        self._barrier = Barrier(self._schedules, lambda: self._stopped)
        self._events: deque[FileSystemEvent | TopGone | Lost] = deque()
        self._woken = False
        self._wake: Callable[[], None] = lambda: None
        self._stopped = False
        self._dead = False
        self._left: set[str] = set()  # directories that are gone, perhaps with their watches
        self._counts = {"events": 0, "revivals": 0}

    # ---- life

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; ``wake`` is called from watchdog's dispatcher."""
        self._wake = wake
        self._observation.start()
        self._barrier.begin()

    def stop(self) -> None:
        """End it. watchdog's threads end in a thread of their own: that can take half a second."""
        self._stopped = True
        self._observation.stop()
        threading.Thread(target=self._end, name="watchdog-stop").start()

    def _end(self) -> None:
        self._observation.end()
        self._barrier.end()

    def _died(self) -> None:
        """Called in a thread of watchdog's that dies."""
        self._dead = True
        self._ring()

    def _revive(self) -> None:
        """Start anew in place of an observer that lost a thread. Called in the pool."""
        with self._schedules.lock:
            self._schedules.clear()
            self._observation.renew()
            self._barrier.begin()
            self._counts["revivals"] += 1
        self._tell(Lost())

    # ---- what watchdog tells (its dispatcher's thread, or the one that reads)

    def _hear(self, schedule: Schedule, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.src_path)
        if event.is_synthetic or self._stopped:
            return  # made up: what is in a directory that came is found by listing it
        if path.startswith(self._barrier.directory):
            if self._barrier.hear(os.path.basename(path)):
                self._tell(Lost())
        elif type(event) is DirDeletedEvent and path == schedule.path:
            schedule.gone = True
            self._tell(TopGone(path))
        else:
            self._tell(event)

    def _overflowed(self) -> None:
        if self._barrier.overflowed():
            self._tell(Lost())

    def _tell(self, item: FileSystemEvent | TopGone | Lost) -> None:
        self._events.append(item)
        self._ring()

    def _ring(self) -> None:
        if not self._woken and not self._stopped:
            self._woken = True
            self._wake()

    def drain(self) -> list[Event]:
        """Everything told since the last call."""
        self._woken = False
        if self._dead:
            self._dead = False
            self._pool.run(_LANE, self._revive)
        telling = Telling(self._anchors.wanted)
        for at in self._anchors.again():
            telling.name(at, moved=True)
        for _ in range(len(self._events)):
            self._take(self._events.popleft(), telling)
        events = telling.all()
        self._left.update(_path(e.directory, e.name) for e in events if type(e) is GoneDirectory and not e.renamed)
        return events

    def _take(self, item: FileSystemEvent | TopGone | Lost, telling: Telling) -> None:
        self._counts["events"] += 1
        if isinstance(item, FileSystemEvent):
            telling.take(item)
            return
        telling.events.append(item)
        if isinstance(item, TopGone):
            for name in self._anchors.names(item.path):
                telling.name((item.path, name), moved=True)

    # ---- arming (in scan threads)

    def arm(self, fd: int) -> int:
        """See that watchdog has an open directory; no token is needed."""
        path, identity = standing(fd)
        self._schedules.arm(path, identity, tree=True)
        return 0

    def proves(self, fd: int, token: int) -> bool:
        """There are no tokens: a walk finds its directory by its path."""
        return True

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """See that watchdog has an open directory. The token is when: what happens from now on is remembered."""
        path, identity = standing(fd)
        token = self._anchors.arming(path)
        self._schedules.arm(path, identity, tree=False)
        return token

    # ---- what is wanted (on the loop)

    def adopt(self, armed: list[Armed]) -> None:
        """Arming was all."""

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Tell of this name, also of what happened to it since the token was given."""
        if self._anchors.add(token, directory, name):
            self._ring()

    def unanchor(self, directory: str) -> None:
        """Tell no more of names in this directory."""
        self._anchors.drop(directory)
        if directory in self._schedules:
            self._pool.run(_LANE, self._schedules.end_unwanted, [directory])

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """End the schedules of directories that ``unwanted`` says yes to, unless another below is wanted."""
        if ended := self._schedules.release(unwanted):
            self._pool.run(_LANE, self._schedules.end_unwanted, ended)

    def suspects(self) -> Mapping[int, str]:
        """Watches at or below directories that are gone: they moved away with them, if they weren't deleted."""
        left, self._left = self._left, set()
        return self._schedules.suspects(left) if left and not self._stopped else {}

    def still_there(self, token: int, path: str) -> bool:
        """True if this watch is that of what stands at the path. Called in scan threads."""
        return self._schedules.still_there(token, path)

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Give back the watches that moved away."""
        away = self._schedules.away(gone, there)
        if away and not self._stopped:
            self._pool.run(_LANE, drop, away)

    async def barrier(self) -> None:
        """Return when watchdog has told all that happened before; after 9 s in any case."""
        await self._pool.run(_LANE, self._barrier.catch_up)

    def statistics(self) -> Mapping[str, Any]:
        """Counters since the start, and what is held."""
        held = {"watches": self._schedules.watches, "schedules": len(self._schedules), "anchors": len(self._anchors)}
        return {**self._counts, "overflows": self._barrier.overflows, **held}


def build(pool: Pool, clock: Clock, keeper: Keeper) -> WatchdogBackend:
    """The backend; it waits for watchdog's threads in the pool."""
    return WatchdogBackend(pool)


def _path(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"
