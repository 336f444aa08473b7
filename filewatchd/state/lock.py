"""One instance per state directory: an exclusive lock on a file that is never unlinked.

What the kernel does: flock belongs to the open file description, so it ends when the last descriptor of it is
closed, however the process died; a left-over file therefore means nothing. A fork shares the description and would
keep the lock after our death, so the descriptor is close-on-exec, and a fork without exec closes its copy at once.
The file is never unlinked: between somebody's open and lock the name could come to mean another file, and two
instances would each hold "the" lock.

What is written inside serves the error message of a second start only. A pid alone may have been given to another
process since; the kernel's start time beside it tells them apart.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import weakref
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from filewatchd.clock import Clock, SystemClock
from filewatchd.errors import FatalError

try:
    tempfile.gettempdir()
except FileNotFoundError:  # in a sandbox none may be writable; portalocker asks for one when imported, for other locks
    tempfile.tempdir = "/tmp"

import portalocker

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_TRY_EXCLUSIVE = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING


class Holder(NamedTuple):
    """Who wrote the lock file: ``started`` is in clock ticks since boot, ``since`` readable."""

    pid: int
    started: int
    since: str

    @property
    def alive(self) -> bool:
        """True if that very process still runs."""
        return process_started(self.pid) == self.started


class InstanceLock:
    """The lock of one state directory; also a context manager."""

    def __init__(self, path: str, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock and write who we are.

        Raises:
            FatalError: exit code 75 if another process holds it, 77 if the file can't be made or is refused.
        """
        fd = self._open()
        try:
            self._check(fd)
            self._lock(fd)
            self._sign(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)

    def release(self) -> None:
        """Give the lock up; the file stays."""
        fd, self._fd = self._fd, None
        if fd is not None:
            _held.discard(self)
            os.close(fd)

    def forget(self) -> None:
        """In a forked child: let go of the shared lock without releasing the parent's."""
        self.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        try:
            return os.open(self._path, _FLAGS, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._refused("it is a symbolic link", "remove it") from error
            why = error.strerror or str(error)
            raise self._refused(why, "let the daemon's user write the state directory, or set --state-dir") from error

    def _check(self, fd: int) -> None:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise self._refused("it is no regular file of its own", "remove it")
        if found.st_uid != os.geteuid():
            raise self._refused(f"it belongs to uid {found.st_uid}", f"run as that user, or chown it to {os.geteuid()}")

    def _lock(self, fd: int) -> None:
        try:
            portalocker.lock(fd, _TRY_EXCLUSIVE)
        except portalocker.AlreadyLocked as error:
            raise FatalError(self._busy(_read(fd)), exit_code=75) from error
        except portalocker.LockException as error:
            raise FatalError(f"{self._path} can't be locked: {error}; keep state_dir on a local filesystem") from error

    def _sign(self, fd: int) -> None:
        moment = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC)
        text = f"pid {os.getpid()}\nstarted {process_started(os.getpid())}\nsince {moment:%Y-%m-%dT%H:%M:%SZ}\n"
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, text.encode(), 0)
        except OSError as error:
            raise FatalError(f"{self._path} can't be written: {error.strerror}; free space there") from error

    def _busy(self, holder: Holder | None) -> str:
        if holder is None:
            return f"another process holds {self._path}; wait until it has started or ended, and try again"
        who = f"pid {holder.pid} has held {self._path} since {holder.since}"
        if holder.alive:
            return f"filewatchd runs already: {who}; stop it first, or set another --state-dir"
        return f"a process that filewatchd left behind holds its lock: {who} and has ended; end what it started"

    def _refused(self, why: str, remedy: str) -> FatalError:
        return FatalError(f"the lock file {self._path} can't be used: {why}; {remedy}", exit_code=77)


def process_started(pid: int) -> int:
    """When a process started, in clock ticks since boot (/proc/PID/stat, field 22); -1 if it isn't there."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return -1
    return int(text.rpartition(b")")[2].split()[19])  # the command's name may hold spaces and brackets


def holder(path: str) -> Holder | None:
    """Who wrote a lock file last, be it held or not; None if that can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return _read(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> Holder | None:
    lines = os.pread(fd, 200, 0).decode("ascii", "replace").splitlines()
    words = dict(line.split(" ", 1) for line in lines if " " in line)
    try:
        return Holder(int(words["pid"]), int(words["started"]), words["since"])
    except (KeyError, ValueError):
        return None  # its holder has locked it this moment and not yet written


_held: weakref.WeakSet[InstanceLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_all)
