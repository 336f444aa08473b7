"""watchdog's observer: what it logs, and the death of its threads.

It has an emitter (a thread) for each scheduled path, one thread that dispatches all their events, and on Linux one that
reads for all emitters. An exception ends such a thread, and nothing says so but `threading.excepthook`; if the kernel's
queue overflows, a line is logged, and nothing else. So both are listened to. Nothing here that waits for one of its
threads runs on the loop: to end an emitter can take its 0.5 s.
"""

from __future__ import annotations

import errno
import logging
import threading
import warnings
from collections.abc import Callable

from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from filewatchd.errors import FatalError

log = logging.getLogger("filewatchd.watch")


class _Ear(logging.Handler):
    """Hears what watchdog logs: one line matters, the others become debug lines of ours."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._overflowed = overflowed

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.endswith("inotify_c") and "overflowed" in str(record.msg):
            self._overflowed()
        log.debug("watchdog: %s", record.getMessage())


class Observation:
    """An observer at work; `renew` puts another in its place."""

    def __init__(self, overflowed: Callable[[], None], died: Callable[[], None]) -> None:
        """Both are called in threads of watchdog's: the one that reads, and one that dies.

        Raises:
            FatalError: the system gives watchdog no descriptor.
        """
        self.observer = _made()
        self._died = died
        self._stopped = False
        self._ear = _Ear(overflowed)
        self._before = threading.excepthook
        self._hook: Callable[[threading.ExceptHookArgs], None] | None = None

    def start(self) -> None:
        """Begin to observe, and to listen."""
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)  # a directory met twice is no news
        logger = logging.getLogger("watchdog")
        logger.addHandler(self._ear)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        self._before, self._hook = threading.excepthook, self._thread_died
        threading.excepthook = self._hook
        self.observer.start()

    def renew(self) -> None:
        """Start anew in place of an observer that lost a thread. It waits."""
        _end(self.observer)
        self.observer = _made()
        self.observer.start()

    def stop(self) -> None:
        """Mind no more what dies."""
        self._stopped = True
        if threading.excepthook is self._hook:
            threading.excepthook = self._before

    def end(self) -> None:
        """End its threads, and listen no more. It waits."""
        _end(self.observer)
        logger = logging.getLogger("watchdog")
        logger.removeHandler(self._ear)
        logger.propagate = not any(isinstance(handler, _Ear) for handler in logger.handlers)

    def _thread_died(self, args: threading.ExceptHookArgs) -> None:
        """Called in a dying thread, as `threading.excepthook`."""
        observer = self.observer
        ours = args.thread in (observer, getattr(observer, "_inotify_fd", None)) or args.thread in observer.emitters
        if self._stopped or not ours:
            self._before(args)
            return
        log.error("a thread of watchdog's died of %r: a new observer takes over", args.exc_value)
        self._died()


def _made() -> BaseObserver:
    try:
        return Observer()
    except OSError as error:
        remedy = "; raise the sysctl fs.inotify.max_user_instances" if error.errno == errno.EMFILE else ""
        raise FatalError(f"watchdog can't begin: {error.strerror}{remedy}") from error


def _end(observer: BaseObserver) -> None:
    try:
        observer.stop()
    except Exception:
        log.debug("watchdog's observer did not end cleanly", exc_info=True)
