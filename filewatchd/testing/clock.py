"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

START = 1_750_000_000  # seconds since the epoch at which a fresh clock's wall stands: in June 2025


class FakeClock:
    """`filewatchd.clock.Clock` under the test's control. Its timers and sleepers go in the order of their times."""

    def __init__(self, monotonic: float = 1000.0, wall: float = START) -> None:
        self._monotonic = monotonic
        self._wall_ns = int(wall * 1e9)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        """Seconds that only `advance` moves."""
        return self._monotonic

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; moves along, and by `set_wall`."""
        return self._wall_ns

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when the monotonic time is reached; returns a function that cancels."""
        entry = (when, next(self._numbers), callback)
        heapq.heappush(self._timers, entry)
        return lambda: self._remove(entry)

    async def sleep(self, seconds: float) -> None:
        """Return once the test has advanced that far."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_at(self._monotonic + seconds, lambda: None if waiter.done() else waiter.set_result(None))
        await waiter

    def advance(self, seconds: float) -> None:
        """Move on, stopping at each timer on the way; timers set meanwhile count too."""
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, callback = heapq.heappop(self._timers)
            self._step(when)
            callback()
        self._step(end)

    async def run_for(self, seconds: float) -> None:
        """Like `advance`, letting tasks run after each timer and at the end."""
        end = self._monotonic + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            self.advance(self._timers[0][0] - self._monotonic)
            await settle()
        self.advance(end - self._monotonic)
        await settle()

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock, as an operator may, to seconds since the epoch."""
        self._wall_ns = int(seconds * 1e9)

    @property
    def next_timer(self) -> float | None:
        """The monotonic time of the next timer, if there is one."""
        return self._timers[0][0] if self._timers else None

    def _step(self, when: float) -> None:
        if when > self._monotonic:
            self._wall_ns += round((when - self._monotonic) * 1e9)
            self._monotonic = when

    def _remove(self, entry: tuple[float, int, Callable[[], None]]) -> None:
        if entry in self._timers:
            self._timers.remove(entry)
            heapq.heapify(self._timers)


async def settle(turns: int = 20) -> None:
    """Let tasks that are ready run: as many turns of the event loop as a chain of awaits may need."""
    for _ in range(turns):
        await asyncio.sleep(0)
