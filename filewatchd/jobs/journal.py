"""The job journal: every job is here before it starts, so after kill -9 it is found again.

A job is one row, its paths one blob. While paths are without a good outcome they stay in the row as *open*: a path of
a job that runs, waits in back-off, failed, was cancelled or cut off has been attempted, and may be half done. A newer
job that takes such a path over does so in the transaction that starts it (`NewJob.taken`): an open path is in exactly
one row. What is finished leaves with its transaction: manifest rows in, the job's row trimmed to counts and at most
20 paths.

One job of one path costs two commits, about 40 us; nothing here syncs under ``normal`` but `Journal.record_step`.
Reading a job back: `filewatchd.jobs.records`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from filewatchd.actions.base import Step
from filewatchd.jobs.changes import ChangeHistory
from filewatchd.jobs.queue import JOBS, JobState, Turn, last_turn
from filewatchd.jobs.records import History, OpenJob, Shown, pack_changes, read_open_job, unpack_changes
from filewatchd.model import Change, FileIdentity, Outcome, Trigger, Verdict
from filewatchd.notation import fit_text
from filewatchd.state.database import Database
from filewatchd.state.manifest import Manifest
from filewatchd.state.pack import pack

OUTPUT_TAIL = 64 * 1024  # bytes
SHOWN_PATHS = 20
_MESSAGE_LIMIT = 2000  # characters
_NO_COUNTS = dict.fromkeys(Verdict, 0)  # in the order of the columns


class NewJob(NamedTuple):
    """A job about to start its first attempt. ``taken``: open paths it takes over, by the job that had them."""

    rule: str
    trigger: Trigger
    generation: int
    changes: Sequence[Change]
    created_ns: int
    started_ns: int
    taken: Mapping[int, Collection[str]] = {}
    story: bytes = b""  # the raw events behind it, see `noticed`
    first_ns: int | None = None  # when the first of them came
    sources: bytes = b""  # how each change was noticed, a `changes.Source` each; nothing: all by events


class ManifestUpdate(NamedTuple):
    """What a job's end writes to one baseline: handled identities, and handled deletions. Paths are relative."""

    baseline: int
    put: Sequence[tuple[str, FileIdentity, int]] = ()
    drop: Sequence[str] = ()


class Result(NamedTuple):
    """How an attempt ended.

    Attributes:
        outcomes: every change of the attempt with its last outcome; None where it was cut off.
        updates: manifest rows, for the handled paths.
        reopened: handled paths that stay open all the same: the file may have been away meanwhile.
        output: what the work printed; the last 64 KiB are kept.
        message: one line for people.
        progress: the last progress, for people.
        alone: how a job over no path fared; None for every other one.
        repeated: it isn't the job's first attempt, so that other paths of the job may be open, too.
    """

    outcomes: Sequence[tuple[Change, Outcome | None]]
    updates: Sequence[ManifestUpdate] = ()
    reopened: Collection[str] = ()
    output: bytes = b""
    message: str = ""
    progress: str = ""
    alone: Outcome | None = None
    repeated: bool = False


_START = (
    "INSERT INTO jobs (id, rule, trigger, state, attempt, generation, created_ns, started_ns, total, open, work, story,"
    f" first_ns) VALUES (?, ?, ?, '{JobState.RUNNING}', 1, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ATTEMPT = (
    f"UPDATE jobs SET state = '{JOBS[JobState.BACKOFF, Turn.DUE]}', attempt = ?, started_ns = ?, until_ns = NULL,"
    " resume = ?, open = ?, work = ? WHERE id = ?"
)
_END = (
    "UPDATE jobs SET state = ?, finished_ns = ?, until_ns = ?, resume = ?, ok = ok + ?, skipped = skipped + ?,"
    " rejected = rejected + ?, failed = ?, cancelled = ?, open = ?, work = ?, shown = ?, output = ?, message = ?,"
    " progress = ? WHERE id = ?"
)
_REPEATED = (  # its start and the action it resumed at are in the job's row until the next one begins
    "REPLACE INTO attempts SELECT id, attempt, started_ns, ?, resume, ?, ? FROM jobs WHERE id = ?"
)
_WAITS_FOR_NOTHING = f"?1 = 0 AND state = '{JobState.BACKOFF}'"
_TAKE = f"""
UPDATE jobs SET open = ?1, work = ?2,
    state = CASE WHEN {_WAITS_FOR_NOTHING} THEN '{JOBS[JobState.BACKOFF, Turn.TAKEN]}' ELSE state END,
    finished_ns = CASE WHEN {_WAITS_FOR_NOTHING} THEN started_ns ELSE finished_ns END
WHERE id = ?3
"""
_UNFINISHED = ", ".join(f"'{state}'" for state in JobState if (state, Turn.CUT_OFF) in JOBS)
_CUT_OFF = (
    f"UPDATE jobs SET state = '{JOBS[JobState.RUNNING, Turn.CUT_OFF]}', finished_ns = ?, until_ns = NULL,"
    f" cancelled = open, message = 'cut off when the daemon ended' WHERE state IN ({_UNFINISHED})"
)


