"""A dead man's switch: given these times and comings, these findings."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product

import pytest

from filewatchd.actions.base import Schedule
from filewatchd.config.rule import ExpectOption
from filewatchd.jobs.expecting import FINDING, Expectations, Expecting
from filewatchd.jobs.findings import Findings
from filewatchd.jobs.schedule import passed, read
from filewatchd.jobs.timers import DurableTimers
from filewatchd.model import Expect, Trigger
from filewatchd.notation import MalformedError
from filewatchd.state.database import Database
from filewatchd.testing.clock import FakeClock
from tests.unit.jobs.test_timers import NS, HandAlarm

DAILY = Expect("day", "06:00", None, "UTC")
HOUR = 3600.0
DAY = 24 * HOUR


def on_a_loop(test: Callable[[Database, FakeClock], Coroutine[None, None, None]]) -> Callable[..., None]:
    """The test runs on an asyncio loop of its own."""

    @functools.wraps(test)
    def run(database: Database, clock: FakeClock) -> None:
        asyncio.run(test(database, clock))

    return run


class Life:
    """One life of the daemon with one rule."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock = clock
        self.alarm = HandAlarm()
        self.timers = DurableTimers(database, clock, alarm=self.alarm, host="host")
        self.findings = Findings(database)
        self.held = False
        self.coming = False  # something that happened before the judgement is still being worked
        self.expecting = Expecting(
            Expectations(database), self.findings, self.timers, clock, worked=self.worked, held=lambda _: self.held
        )

    async def worked(self, rule: str) -> None:
        if self.coming:
            self.coming = False
            self.comes()

    def comes(self, trigger: Trigger = Trigger.CHANGE) -> None:
        self.expecting.came("rule", trigger, self.clock.wall_ns())

    async def passes(self, seconds: float) -> list[str]:
        """Let time pass, ringing the alarm when it is due; the findings that stand then."""
        end = self.clock.wall_ns() + int(seconds * NS)
        while self.alarm.due_ns is not None and self.alarm.due_ns <= end:
            self.clock.advance(max(0.0, (self.alarm.due_ns - self.clock.wall_ns()) / NS))
            self.alarm.ring()
            await self.rest()
        self.clock.advance((end - self.clock.wall_ns()) / NS)
        return self.found()

    async def rest(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def found(self) -> list[str]:
        return [finding.message for finding in self.findings.all("rule")]


@contextmanager
def life(database: Database, clock: FakeClock, expect: Expect | None = DAILY) -> Iterator[Life]:
    """Configured and started."""
    one = Life(database, clock)
    one.expecting.configure({"rule": expect} if expect else {})
    one.expecting.started()
    yield one
    one.expecting.close()
    one.timers.close()


def at(clock: FakeClock, text: str) -> None:
    """Set the clock."""
    clock.advance(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - clock.wall_ns() / NS)


@on_a_loop
async def test_a_period_in_which_nothing_came_is_found(database: Database, clock: FakeClock) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        assert await one.passes(DAY) == []  # it wasn't watched from its beginning
        one.comes()
        assert await one.passes(DAY) == []
        since = "nothing came since 2030-01-02 12:00:00+00:00; it was expected by 2030-01-04 06:00:00+00:00"
        assert await one.passes(DAY) == [since]
        await one.passes(DAY)
        assert one.findings.all("rule")[0].times == 2
        one.comes()
        assert one.found() == []
        assert await one.passes(DAY) == []


@on_a_loop
async def test_what_somebody_asked_for_didnt_come(database: Database, clock: FakeClock) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        await one.passes(DAY)
        one.comes(Trigger.MANUAL)
        one.comes(Trigger.SCHEDULE)
        assert await one.passes(DAY) == ["nothing has come yet; it was expected by 2030-01-03 06:00:00+00:00"]


@on_a_loop
async def test_what_is_on_its_way_at_the_time_has_come(database: Database, clock: FakeClock) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        await one.passes(DAY)
        one.coming = True
        assert await one.passes(DAY) == []


@on_a_loop
async def test_a_held_rule_says_so(database: Database, clock: FakeClock) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        await one.passes(DAY)
        one.held = True
        (found,) = await one.passes(DAY)
        assert found.endswith("; the rule is held")


@on_a_loop
async def test_a_time_missed_while_down_is_judged_by_what_happened(database: Database, clock: FakeClock) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock):
        pass
    clock.advance(3 * DAY)
    with life(database, clock) as one:
        one.coming = True  # the comparison finds something
        await one.rest()
        assert one.found() == []
    clock.advance(3 * DAY)
    with life(database, clock) as one:
        await one.rest()
        assert one.found() == [
            "nothing came since 2030-01-04 12:00:00+00:00; it was expected by 2030-01-07 06:00:00+00:00"
        ]


