"""Writing the index: one writer for the whole daemon, called from pool threads, one call at a time.

`Index.edit` is a transaction. Inside it rows are put, moved and dropped, changes told, versions kept and runs brought
forward, so that a run's cursor never says more than its rows. A commit isn't synced (a power loss costs the last
moments' rows, which are then found to be missing and read again), but decisions are: `decide` syncs.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from filewatchd.clock import Clock
from filewatchd.state import opening
from filewatchd.state.database import Database
from filewatchd.state.index import audit, schema
from filewatchd.state.index.chain import Chain, Link
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import (
    NO_ATTRIBUTES,
    WAITING,
    Attributes,
    Change,
    Record,
    State,
    Verdict,
    encode,
    flags_of,
    pack_attributes,
    pack_record,
    split,
    stamp,
    unpack_record,
)
from filewatchd.state.sqlite_errors import damaged, typed

_REMEMBERED = 4096  # directories and attributes
_ACCEPTED_KEPT = 100_000  # changes that need nobody
_ROWS = 100  # in one statement: for each, sqlite3 gives up the GIL, and has to get it back from whoever reads files
_CONFLICT = (
    " ON CONFLICT DO UPDATE SET ino = excluded.ino,"
    " size = excluded.size, mtime = excluded.mtime, later = excluded.later, verified = excluded.verified,"
    " flags = excluded.flags, digest = excluded.digest, attributes = excluded.attributes"
)
_BENEATH = "root = ? AND (path = ? OR (path > ? AND path < ?))"


@lru_cache
def _put(rows: int) -> str:
    """The statement that writes so many rows."""
    return f"INSERT INTO files VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'] * rows)} {_CONFLICT}"


class Told(NamedTuple):
    """A change to tell. One that waits already for the same path with the same ``after`` and verdict is renewed."""

    root: int
    path: str
    verdict: Verdict
    state: State
    before: Record | None = None
    after: Record | None = None
    old_path: str | None = None
    message: str = ""
    label: str | None = None


class Edit:
    """What may be done inside one transaction of `Index.edit`."""

    def __init__(self, index: Index, connection: sqlite3.Connection, now_ns: int) -> None:
        self._index = index
        self.connection = connection
        self.now_ns = now_ns

    # ---- rows

    def put(self, root: int, path: str, record: Record) -> None:
        """Accept a record as a path's row."""
        directory, name = split(path)
        self.put_many(root, directory, [(name, record)])

    def put_many(self, root: int, directory: str, records: Iterable[tuple[str, Record]], filesystem: str = "") -> None:
        """Accept records of one directory's files."""
        number = self._index.directory(self.connection, root, directory, filesystem)
        attributes = self._index.attributes
        columns = [
            (
                number,
                encode(name),
                *stamp(*record.identity),
                record.verified,
                flags_of(record),
                record.digest,
                None if record.attributes is NO_ATTRIBUTES else attributes(self.connection, record.attributes),
            )
            for name, record in records
        ]
        for start in range(0, len(columns), _ROWS):
            some = columns[start : start + _ROWS]
            self.connection.execute(_put(len(some)), [*chain.from_iterable(some)])

    def drop(self, root: int, path: str, row: Record | None = None) -> bool:
        """Forget a path's row; False if there was none. ``row``: only if it is this file's still."""
        directory, name = split(path)
        stamped = () if row is None else stamp(*row.identity)
        same = "" if row is None else " AND ino = ? AND size = ? AND mtime = ? AND later = ?"
        gone = self.connection.execute(
            "DELETE FROM files WHERE name = ? AND dir = (SELECT id FROM directories WHERE root = ? AND path = ?)"
            + same,
            (encode(name), root, encode(directory), *stamped),
        )
        return gone.rowcount > 0

    def flag(self, root: int, path: str, *, waiting: bool) -> None:
        """Mark a row as one with a change that waits, or not."""
        directory, name = split(path)
        self.connection.execute(
            f"UPDATE files SET flags = flags {f'| {WAITING}' if waiting else f'& ~{WAITING}'} WHERE name = ?"
            " AND dir = (SELECT id FROM directories WHERE root = ? AND path = ?)",
            (encode(name), root, encode(directory)),
        )

    def verified(self, root: int, directory: str, names: Iterable[str], when: int) -> None:
        """These files were read whole, and are as their rows say."""
        number = self._index.directory(self.connection, root, directory)
        listed = [encode(name) for name in names]
        for start in range(0, len(listed), _ROWS):
            some = listed[start : start + _ROWS]
            marks = ", ".join("?" * len(some))
            self.connection.execute(
                f"UPDATE files SET verified = ? WHERE dir = ? AND name IN ({marks})", (when, number, *some)
            )

    def keep_version(self, root: int, path: str, record: Record, most: int) -> None:
        """Keep what a path held until now, and at most so many of them."""
        if most <= 0:
            return
        key = (root, encode(path))
        self.connection.execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)", (*key, self.now_ns, pack_record(record))
        )
        self.connection.execute(
            "DELETE FROM versions WHERE root = ?1 AND path = ?2 AND until_ns <= (SELECT until_ns FROM versions"
            " WHERE root = ?1 AND path = ?2 ORDER BY until_ns DESC LIMIT 1 OFFSET ?3)",
            (*key, most),
        )

    def move(self, root: int, old: str, new: str, record: Record, row: Record | None = None) -> None:
        """A path's row and versions go with its file. ``row``: the old path's; another that is there by now stays."""
        self.drop(root, old, row)
        self.put(root, new, record)
        self.connection.execute(
            "UPDATE OR REPLACE versions SET path = ? WHERE root = ? AND path = ?", (encode(new), root, encode(old))
        )

    # ---- changes

    def tell(self, told: Told) -> tuple[int, bool]:
        """Record a change; returns its number, and whether it is news rather than renewed."""
        path, after = encode(told.path), pack_record(told.after)
        if told.state is not State.ACCEPTED:
            renewed = self._renew(told, path, after)
            if renewed is not None:
                return renewed, False
        found = self.connection.execute(
            "INSERT INTO changes (root, path, old_path, verdict, state, found_ns, last_ns, message, before, after,"
            " label)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                told.root,
                path,
                None if told.old_path is None else encode(told.old_path),
                told.verdict.value,
                told.state.value,
                self.now_ns,
                self.now_ns,
                told.message,
                pack_record(told.before),
                after,
                told.label,
            ),
        )
        return int(found.lastrowid or 0), True

    def _renew(self, told: Told, path: bytes, after: bytes | None) -> int | None:
        """The same again renews what waits; anything else takes its place."""
        waiting = self.connection.execute(
            "SELECT id, verdict, after, old_path FROM changes WHERE root = ? AND path = ?"
            " AND state IN ('open', 'pending', 'rejected')",
            (told.root, path),
        ).fetchall()
        old_path = None if told.old_path is None else encode(told.old_path)
        for number, verdict, known, old in waiting:
            if verdict == told.verdict and old == old_path and _same(known, after):
                self.connection.execute(
                    "UPDATE changes SET last_ns = ?, count = count + 1 WHERE id = ?", (self.now_ns, number)
                )
                return int(number)
        self.clear(told.root, told.path)
        return None

    def clear(self, root: int, path: str) -> int:
        """What waits of a path is over: the disk agrees with its row, or something newer waits. Returns how many."""
        gone = self.connection.execute(
            "UPDATE changes SET state = 'cleared', decided_ns = ? WHERE root = ? AND path = ?"
            " AND state IN ('open', 'pending', 'rejected')",
            (self.now_ns, root, encode(path)),
        )
        return gone.rowcount

    def clear_verdict(self, root: int, verdict: Verdict) -> int:
        """What waits of a root with this verdict is over."""
        gone = self.connection.execute(
            "UPDATE changes SET state = 'cleared', decided_ns = ? WHERE root = ? AND verdict = ?"
            " AND state IN ('open', 'pending', 'rejected')",
            (self.now_ns, root, verdict.value),
        )
        return gone.rowcount

    # ---- runs

    def begin_run(
        self, rule: str, kind: str, mode: str = "full", scope: str = "", total: int = 0, uid: int | None = None
    ) -> int:
        """A build, verify or scrub begins."""
        found = self.connection.execute(
            "INSERT INTO runs (rule, kind, mode, scope, state, began_ns, total, uid)"
            " VALUES (?, ?, ?, ?, 'running', ?, ?, ?)",
            (rule, kind, mode, encode(scope), self.now_ns, total, uid),
        )
        return int(found.lastrowid or 0)

    def advance(self, run: int, root: str, cursor: bytes | None, files: int, size: int, findings: int = 0) -> None:
        """It has come so far; the figures are added."""
        self.connection.execute(
            "UPDATE runs SET root = ?, cursor = ?, files = files + ?, bytes = bytes + ?, findings = findings + ?"
            " WHERE id = ?",
            (encode(root), cursor, files, size, findings, run),
        )

    def end_run(self, run: int, state: str = "done") -> None:
        """It has ended, or was stopped and may be taken up again."""
        ended = None if state == "running" else self.now_ns
        self.connection.execute("UPDATE runs SET state = ?, ended_ns = ? WHERE id = ?", (state, ended, run))

    def built(self, root: int, selection: str) -> None:
        """A root's build has ended."""
        self.connection.execute(
            "UPDATE roots SET built_ns = ?, selection = ? WHERE id = ?", (self.now_ns, selection, root)
        )

    def label(self, change: int, label: str) -> bool:
        """Note why a change is as it should be; False if it has a label already."""
        noted = self.connection.execute("UPDATE changes SET label = ? WHERE id = ? AND label IS NULL", (label, change))
        return noted.rowcount > 0

    def packages(self, versions: Mapping[str, str]) -> None:
        """These versions are what is installed, by ``dpkg NAME`` or ``rpm NAME``."""
        self.connection.executemany("INSERT OR REPLACE INTO packages VALUES (?, ?)", versions.items())

    def trim(self) -> None:
        """Forget the oldest of too many accepted changes."""
        self.connection.execute(
            "DELETE FROM changes WHERE state IN ('accepted', 'cleared') AND id <= (SELECT max(id) FROM changes) - ?",
            (_ACCEPTED_KEPT,),
        )


