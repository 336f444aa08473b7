"""Durable timers of actions: one row each, one kernel timer for the earliest.

A row keeps when its timer is due and when it was due last, so a time that passed while the daemon was down is due at
once, once. After its callback the row moves on to the next time. A kill between the two calls it again: at least
once. A callback asks for a job; that job is journaled when it starts.

A row waits for its callback until its action has registered the name again; rows of rules that are gone go with
`DurableTimers.forget`.
"""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from filewatchd.actions.base import Schedule
from filewatchd.clock import Clock
from filewatchd.errors import StateError
from filewatchd.jobs.alarm import Alarm, TimerFd
from filewatchd.jobs.schedule import Plan, corrected, first_due, next_due, read
from filewatchd.state.database import Database

log = logging.getLogger("filewatchd.jobs")

_NS = 1_000_000_000
_FAR = 2**62  # ns; the year 2116: what SQLite, the kernel and a C long hold
Name = tuple[str, str, str]  # rule, action, name


class _Timer(NamedTuple):
    plan: Plan | None  # None: once
    due_ns: int
    last_ns: int | None
    callback: Callable[[], None]


class DurableTimers:
    """All timers of all actions. Methods may raise `StateError`; used on the loop's thread."""

    def __init__(
        self, database: Database, clock: Clock, *, alarm: Alarm | None = None, host: str | None = None
    ) -> None:
        """``host`` draws the splay; the default is this machine's. ``alarm`` may be a test's."""
        self._database = database
        self._clock = clock
        self._alarm: Alarm = alarm or TimerFd()
        self._host = host_name() if host is None else host
        self._zone = local_zone()
        self._timers: dict[Name, _Timer] = {}
        self._queue: list[tuple[int, Name]] = []  # entries that no longer agree with _timers are skipped
        self._seen_ns = clock.wall_ns()
        self._fired = 0
        self._alarm.start(self.look)

    def of(self, rule: str, action: str) -> ActionTimers:
        """The timers of one action (`actions.base.Timers`)."""
        return ActionTimers(self, rule, action)

    def at(self, name: Name, due_ns: int, callback: Callable[[], None]) -> None:
        """Once, at this time."""
        due_ns = min(due_ns, _FAR)
        self._save(name, due_ns, None, "once")
        self._put(name, _Timer(None, due_ns, None, callback))

    def repeat(self, name: Name, schedule: Schedule, callback: Callable[[], None]) -> None:
        """Again and again. The row of an equal schedule goes on as it stands, missed time included.

        Raises:
            ValueError: the schedule is wrong.
        """
        plan, spec, now = read(schedule, self._zone), repr(tuple(schedule)), self._clock.wall_ns()
        where = "WHERE rule = ? AND action = ? AND name = ? AND spec = ?"
        kept = self._database.execute(f"SELECT due_ns, last_ns FROM timers {where}", (*name, spec))
        if kept:
            due, last = kept[0]
            due = corrected(plan, due, last, now, self._seed(name))
        else:
            due, last = first_due(plan, now, self._seed(name)), None
        self._save(name, due, last, spec)
        self._put(name, _Timer(plan, due, last, callback))

    def cancel(self, name: Name) -> None:
        """Forget a timer and its row."""
        self._timers.pop(name, None)
        self._database.execute("DELETE FROM timers WHERE rule = ? AND action = ? AND name = ?", name)
        self._arm()

    def pending(self, name: Name) -> float | None:
        """When it is due (seconds since the epoch), also if it has no callback yet; None if there is no such timer."""
        where = "WHERE rule = ? AND action = ? AND name = ?"
        rows = self._database.execute(f"SELECT due_ns FROM timers {where}", name)
        return rows[0][0] / _NS if rows else None

    def retire(self, rule: str, action: str) -> None:
        """The action was closed: its callbacks are dropped, its rows wait for it to be opened again."""
        for name in [name for name in self._timers if name[:2] == (rule, action)]:
            del self._timers[name]
        self._arm()

    def forget(self, rule: str) -> None:
        """The rule is gone for good: its timers and rows too."""
        self._timers = {name: timer for name, timer in self._timers.items() if name[0] != rule}
        self._database.execute("DELETE FROM timers WHERE rule = ?", (rule,))
        self._arm()

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's rows to its new name, before its actions are opened."""
        self._database.execute("UPDATE OR REPLACE timers SET rule = ? WHERE rule = ?", (new, old))

    def look(self) -> None:
        """The alarm went off, or the clock was set: call what is due, and set the alarm for the next."""
        now = self._clock.wall_ns()
        if now < self._seen_ns:
            self._follow_clock(now)
        self._seen_ns = now
        due: list[tuple[int, Name]] = []
        while self._queue and self._queue[0][0] <= now:
            due.append(heapq.heappop(self._queue))  # first all, lest a callback that sets itself anew go on for ever
        for due_ns, name in due:
            timer = self._timers.get(name)
            if timer is not None and timer.due_ns == due_ns:
                self._fire(name, timer, now)
        self._arm()

    def statistics(self) -> dict[str, Any]:
        """How many timers wait, and how many times one was due."""
        return {"timers": len(self._timers), "fired": self._fired}

    def close(self) -> None:
        """Let go of the alarm; the rows stay."""
        self._timers.clear()
        self._alarm.close()

    def _follow_clock(self, now: int) -> None:
        for name, timer in list(self._timers.items()):
            if timer.plan is not None:
                due = corrected(timer.plan, timer.due_ns, timer.last_ns, now, self._seed(name))
                self._put(name, timer._replace(due_ns=due))

    def _fire(self, name: Name, timer: _Timer, now: int) -> None:
        self._fired += 1
        try:
            timer.callback()
        except Exception:  # an action's mistake must not stop the others' timers
            log.exception("timer %s of %s failed", name[2], name[1], extra={"rule": name[0]})
        if self._timers.get(name) is not timer:
            return  # its callback set it anew, or cancelled it
        try:
            self._move_on(name, timer, now)
        except StateError as error:
            log.error("timer %s of %s may fire once more: %s", name[2], name[1], error, extra={"rule": name[0]})

    def _move_on(self, name: Name, timer: _Timer, now: int) -> None:
        if timer.plan is None:
            self.cancel(name)
            return
        due = next_due(timer.plan, timer.due_ns, now, self._seed(name))
        self._put(name, timer._replace(due_ns=due, last_ns=timer.due_ns))
        where = "WHERE rule = ? AND action = ? AND name = ?"
        self._database.execute(f"UPDATE timers SET due_ns = ?, last_ns = ? {where}", (due, timer.due_ns, *name))

    def _save(self, name: Name, due_ns: int, last_ns: int | None, spec: str) -> None:
        self._database.execute("REPLACE INTO timers VALUES (?, ?, ?, ?, ?, ?)", (*name, due_ns, last_ns, spec))

    def _put(self, name: Name, timer: _Timer) -> None:
        self._timers[name] = timer
        heapq.heappush(self._queue, (timer.due_ns, name))
        self._arm()

    def _arm(self) -> None:
        queue, timers = self._queue, self._timers
        while queue and (queue[0][1] not in timers or timers[queue[0][1]].due_ns != queue[0][0]):
            heapq.heappop(queue)
        self._alarm.set(queue[0][0] if queue else None)

    def _seed(self, name: Name) -> str:
        return "\0".join((self._host, *name))


