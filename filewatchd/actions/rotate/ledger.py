"""The ledger: a row for each archive, in the job journal's database; it is the rotation's own journal, too.

One row says where every byte of a log is. `Ledger.step` moves it through `machine.MOVES`; when that returns it
survives a power loss, and it has moved what the reader is told in one commit with it. So whoever reads the ledger,
daemon or not, at whatever moment, gets every line exactly once (`parts`): the archives in the order of their ids, then
the live file from where it goes on.

Where a step can have been taken on disk and not here yet, the disk decides, by inode and never by name: a log that
was swapped isn't the inode that the row names any more; one whose head was cut off begins with the stamp.

Without a daemon it is read by `reader`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from filewatchd.actions.base import Tables
from filewatchd.actions.rotate.machine import UNFINISHED, State, Step, after
from filewatchd.actions.rotate.rows import COLUMNS as COLUMNS
from filewatchd.actions.rotate.rows import Archive as Archive
from filewatchd.actions.rotate.rows import Part as Part
from filewatchd.actions.rotate.rows import archive_of as archive_of
from filewatchd.actions.rotate.rows import emptied as emptied
from filewatchd.actions.rotate.rows import encoded as encoded
from filewatchd.actions.rotate.rows import found_in as found_in
from filewatchd.actions.rotate.rows import goes_on as goes_on
from filewatchd.actions.rotate.rows import hidden as hidden
from filewatchd.actions.rotate.rows import is_at as is_at
from filewatchd.actions.rotate.rows import parts as parts
from filewatchd.actions.rotate.rows import stamp as stamp
from filewatchd.actions.rotate.rows import stamped as stamped
from filewatchd.actions.rotate.rows import where_named as where_named
from filewatchd.actions.rotate.rows import where_plain as where_plain
from filewatchd.actions.rotate.rows import where_written as where_written
from filewatchd.actions.rotate.together import Statement, Together

SCHEMA = (
    """CREATE TABLE {archives} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    live BLOB NOT NULL,
    state TEXT NOT NULL,
    method TEXT NOT NULL,
    txn TEXT NOT NULL,
    ino INTEGER NOT NULL,
    btime_ns INTEGER NOT NULL,
    begin INTEGER NOT NULL,
    end INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    position INTEGER NOT NULL,
    skip INTEGER NOT NULL,
    plain BLOB,
    path BLOB,
    was BLOB,
    size INTEGER NOT NULL,
    file_ino INTEGER NOT NULL,
    file_btime_ns INTEGER NOT NULL,
    codec TEXT NOT NULL,
    copy_ino INTEGER NOT NULL,
    copy_btime_ns INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL
)""",
    "CREATE INDEX {archives_live} ON {archives} (live, id)",
    """CREATE TABLE {logs} (
    live BLOB PRIMARY KEY,
    since_ns INTEGER NOT NULL,
    asked INTEGER NOT NULL
) WITHOUT ROWID""",
    # `owns` is asked of every path of a job
    "CREATE INDEX {archives_path} ON {archives} (path)",
    "CREATE INDEX {archives_plain} ON {archives} (plain)",
)

_ROTATES = frozenset({Step.SWAP, Step.TRUNCATE})
_LIVE = frozenset({State.BEGUN, State.WRITING})  # then it is the log itself that is archived


class Ledger:
    """The rows of one rule's action. Methods may raise `StateError`; used on the loop's thread."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.migrate(SCHEMA)
        self._together = Together(lambda steps, statements: self.record(steps, statements))

    # ---- steps

    def begin(self, archive: Archive) -> Archive:
        """Write a new archive's row, durably; returns it with its id."""
        self.record([Step.BEGIN], [self._insert(archive)])
        return self.of(archive.live)[-1]

    async def begin_together(self, archive: Archive) -> Archive:
        """The same, in one commit with whatever else is waiting for one."""
        await self._together.commit(Step.BEGIN, [self._insert(archive)])
        return self.of(archive.live)[-1]

    def _insert(self, archive: Archive) -> Statement:
        values = encoded(archive._replace(state=after(State.NONE, Step.BEGIN))._asdict())
        del values["id"]
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO {{archives}} ({', '.join(values)}) VALUES ({marks})"
        return statement, tuple(values.values())

    def step(self, archive: Archive, step: Step, **values: Any) -> Archive:
        """Take a step: the row has its new state and values, and survives a power loss, when this returns.

        Raises:
            ValueError: the state has no such step.
        """
        values["state"] = after(archive.state, step)
        self.record([step], [self._update(archive, encoded(values))])
        return archive._replace(**values)

    async def step_together(self, archive: Archive, step: Step, **values: Any) -> Archive:
        """The same, in one commit with whatever else is waiting for one."""
        values["state"] = after(archive.state, step)
        statements = [self._update(archive, encoded(values))]
        if step in _ROTATES or (step is Step.NAME and archive.state in _LIVE):
            statements.append(self._rotated(archive))
        await self._together.commit(step, statements)
        return archive._replace(**values)

    async def shift(self, archives: Sequence[tuple[Archive, str]]) -> None:
        """Archives are about to get these names: from now on each is at its new or its old one."""
        statements = [
            self._update(
                archive, encoded({"state": after(archive.state, Step.SHIFT), "path": path, "was": archive.path})
            )
            for archive, path in archives
        ]
        await self._together.commit(Step.SHIFT, statements)

    def shifted(self, archives: Sequence[tuple[Archive, str]]) -> None:
        """Each archive is at this path now, and nowhere else."""
        for archive, path in archives:
            row = os.fsencode(path), archive.id
            self._tables.execute("UPDATE {archives} SET path = ?, was = NULL WHERE id = ?", row)

    def record(self, steps: Sequence[Step], statements: Sequence[Statement]) -> None:
        """Every step comes through here: what a crash test kills at."""
        self._tables.durable(statements)

    def _update(self, archive: Archive, values: dict[str, Any]) -> Statement:
        settings = ", ".join(f"{name} = ?" for name in values)
        return f"UPDATE {{archives}} SET {settings} WHERE id = ?", (*values.values(), archive.id)

    def forget(self, live: str) -> None:
        """Drop a log's rows that say nothing any more: gone, and a newer one says where the log goes on."""
        newest = "(SELECT max(id) FROM {archives} WHERE live = ?)"
        name = os.fsencode(live)
        statement = f"DELETE FROM {{archives}} WHERE live = ? AND state = ? AND id < {newest}"
        self._tables.execute(statement, (name, State.GONE.value, name))

    # ---- rows

    def get(self, number: int) -> Archive:
        """One row that is there.

        Raises:
            KeyError: it isn't.
        """
        rows = self._tables.execute(f"SELECT {COLUMNS} FROM {{archives}} WHERE id = ?", (number,))
        if not rows:
            raise KeyError(number)
        return archive_of(rows[0])

    def of(self, live: str) -> list[Archive]:
        """A log's rows, oldest first."""
        statement = f"SELECT {COLUMNS} FROM {{archives}} WHERE live = ? ORDER BY id"
        return [archive_of(row) for row in self._tables.execute(statement, (os.fsencode(live),))]

    def unfinished(self) -> list[Archive]:
        """Rows with something left to be done, oldest first."""
        states = [*UNFINISHED, State.EXPIRING]
        marks = ", ".join("?" * len(states))
        statement = f"SELECT {COLUMNS} FROM {{archives}} WHERE state IN ({marks}) ORDER BY id"
        return [archive_of(row) for row in self._tables.execute(statement, tuple(states))]

    def owns(self, path: str) -> bool:
        """Whether a file is an archive, or on its way to be one."""
        name = os.fsencode(path)
        found = self._tables.execute("SELECT 1 FROM {archives} WHERE path = ? OR plain = ? LIMIT 1", (name, name))
        return bool(found)

    def lives(self) -> list[str]:
        """Every log that has a row."""
        return [os.fsdecode(live) for (live,) in self._tables.execute("SELECT DISTINCT live FROM {archives}")]

    # ---- logs: since when a log's live part grows, and whether its schedule asks for it

    def log(self, live: str) -> tuple[int, bool] | None:
        """(since_ns, asked) of a log."""
        rows = self._tables.execute("SELECT since_ns, asked FROM {logs} WHERE live = ?", (os.fsencode(live),))
        return (rows[0][0], bool(rows[0][1])) if rows else None

    def known(self) -> list[tuple[str, int, bool]]:
        """(path, since_ns, asked) of all logs."""
        rows = self._tables.execute("SELECT live, since_ns, asked FROM {logs}")
        return [(os.fsdecode(live), since_ns, bool(asked)) for live, since_ns, asked in rows]

    def _rotated(self, archive: Archive) -> Statement:
        """From the step on that isn't undone: its schedule asks no more, also if the rotation is cut off then."""
        values = os.fsencode(archive.live), archive.last_ns
        return "REPLACE INTO {logs} VALUES (?, ?, 0)", values

    def begun(self, live: str, since_ns: int) -> None:
        """A log was first seen."""
        self._tables.execute("REPLACE INTO {logs} VALUES (?, ?, 0)", (os.fsencode(live), since_ns))

    def ask(self) -> list[str]:
        """The schedule's time has come: for every log. Returns them."""
        self._tables.execute("UPDATE {logs} SET asked = 1")
        return [os.fsdecode(live) for (live,) in self._tables.execute("SELECT live FROM {logs}")]

    def drop(self, live: str) -> None:
        """A log is gone."""
        self._tables.execute("DELETE FROM {logs} WHERE live = ?", (os.fsencode(live),))

    def parts(self, live: str) -> list[Part]:
        """See `parts`."""
        return parts(live, self.of(live))