class Index:
    """The open index. One for all rules; `filewatchd.actions.checksum.shared` keeps it.

    Attributes:
        created: the file was made at this start.
        set_aside: where a damaged file was moved at this start.
        kept: how many changes were saved from it.

    Raises:
        FatalError, StateError: as `filewatchd.state.database.Database`.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._directories: dict[tuple[int, str], int] = {}
        self._attributes: dict[Attributes, int] = {}
        self._filesystems: dict[str, int] = {}
        with Database(path, clock=clock, migrations=schema.MIGRATIONS, application_id=schema.APPLICATION_ID) as checked:
            self.created, self.set_aside = checked.created, checked.set_aside
        self.connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        for setting in (
            "synchronous = NORMAL", "wal_autocheckpoint = 4000", "cache_size = -8192", "mmap_size = 0",
            "trusted_schema = OFF", "temp_store = FILE",
        ):  # fmt: skip
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
        self.chain = Chain(self.connection)
        self.kept = self._salvage(self.set_aside) if self.set_aside else 0

    # ---- writing

    @contextmanager
    def edit(self, *, durable: bool = False) -> Iterator[Edit]:
        """A transaction; with ``durable`` it survives a power loss once it has ended. Blocks.

        Raises:
            StateError: the disk is full or fails, or the file is damaged; then nothing was written.
        """
        with self._lock:
            connection = self.connection
            try:
                if durable:
                    connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                edit = Edit(self, connection, self._clock.wall_ns())
                yield edit
                self.chain.flush(edit.now_ns)
                connection.execute("COMMIT")
            except BaseException as error:
                self._directories.clear()  # what was made in it is not there
                self._attributes.clear()
                self._filesystems.clear()
                self.chain.discard()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    if damaged(error):
                        opening.mark_suspect(self.path)
                    raise typed(error, self.path) from error
                raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    def root(self, rule: str, root: str, former: str | None = None) -> int:
        """A root's number; it is entered if it is new. ``former``: what the rule was called, if it was renamed."""
        with self.edit() as edit:
            key = (rule, encode(root))
            if former is not None:
                edit.connection.execute(
                    "UPDATE OR IGNORE roots SET rule = ? WHERE rule = ? AND root = ?", (rule, former, key[1])
                )
                edit.connection.execute("UPDATE runs SET rule = ? WHERE rule = ? AND root = ?", (rule, former, key[1]))
            edit.connection.execute("INSERT INTO roots (rule, root) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            (number,) = edit.connection.execute("SELECT id FROM roots WHERE rule = ? AND root = ?", key).fetchone()
        return int(number)

    def decide(
        self, changes: Sequence[int], state: State, *, uid: int | None, comment: str = "", label: str | None = None,
        versions: int = 0,
    ) -> list[Change]:  # fmt: skip
        """Approve or reject changes that wait; returns those that did. What is approved becomes the row. Syncs."""
        decided: list[Change] = []
        with Reader(self.path) as reader, self.edit(durable=True) as edit:
            for number in changes:
                found = reader.changes(states=(), after=number - 1, limit=1)
                if not found or found[0].id != number or not self._still_waits(edit, number):
                    continue
                change = found[0]
                if state is State.APPROVED:
                    self._accept(edit, reader, change, versions)
                edit.connection.execute(
                    "UPDATE changes SET state = ?, decided_ns = ?, uid = ?, comment = ?, label = coalesce(?, label)"
                    " WHERE id = ?",
                    (state.value, edit.now_ns, uid, comment or None, label, number),
                )
                decided.append(change)
        return decided

    @staticmethod
    def _still_waits(edit: Edit, number: int) -> bool:
        found = edit.connection.execute("SELECT state FROM changes WHERE id = ?", (number,)).fetchone()
        return found is not None and found[0] in ("open", "pending", "rejected")

    @staticmethod
    def _accept(edit: Edit, reader: Reader, change: Change, versions: int) -> None:
        """What was found becomes the row."""
        row = reader.row(change.root, change.path)
        if row is not None:
            edit.keep_version(change.root, change.path, row, versions)
        if change.verdict in (Verdict.UNREADABLE, Verdict.UNSTABLE, Verdict.ROOT_GONE):
            edit.flag(change.root, change.path, waiting=False)  # seen; there is nothing to put in the row's place
        elif change.after is None:
            edit.drop(change.root, change.path)
        else:
            if change.old_path is not None:
                edit.drop(change.root, change.old_path, change.before)  # what has moved there since stays
            edit.put(change.root, change.path, change.after)

    # ---- seals

    def seal(self) -> Link:
        """Append an entry with a digest of all rows, to be signed. Reads all rows; syncs."""
        with Reader(self.path) as reader:
            taken = audit.snapshot(reader.connection)
        with self.edit(durable=True) as edit:
            return self.chain.seal(audit.packed(taken), edit.now_ns)

    def sealed(self, number: int, statement: str, key: bytes, signature: bytes, *, uid: int | None) -> bool:
        """Keep the signature of an entry; False if there is no such seal. Syncs."""
        with self.edit(durable=True) as edit:
            kept = edit.connection.execute(
                "INSERT OR REPLACE INTO seals SELECT number, ?, ?, ?, ?, ? FROM chain"
                " WHERE number = ? AND kind = 'seal'",
                (edit.now_ns, statement, key, signature, uid, number),
            )
            return kept.rowcount > 0

    # ---- numbers of what many rows share

    def directory(self, connection: sqlite3.Connection, root: int, path: str, filesystem: str = "") -> int:
        """A directory's number; inside `edit`."""
        number = self._directories.get((root, path))
        if number is None or filesystem:
            number = self._enter_directory(connection, root, path, filesystem)
        return number

    def _enter_directory(self, connection: sqlite3.Connection, root: int, path: str, filesystem: str) -> int:
        key = (root, encode(path))
        standing = self._filesystem(connection, filesystem) if filesystem else 0
        found = connection.execute("SELECT id, filesystem FROM directories WHERE root = ? AND path = ?", key).fetchone()
        if found is None:
            made = connection.execute(
                "INSERT INTO directories (root, path, filesystem) VALUES (?, ?, ?)", (*key, standing)
            )
            found = (int(made.lastrowid or 0), standing)
        elif standing and found[1] != standing:
            connection.execute("UPDATE directories SET filesystem = ? WHERE id = ?", (standing, found[0]))
        if len(self._directories) >= _REMEMBERED:
            self._directories.clear()
        self._directories[root, path] = found[0]
        return int(found[0])

    def _filesystem(self, connection: sqlite3.Connection, name: str) -> int:
        number = self._filesystems.get(name)
        if number is None:
            connection.execute("INSERT INTO filesystems (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            (number,) = connection.execute("SELECT id FROM filesystems WHERE name = ?", (name,)).fetchone()
            self._filesystems[name] = int(number)
        return int(number)

    def attributes(self, connection: sqlite3.Connection, attributes: Attributes) -> int:
        """The number of these attributes; inside `edit`."""
        number = self._attributes.get(attributes)
        if number is None:
            packed = pack_attributes(attributes)
            connection.execute("INSERT INTO attributes (packed) VALUES (?) ON CONFLICT DO NOTHING", (packed,))
            (number,) = connection.execute("SELECT id FROM attributes WHERE packed = ?", (packed,)).fetchone()
            if len(self._attributes) >= _REMEMBERED:
                self._attributes.clear()
            self._attributes[attributes] = int(number)
        return int(number)

    # ---- a damaged file

    def _salvage(self, damaged_file: str) -> int:
        """Take over what can still be read of the changes, runs and roots of a file that was set aside."""
        try:
            old = sqlite3.connect(f"file:{damaged_file}?mode=ro", uri=True)
        except sqlite3.Error:
            return 0
        kept = 0
        try:
            for table in ("roots", "changes"):
                rows = _readable(old, table)
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    self.connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
                kept += len(rows) if table == "changes" else 0
            self.connection.execute("UPDATE roots SET built_ns = NULL")  # their rows are gone
        finally:
            old.close()
        return kept

    def statistics(self) -> dict[str, Any]:
        """Bytes of the file and its log."""
        found: dict[str, Any] = {}
        for name, path in (("size", self.path), ("log_size", self.path + "-wal")):
            try:
                found[name] = os.stat(path).st_size
            except OSError:
                found[name] = 0
        return found

    def close(self) -> None:
        """Note that all is well, empty the log, close."""
        with self._lock:
            try:
                self.connection.execute("UPDATE meta SET value = '1' WHERE name = 'clean'")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise typed(error, self.path) from error
            finally:
                self.connection.close()


def _same(known: bytes | None, after: bytes | None) -> bool:
    """Whether two packed records are one finding: of the same content and attributes, whenever they were read."""
    if known is None or after is None:
        return known is after
    first, second = unpack_record(known), unpack_record(after)
    if first is None or second is None:
        return False
    return first._replace(verified=0, flags=0) == second._replace(verified=0, flags=0)


def _readable(connection: sqlite3.Connection, table: str) -> list[Any]:
    """The rows of a table up to the first damage."""
    rows: list[Any] = []
    with contextlib.suppress(sqlite3.Error):
        rows.extend(connection.execute(f"SELECT * FROM {table}"))
    return rows
