"""Signals of the daemon: TERM and INT drain and, the second time, stop at once; HUP reloads; USR1 logs statistics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Signals:
    """The handlers, on the running loop."""

    def __init__(
        self,
        drain: Callable[[str], None],
        stop: Callable[[str], None],
        reload: Callable[[], None],
        report: Callable[[], None],
    ) -> None:
        """``drain`` is called for the first TERM or INT, ``stop`` for any after it; both with the signal's name."""
        self._loop = asyncio.get_running_loop()
        self._drain = drain
        self._stop = stop
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.end, signal.Signals(number).name)
        self._loop.add_signal_handler(signal.SIGHUP, reload)
        self._loop.add_signal_handler(signal.SIGUSR1, report)

    def end(self, name: str) -> None:
        """One of them came, or what counts as one."""
        (self._stop if self._asked else self._drain)(name)
        self._asked = True

    def close(self) -> None:
        """Give the signals back."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self._loop.remove_signal_handler(number)
