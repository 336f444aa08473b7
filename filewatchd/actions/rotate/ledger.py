"""The ledger: a row for each archive, in the job journal's database; it is the rotation's own journal, too.

One row says where every byte of a log is. `Ledger.step` moves it through `machine.MOVES`; when that returns it
survives a power loss, and it has moved what the reader is told in one commit with it. So whoever reads the ledger,
daemon or not, at whatever moment, gets every line exactly once (`parts`): the archives in the order of their ids, then
the live file from where it goes on.

Where a step can have been taken on disk and not here yet, the disk decides, by inode and never by name: a log that
was swapped isn't the inode that the row names any more; one whose head was cut off begins with the stamp.

Offline the tables are found through ``action_tables``; the database is opened read-only (`Reader`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import quote_from_bytes

from filewatchd.actions.base import Tables
from filewatchd.actions.rotate.machine import UNFINISHED, State, Step, after
from filewatchd.errors import StateError
from filewatchd.work.inodes import Inode, inode_of

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
    digest TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL
)""",
    "CREATE INDEX {archives_live} ON {archives} (live, id)",
    """CREATE TABLE {logs} (
    live BLOB PRIMARY KEY,
    since_ns INTEGER NOT NULL,
    asked INTEGER NOT NULL
) WITHOUT ROWID""",
)


class Archive(NamedTuple):
    """A row.

    Attributes:
        live: the log's path.
        txn: the rotation's name, part of every temporary name of its.
        ino, btime_ns: the inode that was the log when it began (`work.inodes`).
        begin, end: the range of that inode's bytes in the archive; ``end`` is 0 while it isn't known (swapped).
        cut: how much of its head a collapse takes away.
        position: bytes of the inode below this are in ``path``.
        skip: where the log goes on, as long as it is that inode.
        plain: where that inode is, once it isn't the log (swapped and closed).
        path: the file with the data; until it is named a temporary one of which ``size`` bytes count.
        file_ino, file_btime_ns: its inode, once it is named.
        was: while numbers shift, where it may still be.
        first_ns, last_ns: no line is older, or younger.
    """

    id: int
    live: str
    state: State
    method: str
    txn: str
    ino: int
    btime_ns: int
    begin: int = 0
    end: int = 0
    cut: int = 0
    position: int = 0
    skip: int = 0
    plain: str | None = None
    path: str | None = None
    was: str | None = None
    size: int = 0
    file_ino: int = 0
    file_btime_ns: int = 0
    codec: str = "none"
    digest: str = ""
    first_ns: int = 0
    last_ns: int = 0

    @property
    def inode(self) -> Inode:
        """The inode that was the log."""
        return Inode(self.ino, self.btime_ns)

    @property
    def file(self) -> Inode:
        """The inode of the named archive."""
        return Inode(self.file_ino, self.file_btime_ns)

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done."""
        return self.state in UNFINISHED or self.state is State.EXPIRING


class Part(NamedTuple):
    """A stretch of a log's stream: concatenated, decoded, the parts are the log.

    Attributes:
        codec: of ``filewatchd.codecs``; ``none`` is plain text.
        start: offset in the file (not decoded) at which it begins.
        end: offset behind its last byte; None: to the file's end.
        archive: the row's id; None: the live file.
    """

    path: str
    codec: str
    start: int
    end: int | None
    first_ns: int
    last_ns: int | None
    archive: int | None


_PATHS = frozenset({"live", "plain", "path", "was"})
_COLUMNS = ", ".join(Archive._fields)


def encoded(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as they are in the database: bytes."""
    return {
        name: os.fsencode(value) if name in _PATHS and value is not None else value for name, value in values.items()
    }


def archive_of(row: Sequence[Any]) -> Archive:
    """A row as it comes from the database."""
    values = dict(zip(Archive._fields, row, strict=True))
    values |= {name: os.fsdecode(values[name]) for name in _PATHS if values[name] is not None}
    return Archive(**(values | {"state": State(values["state"])}))