class ActionTimers:
    """One action's timers (`actions.base.Timers`); names are its own."""

    def __init__(self, timers: DurableTimers, rule: str, action: str) -> None:
        self._timers = timers
        self._scope = (rule, action)

    def at(self, name: str, when: float, callback: Callable[[], None]) -> None:
        """Fire once at ``when`` (seconds since the epoch); at once if that has passed."""
        self._timers.at((*self._scope, name), int(when * _NS), callback)

    def every(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Fire every so many seconds (at least 1), first after as many."""
        self._timers.repeat((*self._scope, name), Schedule(float(seconds)), callback)

    def calendar(self, name: str, schedule: Schedule, callback: Callable[[], None]) -> None:
        """Fire by a schedule. Raises ValueError if it is wrong."""
        self._timers.repeat((*self._scope, name), schedule, callback)

    def cancel(self, name: str) -> None:
        """Forget it; a name that is unknown is no error."""
        self._timers.cancel((*self._scope, name))

    def pending(self, name: str) -> float | None:
        """When it is due (seconds since the epoch), or None: after a restart, what to register again."""
        return self._timers.pending((*self._scope, name))


def host_name() -> str:
    """What tells this host from others: its machine id, else its name."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip() or os.uname().nodename
    except (OSError, UnicodeDecodeError):
        return os.uname().nodename


def local_zone() -> tzinfo:
    """The system's time zone: TZ, else /etc/localtime, else UTC."""
    try:
        if name := os.environ.get("TZ", "").lstrip(":"):
            return ZoneInfo(name)
        with open("/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file, "localtime")
    except (OSError, ValueError, KeyError):
        return UTC
