"""What a pipeline writes down, and when: one transaction before a job starts, one when an attempt ends.

The pipeline speaks of keys (binding, relative path) and items; the journal of full paths, the manifest of
baselines. The translation is here. An open path is in exactly one job's row; a newer job takes it over in the
transaction that starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.actions.base import Step, Unfinished
from filewatchd.clock import Clock
from filewatchd.errors import StateError
from filewatchd.jobs.expecting import Expectations
from filewatchd.jobs.findings import Counters, Findings
from filewatchd.jobs.holding import Holds
from filewatchd.jobs.journal import Journal, ManifestUpdate, NewJob, Result
from filewatchd.jobs.notices import Failing, Notices
from filewatchd.jobs.pausing import Pauses
from filewatchd.jobs.queue import JobState
from filewatchd.jobs.records import History
from filewatchd.jobs.runner import Item, Key, Record
from filewatchd.model import Change, FileIdentity, Found, Kind
from filewatchd.state import tables
from filewatchd.state.comparison import ManifestReader
from filewatchd.state.database import Database
from filewatchd.state.manifest import Manifest

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

_MANY = 500  # finished jobs
_MANY_CHANGES = 10_000


class Left(NamedTuple):
    """An open row of an earlier life. ``waits``: for somebody's retry, or a change. ``cancelled``: by somebody."""

    path: str  # relative
    job: int
    waits: bool
    cancelled: bool
    identity: FileIdentity | None  # at the last attempt