class Ledger:
    """The rows of one rule's action. Methods may raise `StateError`; used on the loop's thread."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.migrate(SCHEMA)

    # ---- steps

    def begin(self, archive: Archive) -> Archive:
        """Write a new archive's row, durably; returns it with its id."""
        values = encoded(archive._replace(state=after(State.NONE, Step.BEGIN))._asdict())
        del values["id"]
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO {{archives}} ({', '.join(values)}) VALUES ({marks})"
        self.record(Step.BEGIN, [(statement, tuple(values.values()))])
        (number,) = self._tables.execute("SELECT max(id) FROM {archives}")[0]
        return self.get(number)

    def step(self, archive: Archive, step: Step, **values: Any) -> Archive:
        """Take a step: the row has its new state and values, and survives a power loss, when this returns.

        Raises:
            ValueError: the state has no such step.
        """
        values["state"] = after(archive.state, step)
        changed = archive._replace(**values)
        self.record(step, [self._update(changed, encoded(values))])
        return changed

    def shift(self, archives: Sequence[tuple[Archive, str]]) -> None:
        """Archives are about to get these names: from now on each is at its new or its old one."""
        statements = [
            self._update(
                archive, encoded({"state": after(archive.state, Step.SHIFT), "path": path, "was": archive.path})
            )
            for archive, path in archives
        ]
        self.record(Step.SHIFT, statements)

    def shifted(self, archives: Sequence[tuple[Archive, str]]) -> None:
        """Each archive is at this path now, and nowhere else."""
        for archive, path in archives:
            row = os.fsencode(path), archive.id
            self._tables.execute("UPDATE {archives} SET path = ?, was = NULL WHERE id = ?", row)

    def record(self, step: Step, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Every step comes through here: what a crash test kills at."""
        self._tables.durable(statements)

    def _update(self, archive: Archive, values: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
        settings = ", ".join(f"{name} = ?" for name in values)
        return f"UPDATE {{archives}} SET {settings} WHERE id = ?", (*values.values(), archive.id)

    def forget(self, archive: Archive) -> None:
        """Drop a row that says nothing any more: it is gone, and a newer one says where the log goes on."""
        newest = "(SELECT max(id) FROM {archives} WHERE live = ?)"
        row = (archive.id, State.GONE.value, os.fsencode(archive.live))
        self._tables.execute(f"DELETE FROM {{archives}} WHERE id = ? AND state = ? AND id < {newest}", row)

    # ---- rows

    def get(self, number: int) -> Archive:
        """One row."""
        return archive_of(self._tables.execute(f"SELECT {_COLUMNS} FROM {{archives}} WHERE id = ?", (number,))[0])

    def of(self, live: str) -> list[Archive]:
        """A log's rows, oldest first."""
        statement = f"SELECT {_COLUMNS} FROM {{archives}} WHERE live = ? ORDER BY id"
        return [archive_of(row) for row in self._tables.execute(statement, (os.fsencode(live),))]

    def unfinished(self) -> list[Archive]:
        """Rows with something left to be done, oldest first."""
        states = [*UNFINISHED, State.EXPIRING]
        marks = ", ".join("?" * len(states))
        statement = f"SELECT {_COLUMNS} FROM {{archives}} WHERE state IN ({marks}) ORDER BY id"
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

    def begun(self, live: str, since_ns: int) -> None:
        """A log was first seen, or has just been rotated."""
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


# ---- reading


class Reader:
    """All ledgers of a state directory, read-only, with a daemon or without."""

    def __init__(self, state_dir: str) -> None:
        """Raises StateError: there is no journal, or it can't be read."""
        self.path = os.path.join(state_dir, "journal.db")
        try:
            uri = f"file:{quote_from_bytes(os.fsencode(self.path))}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2.0)
            self._connection.execute("PRAGMA query_only = ON")
            self._tables = self._find()
        except sqlite3.Error as error:
            raise StateError(f"{self.path} can't be read: {error}; name another state_dir", path=self.path) from error

    def _find(self) -> list[tuple[str, str]]:
        found = self._connection.execute("SELECT rule, id FROM action_tables WHERE action LIKE '%.rotate' ORDER BY id")
        return [(rule, f'"action_{number}_archives"') for rule, number in found if self._exists(number)]

    def _exists(self, number: int) -> bool:
        name = f"action_{number}_archives"
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())

    def version(self) -> int:
        """Changes whenever something was written."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def logs(self) -> list[tuple[str, str]]:
        """(rule, path) of every log that has archives."""
        return [
            (rule, os.fsdecode(live))
            for rule, table in self._tables
            for (live,) in self._connection.execute(f"SELECT DISTINCT live FROM {table} ORDER BY live")
        ]

    def archives(self, live: str) -> list[Archive]:
        """A log's rows, oldest first. Two rules that rotate one log are two histories: the one that began last."""
        histories = [list(self._of(table, live)) for _, table in self._tables]
        return max(histories, key=lambda rows: rows[-1].last_ns if rows else -1, default=[])

    def _of(self, table: str, live: str) -> Iterator[Archive]:
        statement = f"SELECT {_COLUMNS} FROM {table} WHERE live = ? ORDER BY id"
        return map(archive_of, self._connection.execute(statement, (os.fsencode(live),)))

    def parts(self, live: str) -> list[Part]:
        """See `parts`. A rotation may move meanwhile: ask again and compare before you trust files you opened."""
        return parts(live, self.archives(live))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parts(live: str, archives: Sequence[Archive]) -> list[Part]:
    """A log's whole stream, oldest first: its archives, then the live file (if it is there), every byte once."""
    found = [part for archive in archives for part in _parts(archive)]
    try:
        inode = inode_of(live)
        size = os.stat(live, follow_symlinks=False).st_size
    except OSError:
        return found
    skip = goes_on(live, size, inode, archives)
    since = archives[-1].last_ns if archives else 0
    return [*found, Part(live, "none", skip, None, since, None, None)]


