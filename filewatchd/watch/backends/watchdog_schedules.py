"""What watchdog observes: its schedules, who needs them, and how a directory is armed.

A directory is scheduled for itself; once one below it is armed, it serves that one too, and what is below it (it is
recursive): file roots and roots that are not recursive never are. Where watchdog's tables can be reached
(`watchdog_group`), that is only noted here, and every directory below is added by whoever arms it: watchdog's own
recursion walks all that is below a new directory again for each level of it, watches excluded directories, and builds
all its watches anew when events were lost. Elsewhere it is watchdog that goes down.

Arming proves that watchdog has the directory under its path; there is no table of ours. All of this runs in scan
threads or in the pool, under the lock, but for what says "on the loop".
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import EventEmitter, ObservedWatch

from filewatchd.watch.backends.base import Lost, TopGone, WatchLimitError
from filewatchd.watch.backends.watchdog_anchors import Anchors
from filewatchd.watch.backends.watchdog_events import FILTER
from filewatchd.watch.backends.watchdog_group import Group
from filewatchd.watch.backends.watchdog_observer import Observation

log = logging.getLogger("filewatchd.watch")

Identity = tuple[int, int]  # device and inode


class Schedule(FileSystemEventHandler):
    """A path that watchdog observes, and the handler of its events."""

    emitter: EventEmitter
    watch: ObservedWatch

    def __init__(self, hear: Callable[[Schedule, FileSystemEvent], None], path: str, identity: Identity) -> None:
        self._hear = hear
        self.path = path
        self.identity = identity
        self.recursive = False
        self.tree = False  # a scan armed it; else only anchors need it
        self.gone = False

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called in watchdog's dispatcher, which an exception would end."""
        try:
            self._hear(self, event)
        except Exception:
            log.exception("what watchdog told could not be taken in: %r", event)

    @property
    def group(self) -> Group | None:
        """Its emitter's watches, where they can be reached."""
        return Group.of(self.emitter)

    @property
    def works(self) -> bool:
        """True unless the directory is gone, was replaced by another, or has lost its watch (an unmount does that)."""
        if self.gone or not self.emitter.is_alive() or _identity(self.path) != self.identity:
            return False
        group = self.group
        return group is None or group.holds(self.path)


