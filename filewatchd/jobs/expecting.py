"""A dead man's switch: a rule may expect that something comes in every period, and a finding tells when nothing did.

A period ends at each of the schedule's times. It is judged then, once what happened before has been worked, and again
at a start: nothing was written down that could say it had been judged, and what came while the daemon was down is
known only after the comparison. So a judgement may be made twice, and the second one changes nothing.

What comes is a path in a job that was made by a change, a comparison or a start, whether that job went well or not; a
job that somebody asked for is none. The first period judged is the first one that was watched from its beginning.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from filewatchd.actions.base import Schedule
from filewatchd.clock import Clock
from filewatchd.errors import FilewatchdError
from filewatchd.jobs.findings import Findings
from filewatchd.jobs.schedule import Plan, passed, read
from filewatchd.jobs.timers import DurableTimers, local_zone
from filewatchd.model import Expect, Trigger
from filewatchd.state.database import Database

log = logging.getLogger("filewatchd.jobs")

FINDING = "expect"  # the key of the finding
_NAME = ("expect", "by")  # of the timer, beside the rule
_COMES = frozenset({Trigger.CHANGE, Trigger.RESCAN, Trigger.STARTUP})


class Expected(NamedTuple):
    """An expectation as it is kept. ``since_ns``: when it began; ``came_ns``: when something came last."""

    spec: str
    since_ns: int
    came_ns: int | None


class Expectations:
    """The expectations of all rules, over restarts. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, Expected]:
        """Every rule's."""
        rows = self._database.execute("SELECT rule, spec, since_ns, came_ns FROM expectations")
        return {rule: Expected(*row) for rule, *row in rows}

    def put(self, rule: str, expected: Expected) -> None:
        """Keep a rule's."""
        self._database.execute("REPLACE INTO expectations VALUES (?, ?, ?, ?)", (rule, *expected))

    def drop(self, rule: str) -> None:
        """It expects nothing any more."""
        self._database.execute("DELETE FROM expectations WHERE rule = ?", (rule,))

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's to its new name."""
        self._database.execute("UPDATE OR REPLACE expectations SET rule = ? WHERE rule = ?", (new, old))


class Expecting:
    """The expectations of the rules in force."""

    def __init__(
        self,
        kept: Expectations,
        findings: Findings,
        timers: DurableTimers,
        clock: Clock,
        *,
        worked: Callable[[str], Awaitable[None]],
        held: Callable[[str], bool],
    ) -> None:
        """``worked(rule)`` returns once all that happened to a rule before has been worked. ``held``: it isn't."""
        self._kept = kept
        self._findings = findings
        self._timers = timers
        self._clock = clock
        self._worked = worked
        self._held = held
        self._rules: dict[str, tuple[Plan, Expected]] = {}
        self._missing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False

    # ---- the rules in force

    def configure(self, wanted: Mapping[str, Expect]) -> None:
        """Expect exactly this, by rule.

        Raises:
            StateError: it can't be kept.
        """
        kept = self._kept.all()
        for rule in (kept.keys() | self._rules.keys()) - wanted.keys():
            self._timers.cancel((rule, *_NAME))
            self._kept.drop(rule)
            self._findings.clear(rule, FINDING)
        self._rules = {rule: self._begin(rule, expect, kept.get(rule)) for rule, expect in wanted.items()}
        self._missing = {finding.rule for finding in self._findings.all() if finding.key == FINDING}

    def _begin(self, rule: str, expect: Expect, kept: Expected | None) -> tuple[Plan, Expected]:
        schedule = Schedule(*expect)
        plan, spec = read(schedule, local_zone()), repr(tuple(expect))
        if kept is None or kept.spec != spec:
            kept = Expected(spec, self._clock.wall_ns(), kept.came_ns if kept is not None else None)
            self._kept.put(rule, kept)
        self._timers.repeat((rule, *_NAME), schedule, functools.partial(self._due, rule))
        return plan, kept

    # ---- what comes

    def came(self, rule: str, trigger: Trigger, when_ns: int) -> None:
        """Paths of this rule have been worked in a job that was made then.

        Raises:
            StateError: it can't be kept.
        """
        if rule not in self._rules or trigger not in _COMES:
            return
        plan, expected = self._rules[rule]
        expected = expected._replace(came_ns=max(when_ns, expected.came_ns or 0))
        self._rules[rule] = plan, expected
        self._kept.put(rule, expected)
        if rule in self._missing:
            self._missing.discard(rule)
            self._findings.clear(rule, FINDING, self._clock.wall_ns())
            log.info("something came at last", extra={"rule": rule})

    # ---- judging

    def started(self) -> None:
        """The daemon is up, and what happened while it was down is dirty: judge the periods that ended meanwhile."""
        self._started = True
        for rule in self._rules:
            self._due(rule)

    def _due(self, rule: str) -> None:
        if self._started and rule in self._rules:
            plan, expected = self._rules[rule]
            start, end = passed(plan, self._clock.wall_ns(), expected.since_ns)
            task = asyncio.get_running_loop().create_task(self._judge(rule, start, end))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _judge(self, rule: str, start_ns: int, end_ns: int) -> None:
        await self._worked(rule)
        if rule not in self._rules:
            return
        plan, expected = self._rules[rule]
        came = expected.came_ns or 0
        if expected.since_ns > start_ns or came > start_ns:
            return
        try:
            self._raise(rule, _message(plan, came, end_ns, held=self._held(rule)), end_ns)
        except FilewatchdError as error:
            log.error("rule %s: nothing came, and that can't be kept as a finding: %s", rule, error)

    def _raise(self, rule: str, message: str, end_ns: int) -> None:
        known = [finding for finding in self._findings.all(rule) if finding.key == FINDING]
        if known and known[0].last_ns >= end_ns:  # it has been judged before
            return
        self._findings.raise_finding(rule, FINDING, message, None, self._clock.wall_ns())
        self._missing.add(rule)
        log.warning("%s", message, extra={"rule": rule})

    def close(self) -> None:
        """Judge no more."""
        for task in self._tasks:
            task.cancel()


def _message(plan: Plan, came_ns: int, end_ns: int, *, held: bool) -> str:
    since = f"nothing came since {_time(plan, came_ns)}" if came_ns else "nothing has come yet"
    return f"{since}; it was expected by {_time(plan, end_ns)}{'; the rule is held' if held else ''}"


def _time(plan: Plan, when_ns: int) -> str:
    return datetime.fromtimestamp(when_ns / 1e9, plan.zone).isoformat(" ", "seconds")
