"""watchdog: its observers and its event queue, on every system it knows. On Linux inotify through watchdog's eyes.

What watchdog does: an observer has an emitter (a thread) for each scheduled path and one thread that dispatches all
their events. A recursive emitter watches what is made below it by itself. On Linux all emitters of an observer share
one inotify descriptor and one thread that reads it, so what is read is in the order in which it happened; then each
emitter holds back a MOVED_FROM for 0.5 s to pair it, with everything that came after it. If the kernel's queue
overflows, it only logs that, and builds its watches anew. If a watch can't be had below the top, it goes on without.

So:
- A directory is scheduled for itself, and recursively as soon as one below it is armed: file roots and roots that are
  not recursive never are. Arming proves that watchdog has the directory under its path; there is no table of ours.
- Its warning of an overflow is listened to. Events go on being lost while it builds its watches anew, and that happens
  in the thread that reads: so a file of ours is made then, and `Lost` is told when it has been read.
- A barrier is that file, then a mark behind each emitter's queue. Both are exact; no time has to pass.
- Every emitter has the same filter: the kernel has one mask per directory, and the last to ask would set it for all.
  OPENED and CLOSED_NO_WRITE are not in it: a watcher that scans would wake itself with them.
- Its threads can die of an exception (`watchdog_group` tells of one). Then a new observer takes over, and
  all is looked at.
- Nothing here that waits for one of its threads runs on the loop: to end an emitter can take its 0.5 s.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from watchdog.events import DirDeletedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch

from filewatchd.clock import Clock
from filewatchd.errors import FatalError
from filewatchd.watch.backends.base import (
    ANY,
    Armed,
    Event,
    GoneDirectory,
    Lost,
    TopGone,
    WatchLimitError,
)
from filewatchd.watch.backends.watchdog_events import FILTER, Telling
from filewatchd.watch.backends.watchdog_group import Group
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.watch")

_LANE = "watchdog"
_LONGEST = 9.0  # seconds that a barrier waits; below the pool's patience
_REMEMBERED = 1024  # events near anchors that are kept for anchors still on their way
Identity = tuple[int, int]  # device and inode


class _Schedule(FileSystemEventHandler):
    """A path that watchdog observes, and the handler of its events."""

    emitter: EventEmitter
    watch: ObservedWatch

    def __init__(self, hear: Callable[[_Schedule, FileSystemEvent], None], path: str, identity: Identity) -> None:
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
    def works(self) -> bool:
        """True unless the directory is gone, was replaced by another, or has lost its watch (an unmount does that)."""
        if self.gone or not self.emitter.is_alive() or _identity(self.path) != self.identity:
            return False
        group = Group.of(self.emitter)
        return group is None or group.holds(self.path)


class _Ear(logging.Handler):
    """Hears what watchdog logs: one line matters, the others become debug lines of ours."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._overflowed = overflowed

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.endswith("inotify_c") and "overflowed" in str(record.msg):
            self._overflowed()
        log.debug("watchdog: %s", record.getMessage())


