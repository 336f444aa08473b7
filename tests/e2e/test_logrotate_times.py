"""The rows "When" of docs/how-to/come-from-logrotate.md: whether a log is due at some moment, by logrotate and by ours.

logrotate is asked (`--debug`, which does nothing) at moments that faketime gives it: weekdays, a February, a new year,
both changes of daylight saving. Its state file says when each of many logs was rotated last.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from filewatchd.actions.base import Schedule
from filewatchd.actions.rotate.due import due
from filewatchd.actions.rotate.options import When
from filewatchd.jobs.schedule import passed, read

ZONE = ZoneInfo("Europe/Berlin")
NOWS = [
    datetime.fromisoformat(text).replace(tzinfo=ZONE)
    for text in (
        *("2026-03-29 00:00:10", "2026-03-29 01:30:00", "2026-03-29 03:30:00", "2026-03-30 00:00:05"),  # an hour less
        *("2026-10-25 00:00:05", "2026-10-25 03:30:00", "2026-10-26 00:00:05"),  # one hour comes twice
        *("2026-02-28 12:00:00", "2026-03-01 00:00:05", "2028-02-29 12:00:00", "2028-03-01 06:25:00"),
        *("2026-12-31 23:30:00", "2027-01-01 00:00:05"),
        *(f"2026-06-0{day} 06:25:00" for day in range(1, 9)),
    )
]
_SHORT = (date(2026, 3, 29), date(2026, 3, 30))  # logrotate counts 23 hours between them as no day
AGES = [
    *(timedelta(hours=hours) for hours in (0, 0.5, 1, 2, 5, 6, 7, 12, 23, 24, 25)),
    *(timedelta(days=days, hours=1) for days in range(1, 12)),
    *(timedelta(days=days) for days in (7, 14, 27, 28, 29, 30, 31, 32, 60, 364, 365, 366, 400)),
]


class Log(NamedTuple):
    name: str
    last: datetime  # rotation
    written: datetime | None = None


Theirs = Callable[[str, datetime, Sequence[Log]], dict[str, bool]]


@pytest.fixture
def theirs(program: Callable[[str], str], tmp_path: Path) -> Theirs:
    """Which logs logrotate would rotate at a moment by a directive."""
    faketime, logrotate = program("faketime"), program("logrotate")

    def ask(directive: str, now: datetime, logs: Sequence[Log]) -> dict[str, bool]:
        for log in logs:
            path = tmp_path / log.name
            if not path.exists():
                path.write_text("line\n")
            if log.written is not None:
                os.utime(path, (log.written.timestamp(),) * 2)
        config, state = tmp_path / "config", tmp_path / "state"
        config.write_text(f"{tmp_path}/*.log {{\nrotate 3\n{directive}\n}}\n")
        config.chmod(0o600)
        lasts = [
            f'"{tmp_path}/{log.name}" {log.last:%Y}-{log.last.month}-{log.last.day}-{log.last:%H:%M:%S}' for log in logs
        ]
        state.write_text("\n".join(["logrotate state -- version 2", *lasts, ""]))
        command = [faketime, "-f", f"@{now:%Y-%m-%d %H:%M:%S}", logrotate, "--debug", "--state"]
        environ = {**os.environ, "TZ": ZONE.key, "NO_FAKE_STAT": "1"}
        said = subprocess.run(
            [*command, str(state), str(config)], capture_output=True, text=True, check=True, env=environ
        ).stderr
        found = re.findall(r"considering log \S+/(\S+)\n(?:.*\n)*?  log (needs|does not need) rotating", said)
        assert len(found) == len(logs), said
        return {name: word == "needs" for name, word in found}

    return ask


def stamp(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def ours(schedule: Schedule, last: datetime, now: datetime) -> bool:
    """Whether the schedule's time has come since a log was rotated last."""
    return passed(read(schedule, ZONE), stamp(now), stamp(last))[1] > stamp(last)


def differences(theirs: Theirs, directive: str, schedule: Schedule) -> Iterator[tuple[datetime, datetime, bool]]:
    """(last, now, by logrotate) where the two don't agree."""
    for now in NOWS:
        logs = [Log(f"{number}.log", now - age) for number, age in enumerate(AGES)]
        found = theirs(directive, now, logs)
        for log in logs:
            if found[log.name] is not ours(schedule, log.last, now):
                yield log.last, now, found[log.name]


@pytest.mark.parametrize(("directive", "every"), [("hourly", "hour"), ("daily", "day"), ("monthly", "month")])
def test_the_same_log_is_due_at_the_same_moment(theirs: Theirs, directive: str, every: str) -> None:
    assert list(differences(theirs, directive, Schedule(every))) == []


@pytest.mark.parametrize(("directive", "day"), [("weekly", "sun"), ("weekly 1", "mon"), ("weekly 6", "sat")])
def test_a_week_that_was_missed_is_caught_up_sooner(theirs: Theirs, directive: str, day: str) -> None:
    """Logrotate waits for the weekday, or until seven days are over."""
    found = list(differences(theirs, directive, Schedule("week", weekday=day)))
    assert found
    for last, now, by_logrotate in found:
        assert not by_logrotate
        assert now.strftime("%a").lower() != day or now.date() in _SHORT
        assert now - last < timedelta(days=7, hours=2)
    assert any(now.strftime("%a").lower() == day and now.date() not in _SHORT for now in NOWS)


def test_a_year_is_the_calendars_for_logrotate_alone(theirs: Theirs) -> None:
    for now in NOWS:
        logs = [Log(f"{number}.log", now - age) for number, age in enumerate(AGES)]
        found = theirs("yearly", now, logs)
        assert found == {log.name: log.last.year < now.year for log in logs}


def test_the_least_age_is_since_the_last_write_for_logrotate(theirs: Theirs) -> None:
    """A log that was written to a day ago waits for logrotate, however long ago it was rotated."""
    now, month, day = NOWS[-1], timedelta(days=30), timedelta(days=1)
    logs = [
        Log("busy.log", now - month, now - day),
        Log("quiet.log", now - month, now - month),
        Log("fresh.log", now - day, now - day),
    ]
    assert theirs("daily\nminage 2", now, logs) == {"busy.log": False, "quiet.log": True, "fresh.log": False}
    when = When(every="day", min_age=2 * 86400.0)
    found = {log.name: bool(due(when, 5, stamp(log.last), True, stamp(now)).why) for log in logs}
    assert found == {"busy.log": True, "quiet.log": True, "fresh.log": False}
