from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.actions.base import Schedule
from filewatchd.jobs.schedule import corrected, first_due, next_due, read

NS = 10**9
HOUR = 3600 * NS
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * NS


def due(schedule: Schedule, after: str, number: int, zone: str = "Europe/Berlin") -> list[str]:
    """The next so many due times on the wall."""
    plan = read(schedule, ZoneInfo(zone))
    moment = at(after, zone)
    found: list[str] = []
    for _ in range(number):
        moment = first_due(plan, moment, "") if not found else next_due(plan, moment, moment, "")
        found.append(f"{datetime.fromtimestamp(moment // NS, plan.zone):%Y-%m-%d %H:%M %z}")
    return found


# ---- the calendar


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (Schedule("day", "03:30"), "2026-11-24 03:29:59", ["2026-11-24 03:30 +0100", "2026-11-25 03:30 +0100"]),
        (Schedule("day", "03:30"), "2026-11-24 03:30:00", ["2026-11-25 03:30 +0100", "2026-11-26 03:30 +0100"]),
        (Schedule("day"), "2026-12-31 12:00", ["2027-01-01 00:00 +0100", "2027-01-02 00:00 +0100"]),
        (Schedule(86400.0, "03:30"), "2026-11-24 12:00", ["2026-11-25 03:30 +0100", "2026-11-26 03:30 +0100"]),
        (Schedule("week"), "2026-11-24 12:00", ["2026-11-30 00:00 +0100", "2026-12-07 00:00 +0100"]),
        (Schedule("week", "22:15", "tue"), "2026-11-24 12:00", ["2026-11-24 22:15 +0100", "2026-12-01 22:15 +0100"]),
        (Schedule("week", "08:00", "Sunday"), "2026-11-24 12:00", ["2026-11-29 08:00 +0100", "2026-12-06 08:00 +0100"]),
        (Schedule(604800.0, "08:00", "mon"), "2026-11-30 08:00", ["2026-12-07 08:00 +0100", "2026-12-14 08:00 +0100"]),
        (Schedule("month", "06:00"), "2026-12-31 23:59", ["2027-01-01 06:00 +0100", "2027-02-01 06:00 +0100"]),
        (Schedule("month", "06:00"), "2027-01-31 12:00", ["2027-02-01 06:00 +0100", "2027-03-01 06:00 +0100"]),
        (Schedule("month", "06:00"), "2026-12-01 05:00", ["2026-12-01 06:00 +0100", "2027-01-01 06:00 +0100"]),
        (Schedule("month", "06:00", "sun"), "2026-11-24 12:00", ["2026-12-06 06:00 +0100", "2027-01-03 06:00 +0100"]),
        (Schedule("hour"), "2026-11-24 12:00", ["2026-11-24 13:00 +0100", "2026-11-24 14:00 +0100"]),
        (Schedule("hour", "15"), "2026-11-24 12:00", ["2026-11-24 12:15 +0100", "2026-11-24 13:15 +0100"]),
        (Schedule(3600.0, "00:15"), "2026-11-24 12:20", ["2026-11-24 13:15 +0100", "2026-11-24 14:15 +0100"]),
        (
            Schedule("day", "03:30", None, "UTC"),
            "2026-11-24 12:00",
            ["2026-11-25 03:30 +0000", "2026-11-26 03:30 +0000"],
        ),
    ],
)
def test_the_next_times(schedule: Schedule, after: str, expected: list[str]) -> None:
    assert due(schedule, after, 2) == expected


def test_a_wall_time_skipped_in_spring_is_due_as_much_later_as_the_clock_jumped() -> None:
    expected = ["2026-03-28 02:30 +0100", "2026-03-29 03:30 +0200", "2026-03-30 02:30 +0200"]
    assert due(Schedule("day", "02:30"), "2026-03-28 00:00", 3) == expected


