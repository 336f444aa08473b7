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
from typing import Any, NamedTuple

from filewatchd.actions.base import Tables
from filewatchd.actions.rotate.logs import Logs, Points, Since, rotated
from filewatchd.actions.rotate.machine import State, Step, after
from filewatchd.actions.rotate.moves import Move as Move
from filewatchd.actions.rotate.rows import COLUMNS as COLUMNS
from filewatchd.actions.rotate.rows import Archive as Archive
from filewatchd.actions.rotate.rows import Part as Part
from filewatchd.actions.rotate.rows import archive_of as archive_of
from filewatchd.actions.rotate.rows import beside as beside
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

_LEFT = "state NOT IN ('done', 'gone')"  # an index has these alone: they are few, and asked for by every status
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
    # archives that have their name, and of which the command after it hasn't ended yet
    "CREATE TABLE {owed} (archive INTEGER PRIMARY KEY)",
    f"CREATE INDEX {{archives_left}} ON {{archives}} (id) WHERE {_LEFT}",
    # where the filesystem of a folder of logs or archives is mounted, if not at /
    "CREATE TABLE {points} (folder BLOB PRIMARY KEY, point BLOB NOT NULL) WITHOUT ROWID",
)

# The steps that aren't undone: from then on a log's schedule asks no more, also if its rotation is cut off.
_ROTATES = frozenset({Step.SWAP, Step.TRUNCATE})
_LIVE = frozenset({State.BEGUN, State.WRITING})  # then it is the log itself that is archived


class Ledger:
    """The rows of one rule's action. Methods may raise `StateError`; used on the loop's thread."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.migrate(SCHEMA)
        self._together = Together(lambda steps, statements: self.record(steps, statements))
        self._last = self._newest()
        self.logs = Logs(tables)
        self.points = Points(tables)

    # ---- steps

    def begin(self, archive: Archive) -> Archive:
        """Write a new archive's row, durably; returns it with its id."""
        begun = self._begun(archive)
        self.record([Step.BEGIN], [_insert(begun)])
        return begun

    async def begin_together(self, archive: Archive) -> Archive:
        """The same, in one commit with whatever else is waiting for one."""
        begun = self._begun(archive)
        await self._together.commit(Step.BEGIN, [_insert(begun)])
        return begun

    def _begun(self, archive: Archive) -> Archive:
        self._last += 1
        return archive._replace(id=self._last, state=after(State.NONE, Step.BEGIN))

    def _newest(self) -> int:
        """The greatest id that any row ever had: a deleted one's never comes again."""
        rows = self._tables.execute("SELECT seq FROM sqlite_sequence WHERE name = replace('{archives}', '\"', '')")
        return int(rows[0][0]) if rows else 0

    def step(self, archive: Archive, step: Step, **values: Any) -> Archive:
        """Take a step: the row has its new state and values, and survives a power loss, when this returns.

        Raises:
            ValueError: the state has no such step.
        """
        values["state"] = after(archive.state, step)
        self.record([step], [self._update(archive, encoded(values))])
        return archive._replace(**values)

    def steps(self, moves: Sequence[tuple[Archive, Move]], *, owed: bool = False) -> list[Archive]:
        """Steps that the worker took, in one commit; returns the rows as they are now.

        ``owed``: a command is to run once an archive has its name.
        """
        rows, taken, statements = list[Archive](), list[Step](), list[Statement]()
        for archive, move in moves:
            row = archive
            for step in (move.step, *move.also):
                if step in _ROTATES or (step is Step.NAME and row.state in _LIVE):
                    statements.append(rotated(archive.live, archive.last_ns))
                if step is Step.NAME and owed:
                    statements.append(("INSERT OR IGNORE INTO {owed} VALUES (?)", (archive.id,)))
                taken.append(step)
                row = row._replace(state=after(row.state, step))
            statements.append(self._update(archive, encoded({"state": row.state, **move.values})))
            rows.append(row._replace(**move.values))
        self.record(taken, statements)
        return rows

    async def step_together(self, archive: Archive, step: Step, **values: Any) -> Archive:
        """The same, in one commit with whatever else is waiting for one."""
        values["state"] = after(archive.state, step)
        await self._together.commit(step, [self._update(archive, encoded(values))])
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

    # ---- the command after

    def owed(self) -> list[int]:
        """The archives whose command hasn't ended: not begun, or cut off."""
        return [number for (number,) in self._tables.execute("SELECT archive FROM {owed} ORDER BY archive")]

    async def paid(self, number: int) -> None:
        """Its command has ended, and isn't run again."""
        await self._together.commit(Step.AFTER, [("DELETE FROM {owed} WHERE archive = ?", (number,))])

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
        statement = f"SELECT {COLUMNS} FROM {{archives}} WHERE {_LEFT} ORDER BY id"
        return [archive_of(row) for row in self._tables.execute(statement)]

    def left(self) -> int:
        """How many these are."""
        return int(self._tables.execute(f"SELECT count(*) FROM {{archives}} WHERE {_LEFT}")[0][0])

    def owns(self, path: str) -> bool:
        """Whether a file is an archive, or on its way to be one."""
        name = os.fsencode(path)
        found = self._tables.execute("SELECT 1 FROM {archives} WHERE path = ? OR plain = ? LIMIT 1", (name, name))
        return bool(found)

    def named(self, paths: Sequence[str], but: int) -> set[str]:
        """Which of these paths other rows than one have for their archives, whether these are there now or not."""
        names, marks = [os.fsencode(path) for path in paths], ", ".join("?" * len(paths))
        statement = f"SELECT path FROM {{archives}} WHERE path IN ({marks}) AND id != ? AND state != ?"
        return {os.fsdecode(path) for (path,) in self._tables.execute(statement, [*names, but, State.GONE.value])}

    def lives(self) -> list[str]:
        """Every log that has a row."""
        return [os.fsdecode(live) for (live,) in self._tables.execute("SELECT DISTINCT live FROM {archives}")]

    def parts(self, live: str) -> list[Part]:
        """See `parts`."""
        return parts(live, self.of(live))

    # ---- of several logs at once

    def known_of(self, lives: Sequence[str]) -> list[Known]:
        """What is known of each."""
        rows: dict[str, list[Archive]] = {live: [] for live in lives}
        names, marks = [os.fsencode(live) for live in lives], ", ".join("?" * len(lives))
        found = f"SELECT {COLUMNS} FROM {{archives}} WHERE live IN ({marks}) ORDER BY live, id"
        for row in map(archive_of, self._tables.execute(found, names)):
            rows[row.live].append(row)
        since = self.logs.since_each(lives)
        return [Known(tuple(rows[live]), since.get(live)) for live in lives]

    def owned(self, paths: Sequence[str]) -> set[str]:
        """Which of these files are archives, or on their way to be."""
        names, marks = [os.fsencode(path) for path in paths], ", ".join("?" * len(paths))
        statement = (
            f"SELECT path FROM {{archives}} WHERE path IN ({marks})"
            f" UNION ALL SELECT plain FROM {{archives}} WHERE plain IN ({marks})"
        )
        return {os.fsdecode(path) for (path,) in self._tables.execute(statement, [*names, *names])}


class Known(NamedTuple):
    """A log's rows, oldest first; and since when its live part grows, and whether its schedule asks for it."""

    archives: tuple[Archive, ...] = ()
    since: Since | None = None


def _insert(archive: Archive) -> Statement:
    values = encoded(archive._asdict())
    marks = ", ".join("?" * len(values))
    return f"INSERT INTO {{archives}} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
