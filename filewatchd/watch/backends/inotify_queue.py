"""An inotify descriptor, its system calls, and the thread that empties its queue into memory.

The thread does nothing else, and rests 2 ms after each read (up to 8 ms while a burst lasts), which lets bursts come in
few large reads. What isn't taken from memory is bounded: then the kernel keeps the rest, and overflows if it must.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import select
import termios
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable

from filewatchd.errors import FatalError

_IN_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_READ = 256 * 1024
_PAUSE = 0.002  # seconds after a read: bursts come in few large reads
_SHORT_PAUSE = 0.00025  # after the first read in a while: the close of a file just created isn't kept waiting
_LONG_PAUSE = 0.008  # while reads stay large: a wake-up of the loop costs as much as ten events
_WHILE = 0.005  # seconds
_LARGE = 1024  # bytes: some 30 events
_AGAIN_AFTER = 1000  # milliseconds after a bug
_MOST_UNREAD = 16 * 1024 * 1024

log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)


class Descriptor:
    """An inotify descriptor and the system calls on it."""

    def __init__(self, fd: int | None = None) -> None:
        """``fd``: an earlier process', with its watches and its queue. Raises FatalError if the kernel gives none."""
        self.retained = fd is not None
        self.fd = _libc.inotify_init1(_IN_NONBLOCK_CLOEXEC) if fd is None else fd
        if self.fd < 0:
            raise no_descriptor(ctypes.get_errno())

    def add(self, path: str, mask: int) -> int:
        """Watch a path; returns the watch number.

        Raises:
            OSError: ENOSPC if no watch is left.
        """
        watch: int = _libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if watch < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return watch

    def remove(self, watch: int) -> None:
        """Give a watch back; one that has ended doesn't matter."""
        _libc.inotify_rm_watch(self.fd, watch)


def no_descriptor(code: int) -> FatalError:
    """What to say when the kernel refused a descriptor with this errno."""
    remedy = "; raise the sysctl fs.inotify.max_user_instances" if code == errno.EMFILE else ""
    return FatalError(f"inotify gives no descriptor: {os.strerror(code)}{remedy}")


class Reader:
    """Empties the queue of a descriptor, which is its own from now on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._woken = False
        self._wake: Callable[[], None] = lambda: None
        self.reading = threading.Lock()  # whoever reads the queue also hands over what it read, in order
        self._stop_r, self._stop_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inotify", daemon=True)

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; ``wake`` is called from the thread when there is something to take."""
        self._wake = wake
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the descriptor, which gives its watches back."""
        os.write(self._stop_w, b"x")
        self._room.set()
        if self._thread.ident is not None:
            self._thread.join()
        for fd in (self._fd, self._stop_r, self._stop_w):
            os.close(fd)

    def take(self) -> list[bytes]:
        """What was read since the last call, in order."""
        self._woken = False
        chunks = []
        while self._chunks:
            chunks.append(self._chunks.popleft())
        self._unread = 0
        self._room.set()
        return chunks

    def catch_up(self) -> None:
        """Read what the kernel has queued by now: its order is history, so a count of bytes is exact (FIONREAD)."""
        with self.reading:
            queued = array("i", [0])
            fcntl.ioctl(self._fd, termios.FIONREAD, queued)
        left = queued[0]
        while left > 0 and (size := self._read()):
            left -= size

    def _run(self) -> None:
        """Until `stop`. Whatever goes wrong otherwise, who watches must not go deaf: what is queued is still there."""
        while True:
            try:
                self._woken = False
                self._tell()
                self._pump()
                return
            except Exception:
                log.exception("reading inotify's queue failed by a bug; it is read on in a second")
            stopping = select.poll()
            stopping.register(self._stop_r, select.POLLIN)
            if stopping.poll(_AGAIN_AFTER):
                return

    def _pump(self) -> None:
        last, pause = 0.0, _PAUSE
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._stop_r, select.POLLIN)
        while all(fd == self._fd for fd, _ in poll.poll()):
            size = self._read()
            if not size:
                continue
            self._tell()
            self._room.clear()
            if self._unread > _MOST_UNREAD:
                self._room.wait()
            now = time.monotonic()
            shortly = _SHORT_PAUSE if now - last > _WHILE else _PAUSE
            pause = min(2 * pause, _LONG_PAUSE) if size >= _LARGE else shortly
            time.sleep(pause)
            last = time.monotonic()

    def _tell(self) -> None:
        """Say that there is something to take, once until it is taken."""
        if self._chunks and not self._woken:
            self._woken = True
            self._wake()

    def _read(self) -> int:
        """Take a piece of the queue into memory; returns its bytes, 0 if there was nothing."""
        with self.reading:
            try:
                data = os.read(self._fd, _READ)
            except (BlockingIOError, InterruptedError):
                return 0
            self._chunks.append(data)
            self._unread += len(data)
            return len(data)
