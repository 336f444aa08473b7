from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from datetime import UTC

import pytest

from filewatchd.actions.base import Schedule, Timers
from filewatchd.clock import SystemClock
from filewatchd.errors import StateError
from filewatchd.jobs.alarm import TimerFd
from filewatchd.jobs.timers import DurableTimers, host_name, local_zone
from filewatchd.state.database import Database
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.waiting import eventually

NS = 10**9
DAILY = Schedule("day", "03:30", None, "UTC")


class HandAlarm:
    """An alarm that rings when the test says so."""

    def __init__(self) -> None:
        self.due_ns: int | None = None
        self.closed = False

    def start(self, callback: Callable[[], None]) -> None:
        self.ring = callback

    def set(self, due_ns: int | None) -> None:
        self.due_ns = due_ns

    def close(self) -> None:
        self.closed = True


class Daemon:
    """Timers of one life of the daemon; ``pass_time`` rings the alarm whenever it is due."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock = clock
        self.alarm = HandAlarm()
        self.all = DurableTimers(database, clock, alarm=self.alarm, host="host")
        self.mine: Timers = self.all.of("rule", "0.act")
        self.fired: list[str] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.fired.append(f"{name} {self.clock.wall_ns() // NS - 1_750_000_000}")

    def pass_time(self, seconds: float) -> list[str]:
        end = self.clock.wall_ns() + int(seconds * NS)
        while self.alarm.due_ns is not None and self.alarm.due_ns <= end:
            self.clock.advance(max(0.0, (self.alarm.due_ns - self.clock.wall_ns()) / NS))
            self.alarm.ring()
        self.clock.advance((end - self.clock.wall_ns()) / NS)
        fired, self.fired = self.fired, []
        return fired

    def set_clock(self, seconds: float) -> None:
        self.clock.set_wall(1_750_000_000 + seconds)
        self.alarm.ring()


def is_set(daemon: Daemon) -> bool:
    return daemon.alarm.due_ns is not None


@pytest.fixture
def daemon(database: Database, clock: FakeClock) -> Daemon:
    return Daemon(database, clock)


def test_without_timers_no_alarm_is_set(daemon: Daemon) -> None:
    assert not is_set(daemon)
    daemon.mine.at("x", 1_750_000_010, daemon.note("x"))
    assert daemon.alarm.due_ns == 1_750_000_010 * NS
    daemon.mine.cancel("x")
    daemon.mine.cancel("unknown")
    assert not is_set(daemon)
    assert daemon.pass_time(100) == []


def test_one_alarm_for_the_earliest(daemon: Daemon) -> None:
    daemon.mine.at("late", 1_750_000_020, daemon.note("late"))
    daemon.mine.at("soon", 1_750_000_010, daemon.note("soon"))
    daemon.mine.every("often", 8, daemon.note("often"))
    assert daemon.pass_time(25) == ["often 8", "soon 10", "often 16", "late 20", "often 24"]
    assert daemon.all.statistics() == {"timers": 1, "fired": 5}


def test_a_timer_may_be_set_anew(daemon: Daemon) -> None:
    daemon.mine.at("x", 1_750_000_010, daemon.note("first"))
    daemon.mine.at("x", 1_750_000_020, daemon.note("second"))
    assert daemon.pass_time(30) == ["second 20"]
    assert daemon.pass_time(1000) == []


def test_a_callback_may_set_its_own_timer_even_in_the_past(daemon: Daemon) -> None:
    rounds = []

    def again() -> None:
        rounds.append(daemon.clock.wall_ns())
        if len(rounds) < 3:
            daemon.mine.at("x", 0, again)

    daemon.mine.at("x", 1_750_000_010, again)
    daemon.pass_time(20)
    assert len(rounds) == 3


def test_a_callback_that_fails_stops_no_other(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError("broken")

    daemon.mine.every("bad", 10, fail)
    daemon.mine.every("good", 10, daemon.note("good"))
    assert daemon.pass_time(25) == ["good 10", "good 20"]
    assert "timer bad of 0.act failed" in caplog.text


def test_what_was_missed_while_down_is_due_once(database: Database, clock: FakeClock) -> None:
    before = Daemon(database, clock)
    before.mine.every("period", 10, before.note("period"))
    before.mine.calendar("daily", DAILY, before.note("daily"))
    before.all.close()
    assert before.alarm.closed
    clock.advance(10 * 86400 + 5)
    after = Daemon(database, clock)
    after.mine.every("period", 10, after.note("period"))
    after.mine.calendar("daily", DAILY, after.note("daily"))
    assert after.pass_time(6) == ["period 864005", "daily 864005", "period 864010"]


def test_a_restart_keeps_the_time_that_stood(database: Database, clock: FakeClock) -> None:
    before = Daemon(database, clock)
    before.mine.every("period", 100, before.note("period"))
    clock.advance(60)
    after = Daemon(database, clock)
    after.mine.every("period", 100, after.note("period"))
    assert after.pass_time(45) == ["period 100"]


def test_another_period_starts_anew(database: Database, clock: FakeClock) -> None:
    before = Daemon(database, clock)
    before.mine.every("period", 100, before.note("period"))
    clock.advance(60)
    after = Daemon(database, clock)
    after.mine.every("period", 50, after.note("period"))
    assert after.pass_time(45) == []
    assert after.pass_time(10) == ["period 110"]


def test_a_single_time_is_known_after_a_restart(database: Database, clock: FakeClock) -> None:
    Daemon(database, clock).mine.at("once", 1_750_000_010, lambda: None)
    clock.advance(100)
    after = Daemon(database, clock)
    mine = after.all.of("rule", "0.act")
    when = mine.pending("once")
    assert when == 1_750_000_010
    mine.at("once", when, after.note("once"))
    assert after.pass_time(1) == ["once 100"]
    assert mine.pending("once") is None


def test_names_are_the_actions_own(daemon: Daemon) -> None:
    other = daemon.all.of("rule", "1.act")
    daemon.mine.at("x", 1_750_000_010, daemon.note("mine"))
    other.at("x", 1_750_000_010, daemon.note("other"))
    other.cancel("x")
    assert daemon.pass_time(20) == ["mine 10"]


def test_a_clock_set_forward_fires_what_it_passed_once(daemon: Daemon) -> None:
    daemon.mine.every("period", 10, daemon.note("period"))
    daemon.set_clock(1000)
    assert daemon.fired == ["period 1000"]
    daemon.fired.clear()
    assert daemon.pass_time(10) == ["period 1010"]


def test_a_clock_set_back_silences_nothing(daemon: Daemon) -> None:
    daemon.mine.every("period", 10, daemon.note("period"))
    daemon.mine.calendar("daily", DAILY, daemon.note("daily"))
    daemon.pass_time(15)
    daemon.set_clock(-100_000_000)
    assert daemon.pass_time(25) == ["period -99999990", "period -99999980"]
    assert len(daemon.pass_time(86400)) == 8641


def test_a_small_set_back_repeats_no_wall_time(daemon: Daemon) -> None:
    daemon.mine.calendar("daily", DAILY, daemon.note("daily"))
    (first,) = daemon.pass_time(86400)
    seconds = int(first.split()[1])
    daemon.set_clock(seconds - 60)
    assert daemon.pass_time(120) == []


def test_a_closed_actions_rows_wait_for_it(daemon: Daemon) -> None:
    daemon.mine.every("period", 10, daemon.note("period"))
    daemon.all.retire("rule", "0.act")
    assert not is_set(daemon)
    assert daemon.pass_time(25) == []
    daemon.mine.every("period", 10, daemon.note("period"))
    assert daemon.pass_time(1) == ["period 25"]


def test_a_renamed_rule_keeps_them_and_a_forgotten_one_does_not(database: Database, clock: FakeClock) -> None:
    daemon = Daemon(database, clock)
    daemon.mine.every("period", 10, daemon.note("period"))
    daemon.all.retire("rule", "0.act")
    daemon.all.rename_rule("rule", "better")
    better = daemon.all.of("better", "0.act")
    assert better.pending("period") == 1_750_000_010
    daemon.all.forget("better")
    assert better.pending("period") is None


def test_a_full_disk_stops_no_timer(daemon: Daemon, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    daemon.mine.every("period", 10, daemon.note("period"))
    database.execute("PRAGMA query_only = ON")
    assert daemon.pass_time(25) == ["period 10", "period 20"]
    assert "may fire once more" in caplog.text
    database.execute("PRAGMA query_only = OFF")
    database.health.mended()
    with pytest.raises(ValueError, match="shortest period"):
        daemon.mine.every("bad", 0.1, lambda: None)


def test_registering_on_a_bad_disk_is_said(daemon: Daemon, database: Database) -> None:
    database.execute("PRAGMA query_only = ON")
    with pytest.raises(StateError):
        daemon.mine.at("x", 1, lambda: None)
    database.execute("PRAGMA query_only = OFF")


def test_times_beyond_what_can_be_kept(daemon: Daemon) -> None:
    daemon.mine.at("never", 1e15, daemon.note("never"))
    assert daemon.alarm.due_ns == 2**62


# ---- the kernel's alarm


def nudge_clock() -> bool:
    """Set the machine's clock by one nanosecond (adjtimex(2), ADJ_SETOFFSET); False where that isn't allowed."""
    timex = (ctypes.c_long * 26)()
    ctypes.cast(timex, ctypes.POINTER(ctypes.c_uint))[0] = 0x0100 | 0x2000  # ADJ_SETOFFSET | ADJ_NANO
    timex[10] = 1
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(timex)) >= 0


def test_the_kernel_rings_at_the_time_and_not_again() -> None:
    async def story() -> None:
        rings: list[int] = []
        alarm = TimerFd()
        alarm.start(lambda: rings.append(1))
        alarm.set(SystemClock.wall_ns() + 20_000_000)
        await eventually(lambda: rings, "the alarm")
        alarm.set(0)  # long ago
        await eventually(lambda: len(rings) == 2, "the second alarm")
        alarm.set(SystemClock.wall_ns() + 3600 * NS)
        alarm.set(None)
        alarm._ring()  # nothing to read
        assert len(rings) == 2
        alarm.close()
        alarm.close()

    asyncio.run(story())


def test_the_kernel_rings_when_the_clock_is_set() -> None:
    async def story() -> None:
        rings: list[int] = []
        alarm = TimerFd()
        alarm.start(lambda: rings.append(1))
        alarm.set(SystemClock.wall_ns() + 3600 * NS)
        if nudge_clock():
            await eventually(lambda: rings, "the alarm")
            alarm.set(SystemClock.wall_ns() + 3600 * NS)
            nudge_clock()
            alarm.set(SystemClock.wall_ns() + 7200 * NS)  # arming it tells of the setting, before the loop reads it
            await eventually(lambda: len(rings) == 2, "the alarm, told at arming")
        alarm.close()

    asyncio.run(story())


def test_durable_timers_on_the_kernels_alarm(database: Database) -> None:
    async def story() -> None:
        fired: list[str] = []
        timers = DurableTimers(database, SystemClock())
        timers.of("rule", "a").at("soon", SystemClock.wall_ns() / NS + 0.02, lambda: fired.append("soon"))
        await eventually(lambda: fired, "the timer")
        timers.close()

    asyncio.run(story())


# ---- where and who this host is


def test_the_systems_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":America/New_York")
    assert str(local_zone()) == "America/New_York"
    monkeypatch.setenv("TZ", "No/Where")
    assert local_zone() is UTC
    monkeypatch.delenv("TZ")
    assert local_zone() is not None


def test_a_host_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_name()

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", absent)
    assert host_name() == os.uname().nodename
    monkeypatch.setenv("TZ", "")
    assert local_zone() is UTC
