"""Whose turn it is: streams share the loop with the jobs, and may take only a small part of it while there is work.

A follower asks for a turn before each piece. Turns are given a few at a time, and what they took is measured: the next
few come after ten times as long where jobs have to be done, and at once where not. Who waits for news waits here, too:
news of a change wakes nobody by itself, it only makes them stand in line, however many there are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_AT_ONCE = 8  # turns, each of some 50 us
_REST = 9.0  # how much longer than the turns the pause is while there is work: a tenth of the loop is theirs


class Turns:
    """The line of those who wait. Belongs to the running loop."""

    def __init__(self, busy: Callable[[], bool], now: Callable[[], float]) -> None:
        """``busy``: jobs have to be done. ``now``: seconds, as the loop counts them."""
        self._busy = busy
        self._now = now
        self._line: deque[asyncio.Future[None]] = deque()
        self._idle: dict[asyncio.Future[None], None] = {}  # they wait for news; a dict, since they may leave
        self._scheduled = False
        self._rested = 0.0  # from when on turns may be given again

    async def turn(self) -> None:
        """Return when it is the caller's turn. It lasts until the caller waits for something."""
        waiting = asyncio.get_running_loop().create_future()
        self._line.append(waiting)
        self._schedule()
        await waiting

    async def turn_at_news(self) -> None:
        """Return when there is news, and it is the caller's turn."""
        waiting = asyncio.get_running_loop().create_future()
        self._idle[waiting] = None
        try:
            await waiting
        finally:
            self._idle.pop(waiting, None)

    def news(self) -> None:
        """There is something for those who wait for it."""
        if self._idle:
            self._line.extend(self._idle)
            self._idle = {}
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._line:
            self._scheduled = True
            loop, pause = asyncio.get_running_loop(), self._rested - self._now()
            if pause > 0:
                loop.call_later(pause, self._give)
            else:
                loop.call_soon(self._give)

    def _give(self) -> None:
        began, given = self._now(), 0
        while self._line and given < _AT_ONCE:
            waiting = self._line.popleft()
            if not waiting.done():  # else it went away
                waiting.set_result(None)
                given += 1
        asyncio.get_running_loop().call_soon(self._given, began)  # when those have gone on until they wait

    def _given(self, began: float) -> None:
        self._scheduled = False
        now = self._now()
        self._rested = now + (now - began) * _REST if self._busy() else now
        self._schedule()