_CANCEL = (
    f"UPDATE jobs SET state = '{JOBS[JobState.BACKOFF, Turn.CUT_OFF]}', finished_ns = ?, until_ns = NULL,"
    " cancelled = open, message = ? WHERE id = ?"
)
_NOTE = "UPDATE jobs SET message = CASE message WHEN '' THEN ?1 ELSE message || '; ' || ?1 END WHERE id = ?2"


class Journal:
    """The journal of all rules. Every method may raise `StateError`. ``history``: the changes it made jobs of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._manifest = Manifest(database)
        self.history = ChangeHistory(database)
        (newest,) = database.execute("SELECT max(id) FROM jobs")[0]
        self._next_id = (newest or 0) + 1  # retention keeps the newest, so numbers are never used twice

    # ---- a job's life

    def start(self, job: NewJob) -> int:
        """Write a job before its first attempt; returns its number, which only ever grows."""
        number = self._next_id
        count, work, story = len(job.changes), pack_changes(job.changes), job.story or None
        times = job.created_ns, job.started_ns
        with self._database.transaction() as connection:
            for older, paths in job.taken.items():
                self._take(older, paths)
            row = number, job.rule, job.trigger, job.generation, *times, count, count, work, story, job.first_ns
            connection.execute(_START, row)
            if count:
                self.history.add(connection, job.created_ns, job.rule, number, job.sources or bytes(count), work)
        self._next_id = number + 1
        if count:
            self.history.added(count)
        return number

    def attempt(self, job: int, changes: Sequence[Change], attempt: int, started_ns: int, resume: int = 0) -> None:
        """Write what another attempt starts with: the paths left, looked at anew, and the action it resumes at.

        Paths of the job that it isn't about stay open, see `_others`.
        """
        with self._database.transaction() as connection:
            left = [*changes, *self._others(job, changes)]
            connection.execute(_ATTEMPT, (attempt, started_ns, resume, len(left), pack_changes(left), job))

    def _others(self, job: int, changes: Sequence[Change]) -> list[Change]:
        """The job's open paths besides these: given up, or changed again, and not in a newer job yet.

        Until then only this row says that somebody was told of them, and may have to be told that they are gone.
        """
        mine = {change.original_path or change.path for change in changes}
        rows = self._database.execute("SELECT work FROM jobs WHERE id = ?", (job,))
        work = unpack_changes(rows[0][0]) if rows and rows[0][0] else ()
        return [change for change in work if (change.original_path or change.path) not in mine]

    def finish(self, job: int, result: Result, finished_ns: int) -> JobState:
        """End a job with its manifest rows. Paths that aren't handled stay open and wait for a retry or a change."""
        outcomes = [outcome for _, outcome in result.outcomes] if result.alone is None else [result.alone]
        state = JOBS[JobState.RUNNING, last_turn(outcomes)]
        self._end(job, state, result, finished_ns=finished_ns)
        return state

    def backoff(self, job: int, result: Result, now_ns: int, until_ns: int, resume: int = 0) -> None:
        """End an attempt that will be repeated: the handled paths are finished, the others wait until then.

        It is kept as a row of its own, since the next one takes its place in the job's.
        """
        counts = pack(Counter(outcome.verdict for _, outcome in result.outcomes if outcome is not None))
        with self._database.transaction() as connection:
            connection.execute(_REPEATED, (now_ns, counts, fit_text(result.message[:_MESSAGE_LIMIT]), job))
            self._end(job, JOBS[JobState.RUNNING, Turn.RETRIED], result, until_ns=until_ns, resume=resume)

    def _end(
        self,
        job: int,
        state: JobState,
        result: Result,
        *,
        finished_ns: int | None = None,
        until_ns: int | None = None,
        resume: int = 0,
    ) -> None:
        verdicts = [outcome.verdict if outcome else Verdict.CANCELLED for _, outcome in result.outcomes]
        counts = _NO_COUNTS | Counter(verdicts)
        others = self._others(job, [change for change, _ in result.outcomes]) if result.repeated else []
        left = [
            change
            for change, outcome in result.outcomes
            if outcome is None or not outcome.handled or change.path in result.reopened
        ] + others
        row = (
            state,
            finished_ns,
            until_ns,
            resume,
            *counts.values(),
            len(left),
            pack_changes(left) if left else None,
            pack(_shown(result.outcomes)),
            result.output[-OUTPUT_TAIL:] or None,
            fit_text(result.message[:_MESSAGE_LIMIT]),
            fit_text(result.progress),
            job,
        )
        with self._database.transaction() as connection:
            connection.execute(_END, row)
            for update in result.updates:
                if update.put:
                    self._manifest.put(update.baseline, update.put)
                if update.drop:
                    self._manifest.drop(update.baseline, update.drop)

    def mark_cancelled(self, job: int, by: str) -> None:
        """Somebody cancels a job that runs or waits: from now on its open paths wait for somebody, restart or not."""
        self._database.execute("UPDATE jobs SET cancelled_by = ? WHERE id = ?", (by, job))

    def cancel(self, job: int, by: str, finished_ns: int) -> None:
        """End a job that somebody cancelled in its back-off."""
        with self._database.transaction() as connection:
            self.mark_cancelled(job, by)
            connection.execute(_CANCEL, (finished_ns, f"cancelled by {by}", job))

    # ---- open paths

    def cancelled_by_hand(self) -> set[int]:
        """Jobs with open paths that somebody has cancelled."""
        rows = self._database.execute("SELECT id FROM jobs WHERE open > 0 AND cancelled_by IS NOT NULL")
        return {job for (job,) in rows}

    def note(self, job: int, text: str) -> None:
        """Add to what a job's record says."""
        self._database.execute(_NOTE, (text, job))

    def open_jobs(self) -> Iterator[OpenJob]:
        """Jobs with open paths, oldest first, read one by one; after a crash also those that it cut off."""
        where = f"open > 0 OR state IN ({_UNFINISHED})"
        for (number,) in self._database.execute(f"SELECT id FROM jobs WHERE {where} ORDER BY id"):
            yield from read_open_job(self._database, number)

    def has(self, job: int) -> bool:
        """Whether there is such a job; old ones are forgotten."""
        return bool(self._database.execute("SELECT 1 FROM jobs WHERE id = ?", (job,)))

    def failed_over_nothing(self, job: int) -> str | None:
        """The rule of a job over no path that failed or was cancelled; None if it is another one."""
        statement = "SELECT rule FROM jobs WHERE id = ? AND total = 0 AND state IN (?, ?)"
        found = self._database.execute(statement, (job, JobState.FAILED, JobState.CANCELLED))
        return found[0][0] if found else None

    def interrupted(self, now_ns: int) -> int:
        """At start: jobs that a crash or kill left running or waiting are cancelled, their paths stay open."""
        with self._database.transaction() as connection:
            return connection.execute(_CUT_OFF, (now_ns,)).rowcount

    def release(self, job: int, paths: Collection[str]) -> None:
        """Close open paths of a job that need no more work: gone without a trace, or no longer matched."""
        with self._database.transaction():
            self._take(job, paths)

    def _take(self, job: int, paths: Collection[str]) -> None:
        rows = self._database.execute("SELECT work FROM jobs WHERE id = ?", (job,))
        if not rows or rows[0][0] is None:
            return
        left = [change for change in unpack_changes(rows[0][0]) if change.path not in paths]
        self._database.execute(_TAKE, (len(left), pack_changes(left) if left else None, job))

    # ---- steps

    def record_step(self, job: int, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Journal a step; when this returns it survives a power loss. Syncs: 0.2 ms and more."""
        with self._database.durable() as connection:
            (last,) = connection.execute("SELECT max(seq) FROM steps WHERE job = ?", (job,)).fetchone()
            connection.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (job, (last or 0) + 1, name, pack(data or {})))

    def steps(self, job: int) -> list[Step]:
        """The steps recorded so far, oldest first."""
        return [Step(name, data) for name, data in History(self._database).steps(job)]

    def clear_steps(self, job: int) -> None:
        """Forget them: what they guarded is finished or undone. Done again after a power loss, at worst."""
        self._database.execute("DELETE FROM steps WHERE job = ?", (job,))

    def unfinished_steps(self, rule: str) -> list[int]:
        """Jobs of a rule that have steps, oldest first."""
        statement = "SELECT DISTINCT job FROM steps JOIN jobs ON jobs.id = steps.job WHERE rule = ? ORDER BY job"
        return [number for (number,) in self._database.execute(statement, (rule,))]

    # ---- upkeep

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's jobs, with their open paths and steps, to its new name."""
        self._database.execute("UPDATE jobs SET rule = ? WHERE rule = ?", (new, old))


_GOOD = frozenset({Verdict.OK, Verdict.SKIPPED})


def _shown(outcomes: Sequence[tuple[Change, Outcome | None]]) -> list[Shown]:
    """At most 20 paths, those first that somebody may ask about."""
    bad = [each for each in outcomes if each[1] is None or each[1].verdict not in _GOOD]
    good = islice((each for each in outcomes if each[1] is not None and each[1].verdict in _GOOD), SHOWN_PATHS)
    shown = [*bad[:SHOWN_PATHS], *good][:SHOWN_PATHS]
    return [
        Shown(change.path, change.kind, o.verdict, o.message[:_MESSAGE_LIMIT], change.old_path)
        if o is not None
        else Shown(change.path, change.kind, Verdict.CANCELLED, "", change.old_path)
        for change, o in shown
    ]
