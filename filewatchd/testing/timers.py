"""Durable timers driven by the fake clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from filewatchd.actions.base import Schedule
from filewatchd.testing.clock import FakeClock

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class FakeTimers:
    """`filewatchd.actions.base.Timers`. Times are kept by name: hand the object to a second action to play a restart.

    A time that was missed fires once, with the next `FakeClock.advance`. Splay is left out: tests know their times.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._cancel: dict[str, Callable[[], None]] = {}
        self.due: dict[str, float] = {}  # name -> seconds since the epoch

    def at(self, name: str, when: float, callback: Callable[[], None]) -> None:
        """Fire once."""
        self._set(name, when, callback, None)

    def every(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Fire again and again; a time that stands already stays."""
        self._set(name, self.due.get(name, self._wall() + seconds), callback, lambda now: now + seconds)

    def calendar(self, name: str, schedule: Schedule, callback: Callable[[], None]) -> None:
        """Fire by the calendar; a time that stands already stays."""

        def following(now: float) -> float:
            return next_time(schedule, now)

        self._set(name, self.due.get(name, following(self._wall())), callback, following)

    def cancel(self, name: str) -> None:
        """Fire no more."""
        self.due.pop(name, None)
        self._cancel.pop(name, lambda: None)()

    def _wall(self) -> float:
        return self._clock.wall_ns() / 1e9

    def _set(
        self, name: str, when: float, callback: Callable[[], None], following: Callable[[float], float] | None
    ) -> None:
        self._cancel.pop(name, lambda: None)()
        self.due[name] = when

        def fire() -> None:
            del self.due[name], self._cancel[name]
            if following is not None:
                self._set(name, following(self._wall()), callback, following)
            callback()

        self._cancel[name] = self._clock.call_at(self._clock.monotonic() + when - self._wall(), fire)


def next_time(schedule: Schedule, now: float) -> float:
    """The first time of a schedule after ``now``, in seconds since the epoch; a plain one, without splay."""
    if not isinstance(schedule.every, str):
        return now + schedule.every
    zone = ZoneInfo(schedule.timezone) if schedule.timezone else ZoneInfo("UTC")
    hour, minute = map(int, (schedule.at or "00:00").split(":"))
    moment = datetime.fromtimestamp(now, zone).replace(second=0, microsecond=0)
    if schedule.every == "hour":
        moment = moment.replace(minute=minute)
        return (moment if moment.timestamp() > now else moment + timedelta(hours=1)).timestamp()
    moment = moment.replace(hour=hour, minute=minute)
    while moment.timestamp() <= now or not fits(schedule, moment):
        moment += timedelta(days=1)
    return moment.timestamp()


def fits(schedule: Schedule, moment: datetime) -> bool:
    """Whether a day is one of the schedule's."""
    if schedule.every == "month":
        return moment.day == 1
    if schedule.every == "week" or schedule.weekday:
        return moment.weekday() == _WEEKDAYS.index(schedule.weekday or "mon")
    return True
