"""The manifest: which identity of each path a rule handled last. Rows belong to a baseline.

A baseline is one rule's view of one root under one selection (a digest of its patterns). It is begun, with its start
time, before its first row and counts only once it is closed; the rows a first scan adopts never replace what a job
has put meanwhile. A root whose file is itself the root has one row with an empty path.

Everything here runs on the loop's thread, in batches of at most about a thousand paths (2 to 4 us each); inside
`Database.transaction` the calls join it. Scans read through `filewatchd.state.comparison`, on their own connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from filewatchd.state import rows as coding
from filewatchd.state.comparison import Differences, ManifestReader, TreeComparison
from filewatchd.state.database import Database
from filewatchd.state.places import Places
from filewatchd.state.rows import LINKS, RACY, Entry, Row, decode, encode

# The manifest as the rest of the daemon knows it, whichever thread and module does the work.
__all__ = ["LINKS", "RACY", "Baseline", "Differences", "Manifest", "ManifestReader", "Row", "TreeComparison"]

_BASELINE = "SELECT id, rule, root, selection, started_ns, closed_ns IS NOT NULL, parameters FROM baselines"
_ADOPT = "NOTHING"
_PUT = (
    "UPDATE SET ino = excluded.ino, size = excluded.size, mtime_ns = excluded.mtime_ns,"
    " ctime_ns = excluded.ctime_ns, flags = excluded.flags"
)
_ROWS = 100  # rows in one statement: for each, sqlite3 gives up the GIL and has to get it back from a busy scan
_COLUMNS = "path, ino, size, mtime_ns, ctime_ns, flags"
_ONE = f"SELECT {_COLUMNS} FROM manifest WHERE baseline = ? AND path = ?"
_CHUNK = 256  # paths asked for at once; one statement's text stays in SQLite's cache
_SOME = f"SELECT {_COLUMNS} FROM manifest WHERE baseline = ? AND path IN ({', '.join('?' * _CHUNK)})"
_SLICE_END = "SELECT path FROM manifest WHERE baseline = ? ORDER BY path LIMIT 1 OFFSET ?"
_LINKS = (  # SQLite would read the whole baseline: it knows too little of a partial index
    "SELECT path FROM manifest INDEXED BY manifest_links WHERE baseline = ? AND ino = ? AND flags & 2 ORDER BY path"
)


@lru_cache
def _insert(rows: int, conflict: str) -> str:
    """The statement that writes so many rows."""
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO manifest VALUES {values} ON CONFLICT DO {conflict}"


class Baseline(NamedTuple):
    """One rule's manifest of one root. ``parameters`` is the caller's own text."""

    id: int
    rule: str
    root: str
    selection: str
    started_ns: int
    closed: bool
    parameters: str


class Manifest:
    """The manifests of all rules. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.places = Places(database)

    # ---- baselines

    def bind(self, rule: str, root: str, selection: str) -> Baseline | None:
        """The baseline of a rule and root, best the one of this selection; compare ``selection``, then `reselect`."""
        order = "ORDER BY selection = ? DESC, closed_ns IS NULL, id DESC LIMIT 1"
        return next(
            self._baselines(f"WHERE rule = ? AND root = ? AND dropped = 0 {order}", rule, encode(root), selection), None
        )

    def begin(self, rule: str, root: str, selection: str, started_ns: int, *, parameters: str = "") -> Baseline:
        """A new baseline, committed; or the one that was begun before, with the start time it had.

        Syncs, as does `close`: if a power loss took the baseline, the next start would begin another, for which the
        changes since this one are what was always there.
        """
        with self._database.durable() as connection:
            connection.execute(
                "INSERT INTO baselines (rule, root, selection, started_ns, parameters)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (rule, encode(root), selection, started_ns, parameters),
            )
        where = "WHERE rule = ? AND root = ? AND selection = ? AND dropped = 0"
        return next(self._baselines(where, rule, encode(root), selection))

    def close(self, baseline: int, closed_ns: int) -> None:
        """The first scan is complete: from now on the rows count. Syncs."""
        with self._database.durable() as connection:
            connection.execute("UPDATE baselines SET closed_ns = ? WHERE id = ?", (closed_ns, baseline))

    def reselect(self, baseline: int, selection: str, parameters: str = "") -> None:
        """Keep the rows under a new selection. Another baseline of that scope becomes one of `dropped`."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE baselines SET dropped = 1 WHERE id <> ?1 AND selection = ?2 AND dropped = 0"
                " AND (rule, root) = (SELECT rule, root FROM baselines WHERE id = ?1)",
                (baseline, selection),
            )
            values = (selection, parameters, baseline)
            connection.execute("UPDATE baselines SET selection = ?, parameters = ? WHERE id = ?", values)

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's baselines to its new name; one that the new name has already stays with the old."""
        self._database.execute("UPDATE OR IGNORE baselines SET rule = ? WHERE rule = ? AND dropped = 0", (new, old))

    def stale(self, rules: Iterable[str]) -> list[Baseline]:
        """Baselines of rules that are not among these."""
        known = frozenset(rules)
        return [found for found in self._baselines("WHERE dropped = 0 ORDER BY id") if found.rule not in known]

    def dropped(self) -> list[int]:
        """Baselines whose `forget` was cut off or has yet to begin."""
        return [number for (number,) in self._database.execute("SELECT id FROM baselines WHERE dropped = 1")]

    def forget(self, baseline: int, slice_size: int = 1000) -> Generator[int, None, None]:
        """Remove a baseline with its rows, one slice a step; yields the rows removed. It binds no more at once."""
        self._database.execute("UPDATE baselines SET dropped = 1 WHERE id = ?", (baseline,))
        while end := self._database.execute(_SLICE_END, (baseline, slice_size - 1)):
            self._database.execute("DELETE FROM manifest WHERE baseline = ? AND path <= ?", (baseline, end[0][0]))
            yield slice_size
        with self._database.transaction() as connection:
            rest = connection.execute("DELETE FROM manifest WHERE baseline = ?", (baseline,)).rowcount
            connection.execute("DELETE FROM places WHERE baseline = ?", (baseline,))
            connection.execute("DELETE FROM baselines WHERE id = ?", (baseline,))
        yield rest

    def _baselines(self, where: str, *parameters: object) -> Iterator[Baseline]:
        for number, rule, root, selection, started, closed, text in self._database.execute(
            f"{_BASELINE} {where}", parameters
        ):
            yield Baseline(number, rule, decode(root), selection, started, bool(closed), text)

    # ---- rows

    def rows(self, baseline: int, paths: Sequence[str]) -> dict[str, Row]:
        """The rows of those paths that have one."""
        if len(paths) < 3:
            found = [columns for path in paths for columns in self._database.execute(_ONE, (baseline, encode(path)))]
        else:
            found = self._some(baseline, [encode(path) for path in paths])
        return {decode(columns[0]): coding.row(*columns[1:]) for columns in found}

    def _some(self, baseline: int, paths: list[bytes]) -> list[tuple[bytes, int, int, int, int, int]]:
        found: list[tuple[bytes, int, int, int, int, int]] = []
        for start in range(0, len(paths), _CHUNK):
            chunk: list[bytes | None] = [*paths[start : start + _CHUNK]]
            chunk += [None] * (_CHUNK - len(chunk))
            found += self._database.execute(_SOME, (baseline, *chunk))
        return found

    def put(self, baseline: int, entries: Sequence[Entry]) -> None:
        """Record (relative path, identity, flags) as handled."""
        self._write(_PUT, baseline, entries)

    def adopt(self, baseline: int, entries: Sequence[Entry]) -> None:
        """Record what a first scan found; a row that is there already stays: a job knew better."""
        self._write(_ADOPT, baseline, entries)

    def _write(self, conflict: str, baseline: int, entries: Sequence[Entry]) -> None:
        with self._database.transaction() as connection:
            for start in range(0, len(entries), _ROWS):
                chunk = entries[start : start + _ROWS]
                statement = _insert(len(chunk), conflict)
                try:
                    connection.execute(statement, [*chain.from_iterable(coding.narrow(baseline, chunk))])
                except OverflowError:
                    connection.execute(statement, [*chain.from_iterable(coding.wide(baseline, chunk))])

    def drop(self, baseline: int, paths: Iterable[str]) -> None:
        """Forget paths that are gone and whose deletion was handled."""
        statement = "DELETE FROM manifest WHERE baseline = ? AND path = ?"
        self._database.execute_many(statement, ((baseline, encode(path)) for path in paths))

    def below(self, baseline: int, directory: str) -> list[str]:
        """All paths beneath a directory ("" for the root)."""
        start = encode(directory) + b"/" if directory else b""
        where, end = ("AND path < ?", (start[:-1] + b"0",)) if directory else ("", ())
        statement = f"SELECT path FROM manifest WHERE baseline = ? AND path > ? {where} ORDER BY path"
        return [decode(path) for (path,) in self._database.execute(statement, (baseline, start, *end))]

    def children(self, baseline: int, directory: str) -> list[str]:
        """The paths directly in a directory ("" for the root)."""
        found = coding.children(self._database.connection, baseline, directory, [])
        try:
            return [decode(columns[0]) for columns in found]
        except sqlite3.Error as error:
            raise self._database.failure(error) from error

    def links(self, baseline: int, ino: int) -> list[str]:
        """All paths known to share an inode, among those that had more than one link."""
        return [decode(path) for (path,) in self._database.execute(_LINKS, (baseline, coding.signed(ino)))]

    def has_rows(self, baseline: int) -> bool:
        """Whether anything is in the baseline's manifest."""
        return bool(self._database.execute("SELECT 1 FROM manifest WHERE baseline = ? LIMIT 1", (baseline,)))

    def count(self, baseline: int) -> int:
        """The number of rows. Reads them all: 15 ms for 350,000."""
        return int(self._database.execute("SELECT count(*) FROM manifest WHERE baseline = ?", (baseline,))[0][0])
