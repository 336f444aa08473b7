"""How often a filesystem is polled, and at what share of a processor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

SHORTEST = 1.0  # seconds between passes: what people bear to wait for, at a cost nobody notices
LONGEST = 10.0  # seconds: quiet trees are mostly quiet for long
SHARE = 0.05  # of a processor, over pass and pause
SHARE_WITHIN = 0.20  # of a processor, during a pass: slow enough to disturb nobody, fast enough to be done


def next_interval(interval: float, found: bool) -> float:
    """Seconds until the next pass, if it costs nothing: short while things change, then longer and longer."""
    return SHORTEST if found else min(2 * interval, LONGEST)


def rest_for(cpu: float, share: float) -> float:
    """Seconds to rest after this much processor time, to keep to a share of one processor."""
    return cpu / share - cpu


class Device:
    """The pace of one filesystem. ``begun`` and ``ended`` number its passes. Loop only."""

    def __init__(self, number: int, monotonic: Callable[[], float]) -> None:
        """``number``: its st_dev."""
        self.number = number
        self.lane = f"poll:{number}"
        self.begun = self.ended = 0
        self.interval = SHORTEST
        self.cpu = 0.0  # seconds of processor time the last pass took
        self.seconds = 0.0  # the last pass took
        self.trusting = True  # its directories' stamps tell of names that come and go
        self.urgent = False  # somebody waits for the pass under way
        self._monotonic = monotonic
        self._since = monotonic()  # the pass began, or the last one ended
        self._asked = False  # somebody waits for the next pass
        self._stirred = asyncio.Event()

    @property
    def pause(self) -> float:
        """Seconds between two passes, as it stands."""
        return max(self.interval, rest_for(self.cpu, SHARE))

    def ask(self) -> int:
        """Let a pass begin at once, or after the one under way, and not rest; returns its number."""
        self._asked = True
        self._stirred.set()
        return self.begun + 1

    def hasten(self) -> None:
        """There is something new to look at."""
        self.interval = SHORTEST
        self._stirred.set()

    async def rest(self) -> None:
        """Wait until the next pass is due."""
        await self._until(lambda: self._since + self.pause)

    async def breathe(self, cpu: float) -> None:
        """Rest within a pass, after so much processor time."""
        self.cpu += cpu
        if not self.urgent:
            end = self._monotonic() + rest_for(cpu, SHARE_WITHIN)
            await self._until(lambda: end)

    async def _until(self, when: Callable[[], float]) -> None:
        while not self._asked and (left := when() - self._monotonic()) > 0:
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()

    def begin(self) -> None:
        """A pass begins."""
        self.urgent, self._asked = self._asked, False
        self.begun += 1
        self.cpu = 0.0
        self._since = self._monotonic()

    def end(self, found: bool) -> None:
        """The pass is over; ``found``: it was worth it."""
        now = self._monotonic()
        self.seconds, self._since = now - self._since, now
        self.interval = next_interval(self.interval, found)
        self.ended = self.begun