class Schedules:
    """The schedules of one observer, by path."""

    def __init__(
        self,
        observation: Observation,
        anchors: Anchors,
        hear: Callable[[Schedule, FileSystemEvent], None],
        tell: Callable[[TopGone | Lost], None],
    ) -> None:
        """``hear`` gets watchdog's events, in its dispatcher; ``tell`` what is found out here, in any thread."""
        self.lock = threading.RLock()  # of the schedules and the observer; never taken on the loop
        self._observation = observation
        self._anchors = anchors
        self._hear = hear
        self._tell = tell
        self._by_path: dict[str, Schedule] = {}
        self._reached = False  # watchdog's tables can be: it doesn't go down by itself then
        self._suspects: dict[int, tuple[EventEmitter, int, str]] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Schedule]:
        return iter(list(self._by_path.values()))

    def __len__(self) -> int:
        return len(self._by_path)

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    @property
    def watches(self) -> int:
        """How many directories are watched."""
        return sum(group.count for group in (schedule.group for schedule in self) if group is not None)

    # ---- arming

    def arm(self, path: str, identity: Identity, *, tree: bool) -> None:
        """See that watchdog has a directory. Raises OSError, WatchLimitError where no watch is left."""
        with self.lock:
            self._see_to(path, identity, tree=tree)

    def _see_to(self, path: str, identity: Identity, *, tree: bool) -> None:
        own = self._by_path.get(path)
        if own is not None and not own.works:
            self.end(own)
            self._tell(TopGone(path))  # what it had yet to tell went with it
            own = None
        above = self._recursive_above(path)
        if own is None and above is None:
            beside = self._by_path.get(os.path.dirname(path))
            if tree and beside is not None and beside.tree and len(beside.path) > 1 and beside.works:
                above = self._widen(beside)
            else:
                own = self.begin(path, identity)
        if own is not None:
            own.tree = own.tree or tree
        _prove(own or above, path)

    def _recursive_above(self, path: str) -> Schedule | None:
        while len(path) > 1:
            path = os.path.dirname(path)
            schedule = self._by_path.get(path)
            if schedule is not None and schedule.recursive and schedule.works:
                return schedule
        return None

    def _widen(self, narrow: Schedule) -> Schedule:
        """Observe recursively what was observed for itself."""
        if self._reached:
            narrow.recursive = True
            return narrow
        wide = self.begin(narrow.path, narrow.identity, recursive=True)
        wide.tree = True
        self.end(narrow)
        return wide

    def begin(self, path: str, identity: Identity | None = None, *, recursive: bool = False) -> Schedule:
        """Schedule a path. Raises OSError."""
        made = Schedule(self._hear, path, identity or _identity(path))
        made.recursive = recursive
        observer = self._observation.observer
        try:
            made.watch = observer.schedule(made, path, recursive=recursive, event_filter=FILTER)
        except OSError as error:
            raise _named(error, path) from None
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread is left for watchdog: raise TasksMax= or ulimit -u", path) from error
        made.emitter = next(emitter for emitter in observer.emitters if emitter.watch == made.watch)
        if (group := made.group) is not None:
            group.mend()
            self._reached = True
        self._by_path[path] = made
        return made

    # ---- ending

    def end(self, schedule: Schedule) -> None:
        """Observe it no more. It waits for its emitter."""
        if self._by_path.get(schedule.path) is schedule:
            del self._by_path[schedule.path]
        with contextlib.suppress(KeyError):
            self._observation.observer.unschedule(schedule.watch)

    def clear(self) -> None:
        """Forget all: the observer has ended."""
        self._by_path.clear()

    def release(self, unwanted: Callable[[str], bool]) -> list[str]:
        """On the loop: those that ``unwanted`` says yes to, unless another below is wanted; for `end_unwanted`."""
        ended = []
        for schedule in self:
            if schedule.tree and unwanted(schedule.path) and not self._wanted_below(schedule, unwanted):
                schedule.tree = False
                ended.append(schedule.path)
        return ended

    def _wanted_below(self, schedule: Schedule, unwanted: Callable[[str], bool]) -> bool:
        if not schedule.recursive:
            return False
        group = schedule.group
        if group is None and not schedule.gone and schedule.emitter.is_alive():
            self._tell(Lost())  # it can't say what it covers: let every root be armed again
        wanted = group is not None and not all(unwanted(path) for path in group.paths())
        return wanted or self._anchors.below(schedule.path)

    def end_unwanted(self, paths: Iterable[str]) -> None:
        """End these. Whatever was armed or anchored again meanwhile stays."""
        with self.lock:
            for path in paths:
                schedule = self._by_path.get(path)
                if schedule is not None and not schedule.tree and path not in self._anchors:
                    self.end(schedule)

    # ---- what moved away with its watches

    def suspects(self, left: set[str]) -> Mapping[int, str]:
        """On the loop: watches at or below directories that are gone, by a number for each."""
        found = {}
        for schedule in self:
            if (group := schedule.group) is not None:
                for watch, path in group.beneath(left):
                    token = next(self._numbers)
                    self._suspects[token] = (schedule.emitter, watch, path)
                    found[token] = path
        return found

    def still_there(self, token: int, path: str) -> bool:
        """True if this watch is that of what stands at the path."""
        emitter, watch, _ = self._suspects[token]
        group = Group.of(emitter)
        return group is not None and group.stands(watch, path)

    def away(self, gone: set[int], there: set[int]) -> list[tuple[EventEmitter, int, str]]:
        """On the loop: forget these suspects; those that are gone are what `drop` takes."""
        known = {token: self._suspects.pop(token) for token in gone | there if token in self._suspects}
        return [known[token] for token in gone if token in known]


def drop(away: Iterable[tuple[EventEmitter, int, str]]) -> None:
    """Give these watches back."""
    for emitter, watch, path in away:
        if (group := Group.of(emitter)) is not None:
            group.drop([(watch, path)])


def standing(fd: int) -> tuple[str, Identity]:
    """An open directory's path and identity. Raises FileNotFoundError if it doesn't stand there any more."""
    if sys.platform == "linux":
        path = os.readlink(f"/proc/self/fd/{fd}")
    else:
        import fcntl

        path = os.fsdecode(fcntl.fcntl(fd, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0"))
    info = os.fstat(fd)
    if _identity(path) != (info.st_dev, info.st_ino):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return path, (info.st_dev, info.st_ino)


def _prove(schedule: Schedule | None, path: str) -> None:
    group = schedule.group if schedule is not None else None
    if group is None:
        return
    try:
        group.cover(path)
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: str) -> OSError:
    """What watchdog raised, with the path; running out of watches by its own name."""
    kind = WatchLimitError if error.errno == errno.ENOSPC else OSError
    return kind(error.errno, error.strerror, path)


def _identity(path: str) -> Identity:
    """Device and inode of what stands at a path; zeros if nothing does."""
    try:
        info = os.lstat(path)
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino
