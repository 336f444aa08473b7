"""Turns of those who share the loop, with a clock that the turns themselves move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from filewatchd.service.turns import Turns
from filewatchd.testing.clock import FakeClock, settle


class Hall:
    """Those who wait for turns; a turn takes a millisecond. Pauses are noted, and end at once."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.busy = False
        self.turns = Turns(lambda: self.busy, self.clock.monotonic)
        self.had: list[str] = []
        self.pauses: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []
        loop: Any = asyncio.get_running_loop()
        loop.call_later = self._later

    def _later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        return asyncio.get_running_loop().call_soon(callback)

    async def _goer(self, name: str, times: int, at_news: bool) -> None:
        for _ in range(times):
            await (self.turns.turn_at_news() if at_news else self.turns.turn())
            self.had.append(name)
            self.clock.advance(0.001)

    def goer(self, name: str, times: int = 1, *, at_news: bool = False) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._goer(name, times, at_news))
        self.tasks.append(task)
        return task


def play(story: Callable[[Hall], Awaitable[None]]) -> None:
    async def scene() -> None:
        hall = Hall()
        await story(hall)
        for task in hall.tasks:
            task.cancel()

    asyncio.run(scene())


def test_while_nothing_has_to_be_done_they_go_on_without_a_pause() -> None:
    async def story(hall: Hall) -> None:
        await asyncio.gather(*(hall.goer(f"{number}", 10) for number in range(20)))
        assert len(hall.had) == 200
        assert hall.pauses == []

    play(story)


def test_while_there_is_work_a_tenth_of_the_time_is_theirs() -> None:
    async def story(hall: Hall) -> None:
        hall.busy = True
        begun = hall.clock.monotonic()
        await asyncio.gather(*(hall.goer(f"{number}", 10) for number in range(20)))
        spent = 0.001 * len(hall.had)
        assert spent == pytest.approx(0.1 * (hall.clock.monotonic() - begun), rel=0.1)
        assert max(hall.pauses) == pytest.approx(0.072)  # eight turns at once

    play(story)


def test_everybody_has_a_turn_before_anybody_has_the_next() -> None:
    async def story(hall: Hall) -> None:
        await asyncio.gather(*(hall.goer(f"{number}", 3) for number in range(12)))
        assert [sorted(hall.had[start : start + 12]) for start in (0, 12, 24)] == [sorted(hall.had[:12])] * 3

    play(story)


def test_news_makes_all_who_wait_for_it_stand_in_line() -> None:
    async def story(hall: Hall) -> None:
        goers = [hall.goer(f"{number}", 2, at_news=True) for number in range(20)]
        await settle()
        assert hall.had == []
        hall.turns.news()
        await settle()
        assert len(hall.had) == 20
        hall.turns.news()
        await asyncio.gather(*goers)
        assert len(hall.had) == 40

    play(story)


def test_who_goes_away_holds_nobody_up() -> None:
    async def story(hall: Hall) -> None:
        gone = [hall.goer("gone"), hall.goer("gone", at_news=True)]
        stays = hall.goer("stays", at_news=True)
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await settle()
        hall.turns.news()
        await stays
        assert hall.had == ["stays"]

    play(story)
