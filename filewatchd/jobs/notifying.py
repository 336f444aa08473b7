"""Notifications: a rule's ``on_failure``, ``on_recovery`` and ``on_finding``.

Each of these lists of actions is a pipeline of its own beside the rule's, without roots: a job of it is over no path
and carries a notice. So it is journaled, retried, cancelled and shown like any other job. Its name is the rule's, a
colon and the list's, which no rule can have.

What is to be told is written down in the transaction of what it is about (`notices`), and forgotten in the one that
ends the job that told it: kill -9 at any moment tells it once more at worst. After the first notice a job waits for a
moment, and after a job the next one waits for a while, so that what comes together is told together. While a job waits
for its retry, what comes meanwhile waits for the next one; of the list's actions only those that failed are run again.
What a job couldn't tell in all its attempts is told with the next one, with whatever comes, or in an hour.

A rule fails when a job of it has failed for good, or when it is held but by a person; it has recovered when after that
a job ends well, no path is left that has failed for good, and it isn't held. Only these two moves are told, not every
job. Notifications are no rules: they don't fail in this sense, and nothing is told of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filewatchd.errors import FilewatchdError, StateError
from filewatchd.jobs.notices import Failure, Scope
from filewatchd.jobs.queue import JobState
from filewatchd.model import Entry, Event, Notice, Retry, RuleSettings, Trigger, Verdict
from filewatchd.notation import fit_text

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.pipeline import Pipeline
    from filewatchd.jobs.runner import Item, Record

log = logging.getLogger("filewatchd.jobs")

LINGER = 1.0  # seconds after the first notice until it is told
PAUSE = 10.0  # seconds from one job to the next
LATER = 3600.0  # seconds until what couldn't be told is tried again
LONGEST = 2000  # characters of what is kept of a failure
RETRY = Retry(attempts=30, backoff=1.0, max_backoff=300.0)  # two hours
FAILED, HELD = "failed", "held"  # keys of entries


def settings_of(rule: RuleSettings) -> Iterator[RuleSettings]:
    """What a rule's notifications are, as pipelines have it."""
    for event in Event:
        if actions := getattr(rule, f"on_{event.value}"):
            former = None if rule.renamed_from is None else name_of((rule.renamed_from, event))
            yield RuleSettings(
                name_of((rule.name, event)), (), actions, description=f"notifications of rule {rule.name}",
                retry=RETRY, timeout=rule.timeout, user=rule.user, renamed_from=former, event=event,
            )  # fmt: skip


def name_of(scope: Scope) -> str:
    """The name of a pipeline of notifications."""
    return f"{scope[0]}:on_{scope[1].value}"


def scope_of(settings: RuleSettings) -> Scope:
    """The rule and the event of such a pipeline."""
    assert settings.event is not None
    return settings.name.rpartition(":")[0], settings.event