@on_a_loop
async def test_a_kill_before_the_judgement_is_made_up_for_and_one_after_it_changes_nothing(
    database: Database, clock: FakeClock
) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        await one.passes(DAY)
        assert one.alarm.due_ns is not None
        clock.advance((one.alarm.due_ns - clock.wall_ns()) / NS)
        one.alarm.ring()  # and the judgement never gets its turn
    assert Findings(database).all() == []
    for _ in range(2):
        with life(database, clock) as one:
            await one.rest()
            (finding,) = one.findings.all("rule")
            assert (finding.key, finding.times) == (FINDING, 1)


@on_a_loop
async def test_nothing_is_expected_of_a_rule_that_expects_nothing_any_more(
    database: Database, clock: FakeClock
) -> None:
    at(clock, "2030-01-01 12:00")
    with life(database, clock) as one:
        assert await one.passes(3 * DAY)
        one.expecting.configure({})
        assert one.found() == []
        assert await one.passes(3 * DAY) == []
        one.expecting.configure({"rule": DAILY})
        assert await one.passes(DAY) == []  # it begins anew
        assert await one.passes(DAY) != []


@on_a_loop
async def test_a_plain_period_counts_from_when_it_began(database: Database, clock: FakeClock) -> None:
    with life(database, clock, Expect(600.0)) as one:
        one.clock.advance(1.0)
        one.comes()
        assert await one.passes(900.0) == []
        assert len(await one.passes(300.0)) == 1


def test_the_last_two_times_follow_daylight_saving() -> None:
    plan = read(Schedule("day", "02:30", None, "Europe/Berlin"))
    now = int(datetime(2030, 3, 31, 12, tzinfo=UTC).timestamp()) * NS
    start, end = (datetime.fromtimestamp(when / NS, UTC) for when in passed(plan, now, 0))
    assert (start, end) == (datetime(2030, 3, 30, 1, 30, tzinfo=UTC), datetime(2030, 3, 31, 1, 30, tzinfo=UTC))


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_the_last_two_times_are_neighbours(unit: str) -> None:
    plan = read(Schedule(unit, "06:10", "sun" if unit == "month" else None, "UTC"))
    for days in range(400):
        now = int(datetime(2030, 1, 1, 7, tzinfo=UTC).timestamp() + days * DAY) * NS
        start, end = passed(plan, now, 0)
        assert start < end <= now
        assert passed(plan, end - 1, 0)[1] == start
        assert passed(plan, end, 0)[1] == end


def accepted(expect: tuple[object, ...]) -> bool:
    try:
        ExpectOption(every=expect[0], by=expect[1], weekday=expect[2], timezone=expect[3])  # type: ignore[arg-type]
    except MalformedError:
        return False
    return True


def test_check_and_the_timers_agree_on_what_is_a_schedule() -> None:
    everies = 0.5, 1.0, 600.0, 3600.0, 86400.0, 604800.0, "hour", "day", "week", "month"
    found = set()
    for expect in product(everies, (None, "06:00"), (None, "mon"), (None, "UTC", "Nowhere/At-All")):
        found.add(accepted(expect))
        try:
            read(Schedule(*expect))  # type: ignore[arg-type]
        except ValueError:
            assert not accepted(expect), expect
        else:
            assert accepted(expect) or expect[3] == "Nowhere/At-All", expect
    assert found == {True, False}