def goes_on(live: str, size: int, inode: Inode, archives: Sequence[Archive]) -> int:
    """The offset at which what isn't archived of a live file begins."""
    mine = [archive for archive in archives if archive.inode == inode]
    if not mine:
        return 0
    newest = mine[-1]
    skip = newest.skip
    if newest.state is State.STAMPED and stamped(live, newest.txn):
        skip -= newest.cut
    return skip if size >= skip else 0  # somebody else has truncated it


def _parts(archive: Archive) -> Iterator[Part]:
    match archive.state:
        case State.BEGUN if archive.method == "exchange" and not is_at(archive.live, archive.inode):
            yield from _plain(archive)
        case State.SWAPPED | State.CLOSED:
            if archive.position > archive.begin and archive.path is not None:
                yield _part(archive, where_written(archive), archive.codec, 0, archive.size)
            yield from _plain(archive)
        case State.WRITING:
            yield _part(archive, where_written(archive), archive.codec, 0, archive.size)
        case State.NAMED | State.STAMPED | State.DONE | State.EXPIRING:
            path = where_named(archive)
            if archive.state is not State.EXPIRING or os.path.lexists(path):
                yield _part(archive, path, archive.codec, 0, None)
        case _:
            return


def _plain(archive: Archive) -> Iterator[Part]:
    start = max(archive.begin, archive.position)
    yield _part(archive, where_plain(archive), "none", start, archive.end or None)


def where_plain(archive: Archive) -> str:
    """Where an inode waits that was swapped out: under its hidden name, or where it was about to get its own."""
    folder, name = os.path.split(archive.live)
    plain = archive.plain or os.path.join(folder, hidden(name, archive.txn, "rotated"))
    if archive.state is State.SWAPPED and archive.path is not None and not is_at(plain, archive.inode):
        return found_in(os.path.dirname(archive.path), archive.inode) or plain
    return plain


def found_in(folder: str, inode: Inode) -> str | None:
    """The path of an inode in a folder."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.inode() == inode.ino]
    except OSError:
        return None
    found = (os.path.join(folder, name) for name in names)
    return next((path for path in found if is_at(path, inode)), None)


def where_written(archive: Archive) -> str:
    """Where an unfinished archive is: under its temporary name, or under its own if a crash came right after that."""
    path = archive.path or ""
    if is_at(path, archive.file):
        return path
    return found_in(os.path.dirname(path), archive.file) or path


def where_named(archive: Archive) -> str:
    """Where a named archive is. While numbers shift its new name may still be another one's: the inode tells."""
    path = archive.path or ""
    moved = archive.was is not None and not is_at(path, archive.file) and is_at(archive.was, archive.file)
    return archive.was if moved and archive.was is not None else path


def hidden(name: str, txn: str, what: str) -> str:
    """A temporary name of a rotation's: nobody else makes such, and it is found again by its transaction."""
    shortened = os.fsdecode(os.fsencode(name)[:180])
    return f".{shortened}.{txn}.{what}"


def stamp(txn: str) -> bytes:
    """What marks the place that becomes the head of a live file when what is before it is cut off."""
    return f"\n#filewatchd-rotation {txn}\n".encode("ascii")


def stamped(path: str | int, txn: str) -> bool:
    """Whether a file begins with the stamp: its archived head was cut off."""
    mark = stamp(txn)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) if isinstance(path, str) else path
    except OSError:
        return False
    try:
        return os.pread(fd, len(mark), 0) == mark
    finally:
        if isinstance(path, str):
            os.close(fd)


def _part(archive: Archive, path: str, codec: str, start: int, end: int | None) -> Part:
    return Part(path, codec, start, end, archive.first_ns, archive.last_ns, archive.id)


def is_at(path: str, inode: Inode) -> bool:
    """Whether this inode has this name."""
    try:
        return inode_of(path) == inode
    except OSError:
        return False
