"""After events were lost: which roots are in doubt, and when they are compared.

One descriptor's overflow puts every root on it in doubt: the kernel doesn't say what it dropped. They are compared at
once; while overflows go on, with growing pauses, so that comparing can't feed the next overflow. A root is in doubt
from the overflow until a whole comparison has ended that began after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from filewatchd.clock import Clock
from filewatchd.watch.roots import Root

log = logging.getLogger("filewatchd.watch")

_BACKOFF = (0.0, 0.2, 1.0, 5.0)  # seconds between rescans while overflows go on
_CALM = 30.0  # seconds without an overflow after which the back-off starts anew


class Overflow:
    """The overflows of one backend."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        roots: Iterable[Root],
        *,
        rescan: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        """``roots``: all on the backend. ``rescan``: compare them. ``changed``: some are in doubt."""
        self._name = name
        self._clock = clock
        self._roots = roots
        self._rescan = rescan
        self._changed = changed
        self._last = 0.0
        self._row = 0  # overflows in this row
        self.due = False  # a rescan waits for its time
        self.rescans = 0

    def lost(self) -> None:
        """Events were lost."""
        now = self._clock.wall_ns()
        for root in self._roots:
            if root.top is not None:
                root.lost(now)
        if not self.due:
            self._schedule()
        self._changed()

    def _schedule(self) -> None:
        now = self._clock.monotonic()
        if now - self._last > _CALM:
            self._row = 0
        delay = _BACKOFF[min(self._row, len(_BACKOFF) - 1)]
        self._last, self._row, self.due = now, self._row + 1, True
        log.warning("the kernel's event queue overflowed: every root on %s is compared with the disk", self._name)
        asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> None:
        self.due = False
        self.rescans += 1
        self._rescan()