class JournaledSteps:
    """`actions.base.Steps` of one job."""

    def __init__(self, journal: Journal, job: int) -> None:
        self._journal = journal
        self._job = job

    async def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Journal a step; it survives power loss when this returns."""
        self._journal.record_step(self._job, name, data)

    def recorded(self) -> Sequence[Step]:
        """The steps so far, oldest first."""
        return self._journal.steps(self._job)

    async def clear(self) -> None:
        """Forget them."""
        self._journal.clear_steps(self._job)


class Store:
    """The job journal and the manifests, as pipelines use them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        committed: Callable[[], None] = lambda: None,
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        """``committed``: a checkpoint is due. ``grown``: there may be more jobs or changes than are to be kept."""
        self.database = database
        self.manifest = Manifest(database)
        self.journal = Journal(database)
        self.notices = Notices(database)
        self.failing = Failing(database)
        self.findings = Findings(database, self.notices)
        self.counters = Counters(database)
        self.holds = Holds(database)
        self.pauses = Pauses(database)
        self.expectations = Expectations(database)
        self._clock = clock
        self._committed = committed
        self._grown = grown
        self._finished = self._told = 0
        self._reader: ManifestReader | None = None
        self.last = History(database).last_of_rules()  # by rule: how its last job ended, as status shows it
        self._open: dict[str, list[tuple[Change, Left]]] = {}
        self._load_open()

    # ---- open paths of earlier lives

    def _load_open(self) -> None:
        """Jobs that a kill cut off are cancelled, their paths stay open; those of failed jobs wait for a retry.

        So do those of jobs that somebody cancelled.
        """
        self.journal.interrupted(self._clock.wall_ns())
        by_hand = self.journal.cancelled_by_hand()
        for job in self.journal.open_jobs():
            cancelled = job.id in by_hand
            waits = cancelled or job.state == "failed"
            self._open.setdefault(job.rule, []).extend(
                (change, Left(_relative(change), job.id, waits, cancelled, change.identity)) for change in job.changes
            )

    def rename_rule(self, old: str, new: str) -> None:
        """Hand over what a rule left to its new name."""
        self.manifest.rename_rule(old, new)
        self.journal.rename_rule(old, new)
        self.findings.rename_rule(old, new)
        self.counters.rename_rule(old, new)
        self.pauses.rename_rule(old, new)
        self.expectations.rename_rule(old, new)
        self.notices.rename_rule(old, new)
        self.failing.rename_rule(old, new)
        tables.rename_rule(self.database, old, new)
        self._open.setdefault(new, []).extend(self._open.pop(old, ()))
        if old in self.last:
            self.last[new] = self.last.pop(old)

    def take_open(self, rule: str, root: str) -> list[Left]:
        """A rule's open rows below a root; each is given out once."""
        rows = self._open.get(rule, [])
        self._open[rule] = [row for row in rows if row[0].root != root]
        return [left for change, left in rows if change.root == root]

    # ---- a job's life

    def begin(self, pipeline: Pipeline, record: Record) -> None:
        """Journal an attempt before it starts; its paths are open from now on."""
        now = self._clock.wall_ns()
        record.started_ns = now
        changes = [item.change for item in record.items.values()]
        if record.id:
            resume = min((item.next_action for item in record.items.values()), default=0)
            self.journal.attempt(record.id, changes, record.attempt, now, resume)
            return
        taken: dict[int, list[str]] = {}
        for key, item in record.items.items():
            older = pipeline.open.get(key)
            if older is not None:
                taken.setdefault(older, []).append(item.change.path)
        record.id = self.journal.start(
            NewJob(
                pipeline.settings.name,
                record.trigger,
                pipeline.engine.generations.number,
                changes,
                record.created_ns,
                now,
                taken,
                record.noticed.story,
                record.noticed.first_ns,
                bytes(item.source for item in record.items.values()),
            )
        )
        pipeline.open.update(dict.fromkeys(record.items, record.id))
        self._told += len(changes)
        if self._told >= _MANY_CHANGES:
            self._told = 0
            self._grown()
        self._wrote()

    def settle(
        self,
        pipeline: Pipeline,
        record: Record,
        handled: Sequence[Item],
        doubtful: Sequence[Item],
        until_ns: int | None,
    ) -> JobState:
        """Journal how an attempt ended, with the manifest rows of what was handled. ``until_ns``: it is tried again.

        ``doubtful``: handled paths that stay open all the same.

        Returns:
            The state that its job has now.
        """
        items = list(record.items.values())
        outcomes = [record.alone, *(item.outcome for item in items)]
        messages = [outcome.message for outcome in outcomes if outcome is not None and outcome.message]
        result = Result(
            [(item.change, item.outcome) for item in items],
            self._updates(pipeline, handled),
            frozenset(item.change.path for item in doubtful),
            output=record.output,
            message=messages[0] if messages else "",
            progress=record.progress,
            alone=record.alone,
            repeated=record.attempt > 1,
        )
        now = self._clock.wall_ns()
        state = JobState.BACKOFF
        if until_ns is not None:
            self.journal.backoff(record.id, result, now, until_ns)
        else:
            state = self.journal.finish(record.id, result, now)
        for item in handled:
            pipeline.open.pop(item.key, None)
        pipeline.open.update((item.key, record.id) for item in doubtful)
        self._finished += 1
        if self._finished % _MANY == 0:
            self._grown()
        self._wrote()
        return state

    def _updates(self, pipeline: Pipeline, handled: Sequence[Item]) -> list[ManifestUpdate]:
        put: dict[int, list[tuple[str, FileIdentity, int]]] = {}
        drop: dict[int, list[str]] = {}
        for item in handled:
            if item.old_key is not None:
                drop.setdefault(item.old_key[0], []).append(item.old_key[1])
            number, path = item.key
            if item.change.kind is Kind.DELETED or item.change.identity is None:
                drop.setdefault(number, []).append(path)
            else:
                put.setdefault(number, []).append((path, item.change.identity, item.flags))
        return self._by_baseline(pipeline, put, drop)

    def _by_baseline(
        self,
        pipeline: Pipeline,
        put: Mapping[int, Sequence[tuple[str, FileIdentity, int]]],
        drop: Mapping[int, Sequence[str]],
    ) -> list[ManifestUpdate]:
        updates = []
        for number in put.keys() | drop.keys():
            binding = pipeline.bindings.get(number)
            if binding is not None and binding.baseline is not None:
                updates.append(ManifestUpdate(binding.baseline.id, put.get(number, ()), drop.get(number, ())))
        return updates

    def record(
        self,
        pipeline: Pipeline,
        put: Mapping[int, Sequence[tuple[str, FileIdentity, int]]],
        drop: Mapping[int, Sequence[str]],
        closed: Iterable[Key],
        note: str = "",
    ) -> None:
        """Enter rows without a job, and close open rows that need no more work; their jobs get a ``note``."""
        closed = list(closed)
        released: dict[int, list[str]] = {}
        for key in closed:
            job = pipeline.open.get(key)
            binding = pipeline.bindings.get(key[0])
            if job is not None and binding is not None:
                released.setdefault(job, []).append(binding.path(key[1]))
        with self.database.transaction():
            for update in self._by_baseline(pipeline, put, drop):
                if update.put:
                    self.manifest.put(update.baseline, update.put)
                if update.drop:
                    self.manifest.drop(update.baseline, update.drop)
            for job, paths in released.items():
                self.journal.release(job, paths)
                if note:
                    self.journal.note(job, f"{len(paths)} {note}")
        for key in closed:  # once it is written: what fails must find them open again
            pipeline.open.pop(key, None)
        self._wrote()

    # ---- what actions keep

    def steps(self, job: int) -> JournaledSteps:
        """The durable steps of a job."""
        return JournaledSteps(self.journal, job)

    def unfinished(self, rule: str) -> list[Unfinished]:
        """Jobs of a rule with steps left, oldest first."""
        return [Unfinished(job, self.steps(job)) for job in self.journal.unfinished_steps(rule)]

    def raise_findings(self, rule: str, found: Iterable[Found]) -> None:
        """Raise or renew findings, together."""
        self.findings.raise_all(rule, found, self._clock.wall_ns())

    def clear_finding(self, key: str, rule: str) -> None:
        """It no longer stands."""
        self.findings.clear(rule, key, self._clock.wall_ns())

    # ---- upkeep

    def reader(self) -> ManifestReader:
        """The read-only connection of all scan threads; they take turns, a directory at a time."""
        if self._reader is None:
            loop, health = asyncio.get_running_loop(), self.database.health

            def damaged(error: StateError) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(health.failed, error)

            self._reader = ManifestReader(self.database.path, damaged)
        return self._reader

    def _wrote(self) -> None:
        if self.database.wants_checkpoint:
            self._committed()

    def close(self) -> None:
        """The clean end."""
        if self._reader is not None:
            self._reader.close()
        self.database.close()


def _relative(change: Change) -> str:
    path = change.original_path or change.path
    return path[len(change.root) :].lstrip("/") if path != change.root else ""