class Notifying:
    """The notifications of all rules, and whether these work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._notices = engine.store.notices
        self._failing = engine.store.failing
        self._timers: dict[Scope, asyncio.TimerHandle] = {}
        self._last: dict[Scope, float] = {}  # when the last job began
        self._notices.awake = self._awake

    # ---- the rules in force

    def want(self, rules: Iterator[RuleSettings]) -> None:
        """These rules are in force, with these notifications. What nobody wants to hear any more is forgotten.

        Raises:
            StateError: it can't be written.
        """
        known = {rule.name: rule for rule in rules if rule.event is None}
        self._notices.want([scope_of(settings) for rule in known.values() for settings in settings_of(rule)])
        for rule in self._failing.rules() - known.keys():
            self._failing.drop(rule)
        for scope in self._notices.waiting():
            self._arm(scope, LINGER)

    # ---- whether rules work

    def ended(self, pipeline: Pipeline, record: Record, state: JobState, items: list[Item]) -> None:
        """An attempt has ended, in the transaction that says so.

        Raises:
            StateError: it can't be written.
        """
        rule, now_ns = pipeline.settings.name, self._engine.clock.wall_ns()
        if pipeline.settings.event is not None:
            if state is JobState.OK and record.told_until:
                self._notices.told(*scope_of(pipeline.settings), record.told_until)
        elif state is JobState.FAILED:
            message, path = _why(record, items)
            self._fails(rule, Entry(FAILED, message, path, now_ns, now_ns, 1, record.id))
        elif state is JobState.OK and pipeline.holding.why is None:
            self._works(rule, record.id)

    def held(self, rule: str, why: str) -> None:
        """A rule is held, and by nobody's wish."""
        now_ns = self._engine.clock.wall_ns()
        try:
            self._fails(rule, Entry(HELD, f"it is held: {why}", None, now_ns, now_ns))
        except StateError as error:
            log.error("rule %s is held, and that can't be told: %s", rule, error, extra={"rule": rule})

    def freed(self, rule: str) -> None:
        """A rule is held no more.

        Raises:
            StateError: it can't be written.
        """
        failure = self._failing.get(rule)
        if failure is not None and failure.key == HELD:
            self._works(rule, 0)

    def since(self, rule: str) -> Failure | None:
        """What is wrong with a rule; None if it works."""
        return self._failing.get(rule)

    def _fails(self, rule: str, entry: Entry) -> None:
        with self._engine.store.database.transaction():
            known = self._failing.get(rule)
            if known is not None:
                self._failing.put(rule, known._replace(times=known.times + 1))
                return
            self._failing.put(rule, Failure(entry.key, fit_text(entry.message[:LONGEST]), entry.first_ns, 1))
            self._notices.add(rule, Event.FAILURE, entry)

    def _works(self, rule: str, job: int) -> None:
        failure = self._failing.get(rule)
        if failure is None:
            return
        with self._engine.store.database.transaction():
            if self._failing.left(rule):
                return
            self._failing.drop(rule)
            since = datetime.fromtimestamp(failure.since_ns / 1e9, UTC).isoformat(" ", "seconds")
            message = f"it works again, after a failure since {since}: {failure.message}"
            entry = Entry(
                failure.key, message, None, failure.since_ns, self._engine.clock.wall_ns(), failure.times, job
            )
            self._notices.add(rule, Event.RECOVERY, entry)

    # ---- telling

    def _awake(self) -> None:
        """Something was written down."""
        news, self._notices.news = self._notices.news, set()
        for scope in news:
            self._arm(scope, LINGER)

    def _arm(self, scope: Scope, delay: float) -> None:
        """Have it told in so long, or when a pause is over."""
        now = self._engine.clock.monotonic()
        delay = max(delay, self._last.get(scope, now - PAUSE) + PAUSE - now)
        loop = asyncio.get_running_loop()
        armed = self._timers.get(scope)
        if armed is not None:
            if armed.when() <= loop.time() + delay:
                return
            armed.cancel()
        self._timers[scope] = loop.call_later(delay, self._due, scope)

    def _due(self, scope: Scope) -> None:
        self._timers.pop(scope, None)
        pipeline = self._engine.pipelines.get(name_of(scope))
        if pipeline is None or len(pipeline.batches):
            return  # when its job ends, it is looked at again
        if pipeline.backoff.has_alone():  # in back-off; or a reload has left it here, and then it is due
            self._engine.touched.add(pipeline)
            self._engine.poke()
            return
        try:
            waiting = self._notices.take(*scope)
        except StateError as error:
            log.error("rule %s: what is to be told can't be read: %s", scope[0], error)
            self._arm(scope, PAUSE)
            return
        if waiting is not None:
            pipeline.request(Trigger.NOTICE, ())

    def gather(self, pipeline: Pipeline, record: Record) -> None:
        """Give a job of notifications all that there is to tell; one that somebody asked for may have nothing.

        Raises:
            StateError: it can't be read.
        """
        scope = rule, event = scope_of(pipeline.settings)
        if dropped := self._notices.trim(rule, event):
            pipeline.count("notices_dropped", dropped)
        taken = self._notices.take(rule, event)
        self._last[scope] = self._engine.clock.monotonic()
        if taken is not None:
            record.notice, record.told_until = Notice(rule, event, taken.entries, taken.more), taken.last
            return
        now_ns = self._engine.clock.wall_ns()
        entries = (Entry("test", "this is a test", None, now_ns, now_ns),) if record.trigger is Trigger.MANUAL else ()
        record.notice = Notice(rule, event, entries, test=bool(entries))

    def settled(self, pipeline: Pipeline, record: Record, state: JobState) -> None:
        """A job has ended, or waits for its retry: if it was of notifications, see whether there is more to tell."""
        if state is JobState.BACKOFF or pipeline.settings.event is None:
            return
        scope = scope_of(pipeline.settings)
        try:
            taken = self._notices.take(*scope)
        except StateError as error:
            log.error("rule %s: what is to be told can't be read: %s", scope[0], error)
            return
        if taken is not None:
            soon = taken.last > record.told_until or pipeline.successor is not None
            self._arm(scope, LINGER if soon else LATER)

    def waiting(self) -> dict[Scope, int]:
        """How many things there are to tell; none if that can't be read."""
        try:
            return self._notices.waiting()
        except FilewatchdError:
            return {}

    def close(self) -> None:
        """Tell nothing more in this life."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _why(record: Record, items: list[Item]) -> tuple[str, str | None]:
    """What a failed job is told as, and the first path that failed."""
    bad = [item for item in items if item.outcome is not None and item.outcome.verdict is Verdict.FAILED]
    if not bad:
        return (record.alone.message if record.alone is not None else "") or "the job failed", None
    first = bad[0]
    assert first.outcome is not None
    more = f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""
    return f"{first.outcome.message or 'failed'}{more}", first.change.path
