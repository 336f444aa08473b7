"""Jobs read back from the journal: open ones to go on with, and the history for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from filewatchd.model import Change, FileIdentity, Kind, Trigger, Verdict
from filewatchd.state.database import Database
from filewatchd.state.pack import pack, unpack


class OpenJob(NamedTuple):
    """A job with open paths. ``changes`` say what they were when they were looked at last: resolve them anew."""

    id: int
    rule: str
    trigger: Trigger
    state: str
    attempt: int
    generation: int
    created_ns: int
    until_ns: int | None
    resume: int
    changes: Sequence[Change]


class Shown(NamedTuple):
    """One path of a finished attempt, for people."""

    path: str
    kind: Kind
    verdict: Verdict
    message: str
    old_path: str | None = None


class JobRecord(NamedTuple):
    """A job's row. ``first_ns``: when the first event behind it came; None where none did.

    ``paths`` (at most 20), ``open_changes``, ``story`` and ``output`` are filled by `History.show`.
    """

    id: int
    rule: str
    trigger: str
    state: str
    attempt: int
    generation: int
    created_ns: int
    started_ns: int
    finished_ns: int | None
    until_ns: int | None
    total: int
    ok: int
    skipped: int
    rejected: int
    failed: int
    cancelled: int
    resume: int
    open: int
    message: str
    progress: str
    first_ns: int | None
    paths: Sequence[Shown] = ()
    open_changes: Sequence[Change] = ()
    story: bytes = b""
    output: bytes = b""


class AttemptRecord(NamedTuple):
    """A try that was repeated. ``counts``: how many of its paths had which verdict."""

    attempt: int
    started_ns: int
    finished_ns: int
    resume: int
    counts: Mapping[str, int]
    message: str


_OPEN = "id, rule, trigger, state, attempt, generation, created_ns, until_ns, resume, work"
_RECORD = ", ".join(JobRecord._fields[:21])


class Reads(Protocol):
    """A connection: the loop's own `Database`, or in a pool thread a `state.background.Background`."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        ...


class History:
    """What was done, newest first. Every method may raise `StateError`."""

    def __init__(self, database: Reads) -> None:
        self._database = database

    def recent(
        self,
        *,
        rule: str | None = None,
        state: str | None = None,
        since_ns: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[JobRecord]:
        """The newest jobs, of one rule, in one state, made since then, with numbers below ``before``."""
        wanted = {"rule = ?": rule, "state = ?": state, "created_ns >= ?": since_ns, "id < ?": before}
        conditions = {text: value for text, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        statement = f"SELECT {_RECORD} FROM jobs {where} ORDER BY id DESC LIMIT ?"
        return [JobRecord(*row) for row in self._database.execute(statement, (*conditions.values(), limit))]

    def show(self, job: int) -> JobRecord | None:
        """All that is known of one job; None if there is none of this number (any more)."""
        statement = f"SELECT {_RECORD}, shown, work, story, output FROM jobs WHERE id = ?"
        for *row, shown, work, story, output in self._database.execute(statement, (job,)):
            return JobRecord(*row)._replace(
                paths=_unpack_shown(shown) if shown else (),
                open_changes=unpack_changes(work) if work else (),
                story=story or b"",
                output=output or b"",
            )
        return None

    def attempts(self, job: int) -> list[AttemptRecord]:
        """Those that were repeated, oldest first; the last one is in the job's own row."""
        statement = f"SELECT {', '.join(AttemptRecord._fields)} FROM attempts WHERE job = ? ORDER BY attempt"
        rows = self._database.execute(statement, (job,))
        return [AttemptRecord(*row)._replace(counts=unpack(row[4])) for row in rows]

    def steps(self, job: int) -> list[tuple[str, Mapping[str, Any]]]:
        """The durable steps recorded so far, oldest first: name and data."""
        rows = self._database.execute("SELECT name, data FROM steps WHERE job = ? ORDER BY seq", (job,))
        return [(name, unpack(data)) for name, data in rows]

    def last_of_rules(self) -> dict[str, dict[str, Any]]:
        """How each rule's last finished job ended, as status shows it. Reads all jobs, but not what they hold.

        With max() the other columns are those of the same row: SQLite, "Bare columns in an aggregate query".
        """
        verdicts = list(Verdict)
        statement = (
            f"SELECT rule, id, max(finished_ns), started_ns, {', '.join(verdicts)} FROM jobs"
            " WHERE finished_ns IS NOT NULL GROUP BY rule"
        )
        return {
            rule: {
                "job": job,
                "time_ns": ended,
                "seconds": max(0.0, (ended - started) / 1e9),
                "outcomes": {verdict: count for verdict, count in zip(verdicts, counts, strict=True) if count},
            }
            for rule, job, ended, started, *counts in self._database.execute(statement)
        }

    def states(self) -> dict[str, int]:
        """The number of jobs kept in each state. Reads them all."""
        return dict(self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state"))


def read_open_job(database: Database, job: int) -> Iterator[OpenJob]:
    """The job, if it (still) exists."""
    for number, rule, trigger, *rest, work in database.execute(f"SELECT {_OPEN} FROM jobs WHERE id = ?", (job,)):
        state, attempt, generation, created, until, resume = rest
        changes = unpack_changes(work) if work else ()
        yield OpenJob(number, rule, Trigger(trigger), state, attempt, generation, created, until, resume, changes)


def pack_changes(changes: Sequence[Change]) -> bytes:
    """A job's paths as one blob."""
    return pack(changes)


def unpack_changes(blob: bytes) -> list[Change]:
    """A job's paths from its blob.

    Raises:
        ValueError: the blob is damaged.
    """
    try:
        return _changes.decode(blob)
    except msgspec.DecodeError:
        return [_change(*fields) for fields in unpack(blob)]  # an odd name or number is in it


def _change(
    kind: str, path: str, root: str, identity: Sequence[int] | None, old_path: str | None, original_path: str | None
) -> Change:
    seen = None if identity is None else FileIdentity(*identity)
    return Change(Kind(kind), path, root, seen, old_path, original_path)


def _unpack_shown(blob: bytes) -> list[Shown]:
    rows: list[list[Any]] = unpack(blob)
    return [Shown(path, Kind(kind), Verdict(verdict), *rest) for path, kind, verdict, *rest in rows]


_changes = msgspec.msgpack.Decoder(list[Change])
