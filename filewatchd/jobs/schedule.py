"""When a schedule is next due. Pure arithmetic: what time it is, and where, is told.

A schedule of hours, days, weeks or months names moments on the wall ("nominal" times). Daylight saving: a wall time
that is skipped in spring is due as much later as the clock jumped (02:30 becomes 03:30); one that comes twice in
autumn is due at its first. Hours are steps of real time that end on the wall minute asked for, so there are 23 or 25
of them on those days. A month's day is its first, or its first such weekday.

Splay shifts all of a schedule's times by one amount below ``splay``, drawn from the host's and the timer's name: the
same after every restart, another one on another host.

A time that was missed is due once, at once. A clock set back by up to an hour doesn't repeat a wall time that was due
already (else every small correction would); one set back further starts again from what it shows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from filewatchd.actions.base import Schedule

_NS = 1_000_000_000
_UNITS = {3600.0: "hour", 86400.0: "day", 604800.0: "week"}
_WEEKDAYS = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_AT = re.compile(r"(?:([01]?[0-9]|2[0-3]):)?([0-5][0-9])")
_SET_BACK_NS = 3600 * _NS
_TWO_BACK_NS = {unit: days * 86400 * _NS for unit, days in {"hour": 1, "day": 4, "week": 22, "month": 100}.items()}


class Plan(NamedTuple):
    """A schedule that was read: a period in seconds, or a unit with its wall time."""

    period: float | None
    unit: str
    hour: int
    minute: int
    weekday: int | None
    zone: tzinfo
    splay: float


def read(schedule: Schedule, local: tzinfo = UTC) -> Plan:
    """Check a schedule. ``local``: the system's zone, for one that names none.

    Raises:
        ValueError: what is wrong, and what would be right.
    """
    unit = schedule.every if isinstance(schedule.every, str) else ""
    if schedule.at is not None and isinstance(schedule.every, float | int):
        unit = _UNITS.get(float(schedule.every), "")
        if not unit:
            raise ValueError(f"every {schedule.every:g} seconds has no `at`; use hour, day, week or month with it")
    if not math.isfinite(schedule.splay) or schedule.splay < 0:
        raise ValueError("splay must be 0 or more seconds")
    if unit:
        return _read_unit(schedule, unit, local)
    seconds = float(schedule.every)
    if not math.isfinite(seconds) or seconds < 1:
        raise ValueError("a schedule's shortest period is 1s")
    if schedule.weekday is not None:
        raise ValueError("`weekday` goes with every: week or every: month")
    return Plan(seconds, "", 0, 0, None, local, schedule.splay)


def _read_unit(schedule: Schedule, unit: str, local: tzinfo) -> Plan:
    if unit not in {"hour", "day", "week", "month"}:
        raise ValueError(f"every {unit!r} is unknown; use a duration, hour, day, week or month")
    at = _AT.fullmatch(schedule.at or "00:00")
    if at is None or (unit != "hour" and at[1] is None):
        raise ValueError(f"{schedule.at!r} is no time of day; write HH:MM (for every: hour, MM)")
    weekday = None
    if schedule.weekday is not None:
        weekday = _WEEKDAYS.get(schedule.weekday.lower()[:3])
        if weekday is None or unit in {"hour", "day"}:
            raise ValueError(f"weekday {schedule.weekday!r}: mon to sun, with every: week or every: month")
    zone = _zone(schedule.timezone) if schedule.timezone else local
    return Plan(None, unit, int(at[1] or 0), int(at[2]), weekday, zone, schedule.splay)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        hint = "use a name like Europe/Berlin, or install tzdata"
        raise ValueError(f"time zone {name!r} is unknown here; {hint}") from error


def first_due(plan: Plan, now_ns: int, seed: str) -> int:
    """When a new timer is due for the first time, in ns since the epoch. ``seed``: host and timer name."""
    if plan.period is not None:
        return now_ns + int((plan.period + _splay(plan, seed)) * _NS)
    return _next(plan, now_ns, seed)


def next_due(plan: Plan, last_ns: int, now_ns: int, seed: str) -> int:
    """When it is due after ``last_ns``, when it was due last: always later than now, and missed ones count once."""
    if plan.period is not None:
        period = int(plan.period * _NS)
        passed = now_ns - last_ns
        return now_ns + period if passed < 0 else last_ns + (passed // period + 1) * period
    repeated = now_ns < last_ns <= now_ns + _SET_BACK_NS
    return _next(plan, last_ns if repeated else now_ns, seed)


def corrected(plan: Plan, due_ns: int, last_ns: int | None, now_ns: int, seed: str) -> int:
    """The due time after the clock was set: earlier than ``due_ns`` if the clock went back, never later."""
    fresh = first_due(plan, now_ns, seed) if last_ns is None else next_due(plan, last_ns, now_ns, seed)
    return min(due_ns, fresh)


def passed(plan: Plan, now_ns: int, anchor_ns: int) -> tuple[int, int]:
    """The last two due times at or before now, without splay. Plain periods are counted from ``anchor_ns``."""
    if plan.period is not None:
        period = int(plan.period * _NS)
        last = anchor_ns + (now_ns - anchor_ns) // period * period
        return last - period, last
    plain = plan._replace(splay=0.0)
    times = [_next(plain, now_ns - _TWO_BACK_NS[plan.unit], "")]
    while times[-1] <= now_ns:
        times.append(_next(plain, times[-1], ""))
    return times[-3], times[-2]


def _splay(plan: Plan, seed: str) -> float:
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
    return plan.splay * int.from_bytes(digest[:8], "big") / 2**64


def _next(plan: Plan, after_ns: int, seed: str) -> int:
    shift = int(_splay(plan, seed) * _NS)
    moment = datetime.fromtimestamp((after_ns - shift) // _NS, UTC)
    nominal = _hours(plan, moment) if plan.unit == "hour" else _days(plan, moment)
    return next(due for due in (int(time.timestamp()) * _NS + shift for time in nominal) if due > after_ns)


def _hours(plan: Plan, moment: datetime) -> Iterator[datetime]:
    """From at or before the moment on."""
    time = moment.replace(second=0, microsecond=0) - timedelta(hours=1)
    while True:
        yield (time := _on_minute(time, plan))
        time += timedelta(hours=1)


def _on_minute(moment: datetime, plan: Plan) -> datetime:
    # Twice, since offsets may differ by other than whole hours on both sides of a change.
    for _ in range(2):
        moment += timedelta(minutes=(plan.minute - moment.astimezone(plan.zone).minute) % 60)
    return moment


def _days(plan: Plan, moment: datetime) -> Iterator[datetime]:
    """From before the moment on: its day, week or month and the one before are looked at, too."""
    day = moment.astimezone(plan.zone).date()
    if plan.unit == "month":
        first = (day.replace(day=1) - timedelta(days=1)).replace(day=1)
    else:
        first = day - timedelta(days=1 if plan.unit == "day" else 7 + day.weekday() - (plan.weekday or 0))
    while True:
        yield _wall_time(plan, _in_month(plan, first) if plan.unit == "month" else first)
        if plan.unit == "month":
            first = (first + timedelta(days=31)).replace(day=1)
        else:
            first += timedelta(days=1 if plan.unit == "day" else 7)


def _in_month(plan: Plan, first: date) -> date:
    return first if plan.weekday is None else first + timedelta(days=(plan.weekday - first.weekday()) % 7)


def _wall_time(plan: Plan, day: date) -> datetime:
    # fold=0: of a wall time that comes twice the first; one that is skipped is taken with the offset before the change.
    return datetime(day.year, day.month, day.day, plan.hour, plan.minute, tzinfo=plan.zone)