def test_a_wall_time_that_comes_twice_in_autumn_is_due_once() -> None:
    expected = ["2026-10-24 02:30 +0200", "2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]
    assert due(Schedule("day", "02:30"), "2026-10-24 00:00", 3) == expected


def test_hours_are_steps_of_real_time() -> None:
    expected = ["2026-10-25 01:15 +0200", "2026-10-25 02:15 +0200", "2026-10-25 02:15 +0100", "2026-10-25 03:15 +0100"]
    assert due(Schedule("hour", "15"), "2026-10-25 01:00", 4) == expected


def test_hours_where_the_clock_moves_by_half_an_hour() -> None:
    expected = ["2026-04-05 01:45 +1100", "2026-04-05 02:45 +1030", "2026-04-05 03:45 +1030"]
    assert due(Schedule("hour", "45"), "2026-04-05 01:00", 3, "Australia/Lord_Howe") == expected


def test_a_day_that_a_place_left_out() -> None:
    assert due(Schedule("day", "12:00"), "2011-12-29 13:00", 2, "Pacific/Apia")[1] == "2012-01-01 12:00 +1400"


@given(
    st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia"]
    ),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.times(),
    st.integers(0, 2_000_000_000 * NS),
    st.floats(0, 7200),
)
def test_the_next_time_is_later_and_none_is_left_out(
    zone: str, unit: str, time: object, now: int, splay: float
) -> None:
    plan = read(Schedule(unit, f"{time:%H:%M}", None, zone, splay))
    found = first_due(plan, now, "host")
    longest = {"hour": timedelta(hours=2), "day": timedelta(days=2), "week": timedelta(8), "month": timedelta(32)}[unit]
    assert now < found <= now + longest.total_seconds() * NS
    assert first_due(plan, found - 1, "host") == found
    middle = now + (found - now) // 2
    assert first_due(plan, middle, "host") == found or middle == found


# ---- periods


def test_a_period_counts_from_the_last_time_without_drift() -> None:
    plan = read(Schedule(90.0))
    assert first_due(plan, 1000 * NS, "") == 1090 * NS
    assert next_due(plan, 1090 * NS, 1091 * NS, "") == 1180 * NS


def test_missed_periods_count_once() -> None:
    plan = read(Schedule(90.0))
    assert next_due(plan, 1000 * NS, 1270 * NS, "") == 1360 * NS


# ---- the clock is set


def test_a_clock_set_back_a_little_repeats_no_wall_time() -> None:
    plan = read(Schedule("day", "03:30"), BERLIN)
    last = at("2026-11-24 03:30")
    assert next_due(plan, last, last - HOUR // 2, "") == at("2026-11-25 03:30")
    assert corrected(plan, at("2026-11-25 03:30"), last, last - HOUR // 2, "") == at("2026-11-25 03:30")


def test_a_clock_set_back_far_starts_again_from_what_it_shows() -> None:
    plan = read(Schedule("day", "03:30"), BERLIN)
    wrong = at("2030-01-02 03:30")
    assert corrected(plan, wrong, at("2030-01-01 03:30"), at("2026-11-24 12:00"), "") == at("2026-11-25 03:30")
    assert corrected(plan, wrong, None, at("2026-11-24 12:00"), "") == at("2026-11-25 03:30")
    period = read(Schedule(60.0))
    assert corrected(period, wrong, wrong - 60 * NS, at("2026-11-24 12:00"), "") == at("2026-11-24 12:01")


def test_a_clock_set_forward_leaves_the_due_time_to_have_passed() -> None:
    plan = read(Schedule("day", "03:30"), BERLIN)
    missed = at("2026-11-25 03:30")
    assert corrected(plan, missed, None, at("2027-01-01 00:00"), "") == missed


# ---- splay


def test_splay_is_the_same_each_time_and_differs_between_hosts() -> None:
    plan = read(Schedule("day", "03:30", splay=3600.0), BERLIN)
    now = at("2026-11-24 12:00")
    found = {seed: first_due(plan, now, seed) - at("2026-11-25 03:30") for seed in ("one", "two", "three")}
    assert all(0 <= shift < HOUR for shift in found.values())
    assert len(set(found.values())) == 3
    assert next_due(plan, first_due(plan, now, "one"), first_due(plan, now, "one"), "one") == (
        at("2026-11-26 03:30") + found["one"]
    )


# ---- mistakes


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule("fortnight"), "hour, day, week or month"),
        (Schedule(0.5), "shortest period is 1s"),
        (Schedule(float("nan")), "shortest period"),
        (Schedule(90.0, "03:30"), "has no `at`"),
        (Schedule("day", "25:00"), "no time of day"),
        (Schedule("day", "30"), "no time of day"),
        (Schedule("day", None, "mon"), "every: week"),
        (Schedule(90.0, None, "mon"), "every: week"),
        (Schedule("week", None, "funday"), "mon to sun"),
        (Schedule("day", None, None, "Mars/Olympus"), "install tzdata"),
        (Schedule("day", None, None, "../../etc/passwd"), "unknown here"),
        (Schedule("day", splay=-1.0), "splay"),
    ],
)
def test_a_wrong_schedule_is_explained(schedule: Schedule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(schedule)