class WatchdogBackend:
    """See the module's theory of operation."""

    name = "watchdog"
    limits: Sequence[str] = (
        "writes by other hosts on network filesystems are not seen",
        "writes through mmap are seen when they are synced or unmapped",
        "edits through a hard link outside the roots are not seen before the next scan",
        "excluded directories are watched too, and all below a directory that holds a file root and another root",
        "a file that is moved in from elsewhere counts as created, not as complete",
        "a move out of the watched trees is told half a second late",
        "every root and every directory above one costs a thread, and watchdog's queues have no bound",
    )

    def __init__(self, pool: Pool) -> None:
        """Raises FatalError if the system gives watchdog no descriptor."""
        self._pool = pool
        self._observer = _observer()
        self._lock = threading.RLock()  # of the schedules and the observer; never taken on the loop
        self._schedules: dict[str, _Schedule] = {}
        self._events: deque[FileSystemEvent | TopGone | Lost] = deque()
        self._woken = False
        self._wake: Callable[[], None] = lambda: None
        self._stopped = False
        self._anchors: dict[str, set[str]] = {}
        self._arming: set[str] = set()  # directories where anchors are or may come to be
        self._remembered: deque[tuple[int, str, str, bool]] = deque(maxlen=_REMEMBERED)
        self._now = 1  # grows with what is remembered: an anchor's token is when it was armed
        self._again: list[tuple[str, str]] = []  # anchors to tell of because of what is remembered
        self._left: set[str] = set()  # directories that are gone, perhaps with their watches
        self._suspects: dict[int, tuple[EventEmitter, int, str]] = {}
        self._heard = threading.Condition()
        self._marks: set[str] = set()
        self._numbers = itertools.count(1)
        self._signal = 0  # the last file of ours that was read of
        self._lost_until = 0  # the file of ours after which an overflow is over
        self._epoch = 0  # grows with overflows and new observers
        self._counts = {"events": 0, "overflows": 0, "revivals": 0}
        self._private = _private_directory()
        self._ear = _Ear(self._overflowed)
        self._before = threading.excepthook
        self._hook: Callable[[threading.ExceptHookArgs], None] | None = None
        self._dead = False

    # ---- life

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; ``wake`` is called from watchdog's dispatcher."""
        self._wake = wake
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)  # a directory met twice is no news
        logger = logging.getLogger("watchdog")
        logger.addHandler(self._ear)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        self._before, self._hook = threading.excepthook, self._thread_died
        threading.excepthook = self._hook
        self._observer.start()
        self._schedule(self._private, recursive=False)

    def stop(self) -> None:
        """End it. watchdog's threads end in a thread of their own: that can take half a second."""
        self._stopped = True
        if threading.excepthook is self._hook:
            threading.excepthook = self._before
        threading.Thread(target=self._end_all, name="watchdog-stop").start()

    def _end_all(self) -> None:
        _end(self._observer)
        logger = logging.getLogger("watchdog")
        logger.removeHandler(self._ear)
        logger.propagate = not any(isinstance(handler, _Ear) for handler in logger.handlers)
        shutil.rmtree(self._private, ignore_errors=True)

    def _thread_died(self, args: threading.ExceptHookArgs) -> None:
        """Called in a dying thread, as `threading.excepthook`."""
        observer = self._observer
        ours = args.thread in (observer, getattr(observer, "_inotify_fd", None)) or args.thread in observer.emitters
        if self._stopped or not ours:
            self._before(args)
            return
        log.error("a thread of watchdog's died of %r: a new observer takes over", args.exc_value)
        self._dead = True
        self._ring()

    def _revive(self) -> None:
        """Start anew in place of an observer that lost a thread. Called in the pool."""
        with self._lock:
            self._schedules.clear()
            _end(self._observer)
            self._observer = _observer()
            self._observer.start()
            self._schedule(self._private, recursive=False)
            self._counts["revivals"] += 1
            self._epoch += 1
        self._tell(Lost())

    # ---- what watchdog tells (its dispatcher's thread, or the one that reads)

    def _hear(self, schedule: _Schedule, event: FileSystemEvent) -> None:
        path = os.fsdecode(event.src_path)
        if event.is_synthetic or self._stopped:
            return  # made up: what is in a directory that came is found by listing it
        if path.startswith(self._private):
            self._hear_own(os.path.basename(path))
        elif type(event) is DirDeletedEvent and path == schedule.path:
            schedule.gone = True
            self._tell(TopGone(path))
        else:
            self._tell(event)

    def _hear_own(self, name: str) -> None:
        with self._heard:
            if name.isdecimal():
                self._signal = max(self._signal, int(name))
            else:
                self._marks.add(name)
            over = 0 < self._lost_until <= self._signal
            self._lost_until = 0 if over else self._lost_until
            self._heard.notify_all()
        if over:
            self._tell(Lost())

    def _overflowed(self) -> None:
        """Called before watchdog builds its watches anew, in the thread that will do it."""
        with self._heard:
            self._counts["overflows"] += not self._lost_until
            self._epoch += 1
            try:
                self._lost_until = self._touch()
            except OSError:
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
        telling = Telling(self._is_anchor)
        again, self._again = self._again, []
        for at in again:
            telling.name(at, moved=True)
        for _ in range(len(self._events)):
            item = self._events.popleft()
            self._counts["events"] += 1
            if isinstance(item, FileSystemEvent):
                telling.take(item)
            else:
                telling.events.append(item)
            if isinstance(item, TopGone):
                for name in self._anchors.get(item.path, ()):
                    telling.name((item.path, name), moved=True)
        events = telling.all()
        self._left.update(_path(e.directory, e.name) for e in events if type(e) is GoneDirectory and not e.renamed)
        return events

    def _is_anchor(self, directory: str, name: str, moved: bool) -> bool:
        if directory in self._arming:
            self._now += 1
            self._remembered.append((self._now, directory, name, moved))
        names = self._anchors.get(directory, ())
        return name in names or ANY in names

    # ---- schedules (in scan threads, or in the pool)

    def arm(self, fd: int) -> int:
        """See that watchdog has an open directory; no token is needed."""
        path, identity = _standing(fd)
        with self._lock:
            self._see_to(path, identity, tree=True)
        return 0

    def proves(self, fd: int, token: int) -> bool:
        """There are no tokens: a walk finds its directory by its path."""
        return True

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """See that watchdog has an open directory. The token is when: what happens from now on is remembered."""
        path, identity = _standing(fd)
        self._arming.add(path)
        token = self._now
        with self._lock:
            self._see_to(path, identity, tree=False)
        return token

    def _see_to(self, path: str, identity: Identity, *, tree: bool) -> None:
        own = self._schedules.get(path)
        if own is not None and not own.works:
            self._unschedule(own)
            self._tell(TopGone(path))  # what it had yet to tell went with it
            own = None
        above = self._recursive_above(path)
        if own is None and above is None:
            beside = self._schedules.get(os.path.dirname(path))
            if tree and beside is not None and beside.tree and len(beside.path) > 1 and beside.works:
                above = self._widen(beside)
            else:
                own = self._schedule(path, recursive=False, identity=identity)
        if own is not None:
            own.tree = own.tree or tree
        self._prove(own or above, path)

    def _recursive_above(self, path: str) -> _Schedule | None:
        while len(path) > 1:
            path = os.path.dirname(path)
            schedule = self._schedules.get(path)
            if schedule is not None and schedule.recursive and schedule.works:
                return schedule
        return None

    def _widen(self, narrow: _Schedule) -> _Schedule:
        """Observe recursively what was observed for itself; what the old emitter holds is heard before it ends."""
        wide = self._schedule(narrow.path, recursive=True, identity=narrow.identity)
        wide.tree = True
        self._passed([narrow], time.monotonic() + _LONGEST)
        self._unschedule(narrow)
        return wide

    def _prove(self, schedule: _Schedule | None, path: str) -> None:
        group = Group.of(schedule.emitter) if schedule is not None else None
        if group is None:
            return
        try:
            group.cover(path)
        except OSError as error:
            raise _named(error, path) from None

    def _schedule(self, path: str, *, recursive: bool, identity: Identity | None = None) -> _Schedule:
        made = _Schedule(self._hear, path, identity or _identity(path))
        made.recursive = recursive
        try:
            made.watch = self._observer.schedule(made, path, recursive=recursive, event_filter=FILTER)
        except OSError as error:
            raise _named(error, path) from None
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread is left for watchdog: raise TasksMax= or ulimit -u", path) from error
        made.emitter = next(emitter for emitter in self._observer.emitters if emitter.watch == made.watch)
        if (group := Group.of(made.emitter)) is not None:
            group.mend()
        self._schedules[path] = made
        return made

    def _unschedule(self, schedule: _Schedule) -> None:
        if self._schedules.get(schedule.path) is schedule:
            del self._schedules[schedule.path]
        with contextlib.suppress(KeyError):
            self._observer.unschedule(schedule.watch)

    # ---- what is wanted (on the loop)

    def adopt(self, armed: list[Armed]) -> None:
        """Arming was all."""

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Tell of this name, also of what happened to it since the token was given."""
        self._anchors.setdefault(directory, set()).add(name)
        kept = self._remembered[0][0] if len(self._remembered) == _REMEMBERED else 0
        sure = token >= kept and directory in self._arming
        if not sure or any(at > token and (d, n) == (directory, name) for at, d, n, _ in self._remembered):
            self._again.append((directory, name))
            self._ring()

    def unanchor(self, directory: str) -> None:
        """Tell no more of names in this directory."""
        self._anchors.pop(directory, None)
        self._arming.discard(directory)
        if directory in self._schedules:
            self._pool.run(_LANE, self._end_unwanted, [directory])

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """End the schedules of directories that ``unwanted`` says yes to, unless another below is wanted."""
        ended = []
        for schedule in list(self._schedules.values()):
            if schedule.tree and unwanted(schedule.path) and not self._wanted_below(schedule, unwanted):
                schedule.tree = False
                ended.append(schedule.path)
        if ended:
            self._pool.run(_LANE, self._end_unwanted, ended)

    def _wanted_below(self, schedule: _Schedule, unwanted: Callable[[str], bool]) -> bool:
        if not schedule.recursive:
            return False
        group = Group.of(schedule.emitter)
        inside = schedule.path.rstrip("/") + "/"
        if group is None and not schedule.gone and schedule.emitter.is_alive():
            self._tell(Lost())  # it can't say what it covers: let every root be armed again
        wanted = group is not None and not all(unwanted(path) for path in group.paths())
        return wanted or any(f"{directory}/".startswith(inside) for directory in self._anchors)

    def _end_unwanted(self, paths: Iterable[str]) -> None:
        """Called in the pool. Whatever was armed or anchored again meanwhile stays."""
        with self._lock:
            for path in paths:
                schedule = self._schedules.get(path)
                if schedule is not None and not schedule.tree and path not in self._anchors:
                    self._unschedule(schedule)

    def suspects(self) -> Mapping[int, str]:
        """Watches at or below directories that are gone: they moved away with them, if they weren't deleted."""
        left, self._left = self._left, set()
        if not left or self._stopped:
            return {}
        found = {}
        for schedule in list(self._schedules.values()):
            if (group := Group.of(schedule.emitter)) is not None:
                for watch, path in group.beneath(left):
                    token = next(self._numbers)
                    self._suspects[token] = (schedule.emitter, watch, path)
                    found[token] = path
        return found

    def still_there(self, token: int, path: str) -> bool:
        """True if this watch is that of what stands at the path. Called in scan threads."""
        emitter, watch, _ = self._suspects[token]
        group = Group.of(emitter)
        return group is not None and group.stands(watch, path)

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Give back the watches that moved away."""
        known = {token: self._suspects.pop(token) for token in gone | there if token in self._suspects}
        away = [known[token] for token in gone if token in known]
        if away and not self._stopped:
            self._pool.run(_LANE, _drop, away)

    # ---- the barrier

    async def barrier(self) -> None:
        """Return when watchdog has told all that happened before; after 9 s in any case."""
        await self._pool.run(_LANE, self._catch_up)

    def _catch_up(self) -> None:
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline and not self._stopped:
            epoch = self._epoch
            told = self._read(deadline) and self._passed(list(self._schedules.values()), deadline)
            if told and epoch == self._epoch and not self._lost_until:
                return
        log.debug("watchdog hasn't told everything within %g s", _LONGEST)

    def _read(self, deadline: float) -> bool:
        """Wait until all that is queued in the kernel has been read: a file of ours comes after it."""
        try:
            number = self._touch()
        except OSError:
            self._renew_private()
            return False
        return self._wait(lambda: self._signal >= number, deadline)

    def _passed(self, schedules: Iterable[_Schedule], deadline: float) -> bool:
        """Wait until these emitters have told what they hold: a mark comes after it."""
        marks = {}
        for schedule in schedules:
            group = Group.of(schedule.emitter)
            mark = f"mark{next(self._numbers)}"
            if group is not None and group.mark(f"{self._private}/{mark}"):
                marks[mark] = schedule.emitter
        passed = self._wait(
            lambda: all(mark in self._marks or not emitter.is_alive() for mark, emitter in marks.items()), deadline
        )
        with self._heard:
            self._marks.difference_update(marks)
        return passed

    def _wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Until the condition holds; False if time ran out, or events were lost so that it may never hold."""
        epoch = self._epoch
        with self._heard:
            while not condition():
                if time.monotonic() > deadline or epoch != self._epoch or self._stopped:
                    return False
                self._heard.wait(0.05)  # an emitter's end isn't told
        return True

    def _touch(self) -> int:
        """Make the next file of ours, in place of the last one."""
        with self._heard:
            number = next(self._numbers)
            os.close(os.open(f"{self._private}/{number}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            for name in os.listdir(self._private):
                if name != str(number):
                    os.unlink(f"{self._private}/{name}")
            return number

    def _renew_private(self) -> None:
        """Somebody tidied our directory away."""
        with self._lock:
            old = self._schedules.get(self._private)
            if old is not None:
                self._unschedule(old)
            self._private = _private_directory()
            self._schedule(self._private, recursive=False)

    def statistics(self) -> Mapping[str, Any]:
        """Counters since the start, and what is held."""
        schedules = list(self._schedules.values())
        groups = [group for group in (Group.of(schedule.emitter) for schedule in schedules) if group is not None]
        held = {"watches": sum(group.count for group in groups), "schedules": len(schedules)}
        return {**self._counts, **held, "anchors": len(self._anchors)}


def build(pool: Pool, clock: Clock) -> WatchdogBackend:
    """The backend; it waits for watchdog's threads in the pool."""
    return WatchdogBackend(pool)


def _observer() -> BaseObserver:
    try:
        return Observer()
    except OSError as error:
        remedy = "; raise the sysctl fs.inotify.max_user_instances" if error.errno == errno.EMFILE else ""
        raise FatalError(f"watchdog can't begin: {error.strerror}{remedy}") from error


def _named(error: OSError, path: str) -> OSError:
    """What watchdog raised, with the path; running out of watches by its own name."""
    kind = WatchLimitError if error.errno == errno.ENOSPC else OSError
    return kind(error.errno, error.strerror, path)


def _end(observer: BaseObserver) -> None:
    try:
        observer.stop()
    except Exception:
        log.debug("watchdog's observer did not end cleanly", exc_info=True)


def _drop(away: Iterable[tuple[EventEmitter, int, str]]) -> None:
    for emitter, watch, path in away:
        if (group := Group.of(emitter)) is not None:
            group.drop([(watch, path)])


def _private_directory() -> str:
    """A directory of ours, outside people's trees if the service manager made us a place."""
    place = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
    return os.path.realpath(tempfile.mkdtemp(prefix=".filewatchd-", dir=place))


def _standing(fd: int) -> tuple[str, Identity]:
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


def _identity(path: str) -> Identity:
    """Device and inode of what stands at a path; zeros if nothing does."""
    try:
        info = os.lstat(path)
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino


def _path(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"
