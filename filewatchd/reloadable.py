"""`Reloadable`: a value that follows a file, for services of your own. It needs no daemon.

    from filewatchd.reloadable import Reloadable

    settings = Reloadable("/etc/shop/settings.json", json.loads)
    ...
    settings.value["currency"]        # the newest settings that could be parsed

The last good value stays until a newer one has been parsed whole; then it is swapped in one step. A bad file never
raises: it is told by `error` and ``on_error``, once, and the value stays. How a change is noticed:

- By itself: `value` looks at the file at most every ``interval`` seconds. That is one stat(2) of the path, with all its
  links, so an atomic replace, an edit in place and a flip of Kubernetes's ``..data`` are seen alike. `watch` does the
  same in a thread, for callbacks without anybody who asks.
- By a signal: after `follow_signal` a SIGHUP makes the next look due at once, as filewatchd's ``reload`` sends it
  (``apply: {signal: HUP, pidfile: ...}``).
- By `reload`, for example from an administration endpoint (``apply: {http: ...}``), which says whether all is well.

What the kernel does: times of files advance in steps (4 ms and more on older kernels), so a file rewritten within one
step and to the same size looks the same. A file that was written less than two seconds before it was read is therefore
read again until it is older. A file that changes while it is read is read again at the next look.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal as signals
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Generic, TypeVar, cast

from filewatchd.errors import FilewatchdError

T = TypeVar("T")

log = logging.getLogger("filewatchd.reloadable")

MOST = 16 * 1024 * 1024  # bytes of a file
_RACY_NS = 2_000_000_000  # the coarsest clock of a filesystem that is still around: two seconds
_NOTHING = object()
_TRIES, _PAUSE = 100, 0.01  # at the start, while somebody writes the file
_Identity = tuple[int, ...]


class ReloadableError(FilewatchdError):
    """The file can't be read, or isn't parsed; ``__cause__`` is the parser's own exception."""


