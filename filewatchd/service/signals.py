"""Signals of the daemon: TERM and INT drain and, the second time, stop at once; HUP reloads; USR1 logs statistics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial


class Signals:
    """The handlers, on the running loop. What comes before `let_in` waits for it: not all is there to be asked yet."""

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
        self._waiting: list[Callable[[], None]] | None = []
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handle(number, partial(self.end, number.name))
        self._handle(signal.SIGHUP, reload)
        self._handle(signal.SIGUSR1, report)

    def _handle(self, number: signal.Signals, act: Callable[[], None]) -> None:
        self._loop.add_signal_handler(number, self._came, act)

    def _came(self, act: Callable[[], None]) -> None:
        if self._waiting is not None:
            self._waiting.append(act)
        else:
            act()

    def let_in(self) -> None:
        """From now on each has its effect at once; those that have come first."""
        waiting, self._waiting = self._waiting, None
        for act in waiting or ():
            act()

    def end(self, name: str) -> None:
        """One of them came, or what counts as one."""
        (self._stop if self._asked else self._drain)(name)
        self._asked = True

    def close(self) -> None:
        """Give the signals back."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self._loop.remove_signal_handler(number)
