"""Waiting for a condition on the loop: whoever changes something beats, and those who wait ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pulse:
    """Wakes those who wait for a condition; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def beat(self) -> None:
        """Something changed."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is asked now, and after each beat."""
        while not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