class Reloadable(Generic[T]):
    """The newest good value of a file. All of it may be used from any thread.

    Attributes:
        error: why the file as it is now isn't taken; None if it is.
        version: how many values there have been, the first one counted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[bytes], T],
        *,
        default: T | object = _NOTHING,
        on_change: Callable[[T], None] | None = None,
        on_error: Callable[[ReloadableError], None] | None = None,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file.

        Args:
            path: the file; links may lead to it.
            parse: makes a value of its bytes, or raises any exception. It is called by one thread at a time.
            default: the value as long as there has been no good one.
            on_change: called with each new value but the first, after the swap.
            on_error: called once for each bad file, with the reason.
            interval: seconds between two looks.
            clock: seconds, monotonic.

        Raises:
            ReloadableError: the file is bad, and there is no default.
        """
        self.error: ReloadableError | None = None
        self.version = 0
        self._path = os.fspath(path)
        self._parse = parse
        self._on_change, self._on_error = on_change, on_error
        self._interval, self._clock = interval, clock
        self._value: T | object = default
        self._due = False  # a signal has come
        self._next = clock() + interval
        self._seen: tuple[_Identity, bool] | None = None  # what was read last, and whether it could look the same
        self._digest = self._bad = b""  # of the value's bytes, and of bytes that aren't taken
        self._begin()
        for _ in range(_TRIES):
            self.reload()
            if self._value is not _NOTHING:
                return
            self._give_up()
            time.sleep(_PAUSE)  # it is being written
        raise ReloadableError(f"{self._path} is being written all the time")

    def _begin(self) -> None:
        """What belongs to one process: a fork leaves behind threads, and locks that nobody will ever release."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._holder = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _give_up(self) -> None:
        """At the start, if there is an error and so no value."""
        if self.error is not None:
            raise self.error

    # ---- its value

    @property
    def value(self) -> T:
        """The newest good value. Looks at the file if that is due; never raises."""
        if self._due or self._clock() >= self._next:
            self._look(wait=False)
        return cast(T, self._value)

    def reload(self) -> bool:
        """Look at the file now; whether its value is the one that holds."""
        self._look(wait=True)
        return self.error is None

    # ---- being told

    def follow_signal(self, number: int = signals.SIGHUP) -> None:
        """Let a signal make the next look due at once. To be called in the main thread; a former handler still runs."""
        former = signals.getsignal(number)

        def come(caught: int, frame: FrameType | None) -> None:
            self._due = True  # nothing more is safe in a handler: a lock may be held by whom it interrupts
            if callable(former):
                former(caught, frame)

        signals.signal(number, come)

    def watch(self) -> Reloadable[T]:
        """Look in a thread of its own, every ``interval``; ends with `close`, or with the process.

        A forked process has no such thread until it calls this itself.
        """
        if self._process != os.getpid():
            self._begin()
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, name="reloadable", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """End the thread. The value can still be asked for."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Reloadable[T]:
        """`watch`."""
        return self.watch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`close`."""
        self.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._look(wait=False)

    # ---- looking

    def _look(self, *, wait: bool) -> None:
        """Look at the file; who comes while another looks goes on with the value that there is."""
        if self._process != os.getpid():
            self._begin()
        if self._holder == threading.get_ident() or not self._lock.acquire(blocking=wait):
            return
        try:
            self._holder = threading.get_ident()
            self._due = False
            self._take()
        finally:
            self._next = self._clock() + self._interval
            self._holder = 0
            self._lock.release()

    def _take(self) -> None:
        try:
            if self._seen == (identity(os.stat(self._path)), False):
                return
            found = read(self._path)
        except (OSError, ReloadableError) as error:
            self._seen = None
            self._refuse(b"", ReloadableError(f"{self._path} can't be read: {_said(error)}"), error)
            return
        if found is None:  # it is being written
            self._seen = None
            return
        data, self._seen = found
        digest = hashlib.sha256(data).digest()
        if digest == self._digest:
            self.error, self._bad = None, b""
        elif digest != self._bad or self.error is None:
            self._try(data, digest)

    def _try(self, data: bytes, digest: bytes) -> None:
        try:
            value = self._parse(data)
        except Exception as error:  # noqa: BLE001 - whatever a parser raises, the file is bad
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._refuse(digest, ReloadableError(f"{self._path} isn't taken: {said}"), error)
            return
        self._value, self._digest, self._bad, self.error = value, digest, b"", None
        self.version += 1
        if self.version > 1 and self._on_change is not None:
            _call(self._on_change, value)

    def _refuse(self, digest: bytes, error: ReloadableError, cause: Exception) -> None:
        known = self.error is not None and self._bad == digest and str(self.error) == str(error)
        if known:
            return
        error.__cause__ = cause
        self._bad, self.error = digest, error
        if self._on_error is not None:
            _call(self._on_error, error)
        elif self._value is not _NOTHING:
            log.error("%s; the last good value stays", error)


def identity(found: os.stat_result) -> _Identity:
    """What tells one content of a path from another."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: str) -> tuple[bytes, tuple[_Identity, bool]] | None:
    """A file's bytes, what it was then, and whether a later write could look the same; None if it changed meanwhile.

    Raises:
        OSError: it can't be read.
        ReloadableError: it is too large.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        before = os.fstat(file.fileno())
        data = file.read(MOST + 1)
        after = os.fstat(file.fileno())
    if len(data) > MOST:
        raise ReloadableError(f"it is larger than {MOST // 1024 // 1024} MiB")
    now = time.time_ns()
    if identity(before) != identity(after) or identity(os.stat(path)) != identity(after):
        return None
    racy = now - max(after.st_mtime_ns, after.st_ctime_ns) < _RACY_NS
    return data, (identity(after), racy)


def _call(callback: Callable[[T], None], value: T) -> None:
    """A callback's bug is its own."""
    try:
        callback(value)
    except Exception:
        log.exception("a callback of a reloadable value failed")


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
