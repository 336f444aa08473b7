"""One transaction of the index: what may be done inside `Index.edit`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.state.index.rows import (
    NO_ATTRIBUTES,
    WAITING,
    Attributes,
    Record,
    State,
    Verdict,
    encode,
    flags_of,
    pack_record,
    split,
    stamp,
    unpack_record,
)

if TYPE_CHECKING:
    from filewatchd.state.index.writing import Index

_RUNS_KEPT = 1000
_ACCEPTED_KEPT = 100_000  # changes that need nobody
_TRIM_EVERY = 1000  # changes
_ROWS = 100  # in one statement: for each, sqlite3 gives up the GIL, and has to get it back from whoever reads files
_CONFLICT = (
    " ON CONFLICT DO UPDATE SET ino = excluded.ino,"
    " size = excluded.size, mtime = excluded.mtime, later = excluded.later, verified = excluded.verified,"
    " flags = excluded.flags, digest = excluded.digest, attributes = excluded.attributes"
)


#: A row of `files` but for its directory: name, ino, size, mtime, later, verified, flags, digest, attributes.
Row = tuple[bytes, int, int, int, int, int, int, bytes | None, int | None]


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
        rows = [
            (
                encode(name),
                *stamp(*record.identity),
                record.verified,
                flags_of(record.algorithm, record.flags),
                record.digest,
                self.attributes(record.attributes),
            )
            for name, record in records
        ]
        self.put_rows(root, directory, rows, filesystem)

    def put_rows(self, root: int, directory: str, rows: Sequence[Row], filesystem: str = "") -> None:
        """The same, of records that are rows already."""
        number = self._index.directory(self.connection, root, directory, filesystem)
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            self.connection.execute(_put(len(some)), [*chain.from_iterable((number, *row) for row in some)])

    def attributes(self, attributes: Attributes) -> int | None:
        """The number of these attributes."""
        return None if attributes == NO_ATTRIBUTES else self._index.attributes(self.connection, attributes)

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

    def drop_directory(self, root: int, directory: str) -> None:
        """Forget a directory, unless it has rows."""
        self.connection.execute(
            "DELETE FROM directories WHERE root = ? AND path = ? AND id NOT IN (SELECT dir FROM files WHERE dir = id)",
            (root, encode(directory)),
        )
        self._index.forget_directory(root, directory)

    def forgot_root(self, root: int) -> None:
        """A root is gone, and its number may come again."""
        self._index.forget_root(root)

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
        number = int(found.lastrowid or 0)
        if number % _TRIM_EVERY == 0:
            self.trim()
        return number, True

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
        """Forget the oldest of too many accepted changes, and of too many runs."""
        self.connection.execute(
            "DELETE FROM runs WHERE state <> 'running' AND id <= (SELECT max(id) FROM runs) - ?", (_RUNS_KEPT,)
        )
        self.connection.execute(
            "DELETE FROM changes WHERE state IN ('accepted', 'cleared') AND id <= (SELECT max(id) FROM changes) - ?",
            (_ACCEPTED_KEPT,),
        )


def _same(known: bytes | None, after: bytes | None) -> bool:
    """Whether two packed records are one finding: of the same content and attributes, whenever they were read."""
    if known is None or after is None:
        return known is after
    first, second = unpack_record(known), unpack_record(after)
    if first is None or second is None:
        return False
    return first._replace(verified=0) == second._replace(verified=0)
