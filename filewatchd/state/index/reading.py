"""Reading the index, with or without a daemon. See `filewatchd.state.index` for the nouns.

In WAL mode a reader sees the database as it was when its read began and holds up no writer. What may read long gives
its rows away in slices, each a read of its own, so that checkpoints get their turn.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote_from_bytes

from filewatchd.errors import StateError
from filewatchd.state.index import schema
from filewatchd.state.index.rows import (
    NO_ATTRIBUTES,
    WAITS,
    Attributes,
    Change,
    Record,
    Root,
    Run,
    State,
    Verdict,
    decode,
    encode,
    joined,
    record_of,
    split,
    unpack_attributes,
    unpack_record,
)
from filewatchd.state.rows import signed
from filewatchd.state.sqlite_errors import typed

_SLICE = 5_000
_ROW = "ino, size, mtime, later, verified, flags, digest, attributes"
_CHANGE = (
    "id, root, path, old_path, verdict, state, found_ns, last_ns, count, message, before, after, label, decided_ns,"
    " uid, comment"
)
_RUN = "id, rule, kind, mode, scope, state, began_ns, ended_ns, root, cursor, files, bytes, total, findings, uid"


class Found(NamedTuple):
    """A path and its row."""

    root: Root
    path: str
    record: Record


class Summary(NamedTuple):
    """A root in figures. ``oldest``: since when every file is verified, seconds since the epoch; None without any."""

    files: int
    directories: int
    bytes: int
    unverified: int
    oldest: int | None
    waiting: dict[str, int]  # state -> changes
    algorithms: dict[str, int]  # algorithm -> files


class Reader:
    """A read-only connection, for one thread at a time. Every method may raise `StateError`.

    Raises:
        StateError: there is no index, it can't be read, or its schema isn't this program's.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._attributes: dict[int, Attributes] = {}
        if not os.path.exists(path):
            raise StateError(f"{path}: there is no index yet; a rule with the action checksum makes one", path=path)
        with _Typed(path):
            address = f"file:{quote_from_bytes(os.fsencode(path))}?mode=ro"
            self.connection = sqlite3.connect(
                address, uri=True, timeout=2.0, isolation_level=None, check_same_thread=False
            )
            for setting in ("query_only = ON", "cache_size = -2048", "mmap_size = 0", "trusted_schema = OFF"):
                self.connection.execute(f"PRAGMA {setting}")
        self._check()

    def _check(self) -> None:
        try:
            (found,), (version,) = self._ask("PRAGMA application_id")[0], self._ask("PRAGMA user_version")[0]
            if found != schema.APPLICATION_ID:
                raise StateError(f"{self.path} is no index of filewatchd's", path=self.path)
            if version != len(schema.MIGRATIONS):
                what = f"{self.path} has schema version {version}, this program knows version {len(schema.MIGRATIONS)}"
                raise StateError(f"{what}; use the filewatchctl of the daemon that writes it", path=self.path)
        except StateError:
            self.connection.close()
            raise

    def _ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with _Typed(self.path):
            return self.connection.execute(statement, parameters).fetchall()

    # ---- roots

    def roots(self, rule: str | None = None) -> list[Root]:
        """All roots, or a rule's."""
        return [
            Root(number, name, decode(root), selection, built)
            for number, name, root, selection, built in self._ask(
                "SELECT id, rule, root, selection, built_ns FROM roots WHERE ?1 IS NULL OR rule = ?1 ORDER BY id",
                (rule,),
            )
        ]

    def located(self, path: str, rule: str | None = None) -> list[tuple[Root, str]]:
        """The roots that an absolute path is in, and the path relative to each."""
        found = []
        for root in self.roots(rule):
            if path == root.root:
                found.append((root, ""))
            elif path.startswith(root.root.rstrip("/") + "/"):
                found.append((root, path[len(root.root.rstrip("/")) + 1 :]))
        return found

    def summary(self, root: int) -> Summary:
        """A root in figures. Reads all its rows: a second for some millions."""
        of_root = "dir IN (SELECT id FROM directories WHERE root = ?)"
        files, size, unverified, oldest = self._ask(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(verified = 0), 0), min(nullif(verified, 0))"
            f" FROM files WHERE {of_root}",
            (root,),
        )[0]
        algorithms = self._ask(f"SELECT flags / 4, count(*) FROM files WHERE {of_root} GROUP BY 1", (root,))
        waiting = self.waiting_by_state(root)
        (directories,) = self._ask("SELECT count(*) FROM directories WHERE root = ?", (root,))[0]
        names = {record_of((0, 0, 0, 0, 0, number * 4, None), NO_ATTRIBUTES).algorithm: n for number, n in algorithms}
        return Summary(files, directories, size, unverified, oldest, waiting, names)

    # ---- rows

    def row(self, root: int, path: str) -> Record | None:
        """A path's row."""
        directory, name = split(path)
        for columns in self._ask(
            f"SELECT {_ROW} FROM files WHERE name = ?"
            " AND dir = (SELECT id FROM directories WHERE root = ? AND path = ?)",
            (encode(name), root, encode(directory)),
        ):
            return self._record(columns)
        return None

    def rows(self, root: int, below: str = "") -> Iterator[tuple[str, Record]]:
        """All rows of a root, or those beneath a directory: by directories, and in each by names (bytes)."""
        for number, directory in self.directories(root, below):
            after = b""
            first = True
            while True:
                found = self._ask(
                    f"SELECT name, {_ROW} FROM files WHERE dir = ? AND name {'>=' if first else '>'} ?"
                    " ORDER BY name LIMIT ?",
                    (number, after, _SLICE),
                )
                for name, *columns in found:
                    yield joined(directory, decode(name)), self._record(columns)
                if len(found) < _SLICE:
                    break
                after, first = found[-1][0], False

    def directory_after(self, root: int, directory: str) -> str | None:
        """The next directory in the order of paths."""
        found = self._ask(
            "SELECT path FROM directories WHERE root = ? AND path > ? ORDER BY path LIMIT 1", (root, encode(directory))
        )
        return decode(found[0][0]) if found else None

    def names(
        self, root: int, directory: str, after: str, last: str | None = None, limit: int = -1
    ) -> dict[str, Record]:
        """The rows directly in a directory, by name: behind ``after`` ("": all), up to ``last`` (None: all)."""
        found = self._ask(
            f"SELECT name, {_ROW} FROM files WHERE dir = (SELECT id FROM directories WHERE root = ? AND path = ?)"
            " AND name >= ? AND (?4 IS NULL OR name <= ?4) ORDER BY name LIMIT ?5",
            (root, encode(directory), encode(after), None if last is None else encode(last), limit + (limit > 0)),
        )
        return {name: self._record(columns) for raw, *columns in found if (name := decode(raw)) != after or not after}

    def count(self, root: int, below: str = "") -> int:
        """How many files of a root are known, or of a directory and those beneath it. Reads the keys of all."""
        path = encode(below)
        found = self._ask(
            "SELECT count(*) FROM directories JOIN files ON dir = id"
            " WHERE root = ?1 AND (?2 = x'' OR path = ?2 OR (path > ?3 AND path < ?4))",
            (root, path, path + b"/", path + b"0"),
        )
        return int(found[0][0])

    def racy(self, root: int, limit: int) -> list[str]:
        """Paths whose rows are racy."""
        found = self._ask(
            "SELECT path, name FROM files INDEXED BY files_racy JOIN directories ON id = dir"
            " WHERE flags & 1 AND root = ? LIMIT ?",
            (root, limit),
        )
        return [joined(decode(directory), decode(name)) for directory, name in found]

    def by_inode(self, root: int, inodes: Set[int]) -> dict[int, tuple[str, Record]]:
        """Files by inode number. Reads all rows."""
        wanted = {signed(inode): inode for inode in inodes}
        found = {}
        with _Typed(self.path):
            for directory, name, *columns in self.connection.execute(
                f"SELECT path, name, {_ROW} FROM files JOIN directories ON id = dir WHERE root = ?", (root,)
            ):
                if columns[0] in wanted:
                    path = joined(decode(directory), decode(name))
                    found[wanted[columns[0]]] = (path, self._record(columns))
        return found

    def directories(self, root: int, below: str = "") -> Iterator[tuple[int, str]]:
        """(number, path) of a root's directories in order of their paths, or of one and those beneath it."""
        if below:
            start = encode(below)
            yield from ((n, decode(p)) for n, p in self._ask(_DIRECTORY, (root, start)))
            after, end = start + b"/", start + b"0"
        else:
            yield from ((n, decode(p)) for n, p in self._ask(_DIRECTORY, (root, b"")))
            after, end = b"", None
        while found := self._ask(_DIRECTORIES, (root, after, end, _SLICE)):
            yield from ((number, decode(path)) for number, path in found)
            after = found[-1][1]

    def find(self, digest: bytes) -> list[Found]:
        """Every file with this digest. Reads all rows."""
        return list(self._found("WHERE digest = ?", (digest,)))

    def find_beginning(self, digits: str) -> list[Found]:
        """Every file whose digest begins with these hexadecimal digits. Reads all rows."""
        return list(self._found("WHERE substr(hex(digest), 1, ?) = ?", (len(digits), digits.upper())))

    def duplicates(self, root: int | None = None, least: int = 1) -> Iterator[list[Found]]:
        """Files of at least so many bytes that have the same digest, in groups; the largest files first.

        Reads all rows twice, and sorts those that have a double.
        """
        several = (
            "SELECT flags / 4, digest FROM files JOIN directories ON id = dir"
            " WHERE digest IS NOT NULL AND size >= ?1 AND (?2 IS NULL OR root = ?2)"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        )
        found = self._found(
            f"WHERE (flags / 4, digest) IN ({several}) AND (?2 IS NULL OR root = ?2)",
            (least, root),
            order="size DESC, flags / 4, digest, root, path, name",
        )
        for _, group in groupby(found, lambda each: (each.record.algorithm, each.record.digest)):
            yield list(group)

    def _found(self, where: str, parameters: Sequence[Any], order: str = "root, path, name") -> Iterator[Found]:
        roots = {root.id: root for root in self.roots()}
        statement = f"SELECT root, path, name, {_ROW} FROM files JOIN directories ON id = dir {where} ORDER BY {order}"
        with _Typed(self.path):
            for root, directory, name, *columns in self.connection.execute(statement, parameters):
                if root in roots:
                    yield Found(roots[root], joined(decode(directory), decode(name)), self._record(columns))

    def _record(self, columns: Sequence[Any]) -> Record:
        return record_of(columns[:7], self._attributes_of(columns[7]))

    def _attributes_of(self, number: int | None) -> Attributes:
        if number is None:
            return NO_ATTRIBUTES
        known = self._attributes.get(number)
        if known is None:
            found = self._ask("SELECT packed FROM attributes WHERE id = ?", (number,))
            known = unpack_attributes(found[0][0]) if found else NO_ATTRIBUTES
            if len(self._attributes) >= 4096:
                self._attributes.clear()
            self._attributes[number] = known
        return known

    def versions(self, root: int, path: str) -> list[tuple[int, Record]]:
        """What a path held before its row, newest first, and until when (ns)."""
        found = self._ask(
            "SELECT until_ns, record FROM versions WHERE root = ? AND path = ? ORDER BY until_ns DESC",
            (root, encode(path)),
        )
        return [(until, record) for until, packed in found if (record := unpack_record(packed)) is not None]

    # ---- changes and runs

    def changes(
        self,
        *,
        root: int | None = None,
        rule: str | None = None,
        states: Sequence[str] = WAITS,
        verdicts: Sequence[str] = (),
        packages: bool = False,
        since_ns: int = 0,
        after: int = 0,
        limit: int = -1,
    ) -> list[Change]:
        """Changes in these states and of these verdicts (none: any), found or renewed since then.

        ``packages``: only those that agree with one. ``after``: only those with higher numbers.
        """
        in_states = f"AND state IN ({', '.join('?' * len(states))})" if states else ""
        in_states += f" AND verdict IN ({', '.join('?' * len(verdicts))})" if verdicts else ""
        in_states += " AND (label GLOB 'dpkg *' OR label GLOB 'rpm *')" if packages else ""
        return [
            _change(columns)
            for columns in self._ask(
                f"SELECT {_CHANGE} FROM changes WHERE id > ? AND last_ns >= ? {in_states}"
                " AND (? IS NULL OR root = ?) AND (? IS NULL OR root IN (SELECT id FROM roots WHERE rule = ?))"
                " ORDER BY id LIMIT ?",
                (after, since_ns, *states, *verdicts, root, root, rule, rule, limit),
            )
        ]

    def rowless(self, root: int, after: str, limit: int) -> list[str]:
        """Paths that wait as new or as moved there, in their order, behind one."""
        found = self._ask(
            "SELECT DISTINCT path FROM changes WHERE root = ? AND path > ? AND state IN ('open', 'pending', 'rejected')"
            " AND verdict IN ('new', 'moved') ORDER BY path LIMIT ?",
            (root, encode(after), limit),
        )
        return [decode(path) for (path,) in found]

    def waits(self, root: int) -> list[tuple[str, int, str]]:
        """(verdict, how many, one's path) of what waits of a root; not what was rejected, nor packages' changes."""
        found = self._ask(
            "SELECT verdict, count(*), min(path) FROM changes WHERE root = ?"
            " AND state IN ('open', 'pending', 'rejected') AND state <> 'rejected'"
            " AND NOT (state = 'pending' AND (label GLOB 'dpkg *' OR label GLOB 'rpm *') IS TRUE) GROUP BY verdict",
            (root,),
        )
        return [(verdict, number, decode(path)) for verdict, number, path in found]

    def waiting_by_state(self, root: int) -> dict[str, int]:
        """How many changes of a root wait: state -> changes."""
        return dict(
            self._ask(
                "SELECT state, count(*) FROM changes WHERE root = ?"
                " AND state IN ('open', 'pending', 'rejected') GROUP BY 1",
                (root,),
            )
        )

    def waiting(self, root: int, path: str) -> list[Change]:
        """The open, pending and rejected changes of one path."""
        found = self._ask(
            f"SELECT {_CHANGE} FROM changes WHERE root = ? AND path = ? AND state IN ('open', 'pending', 'rejected')",
            (root, encode(path)),
        )
        return [_change(columns) for columns in found]

    def history(self, root: int, path: str, limit: int = 100) -> list[Change]:
        """All that is kept of one path, newest first. Reads all changes."""
        found = self._ask(
            f"SELECT {_CHANGE} FROM changes WHERE root = ?1 AND (path = ?2 OR old_path = ?2) ORDER BY id DESC LIMIT ?3",
            (root, encode(path), limit),
        )
        return [_change(columns) for columns in found]

    def runs(self, rule: str | None = None, kind: str | None = None, limit: int = 20) -> list[Run]:
        """Builds, verifies and scrubs, newest first."""
        found = self._ask(
            f"SELECT {_RUN} FROM runs WHERE (?1 IS NULL OR rule = ?1) AND (?2 IS NULL OR kind = ?2)"
            " ORDER BY id DESC LIMIT ?3",
            (rule, kind, limit),
        )
        return [run_of(columns) for columns in found]

    def packages(self) -> dict[str, str]:
        """Versions of packages as they were last accepted, by ``dpkg NAME`` or ``rpm NAME``."""
        return dict(self._ask("SELECT name, version FROM packages"))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_DIRECTORY = "SELECT id, path FROM directories WHERE root = ? AND path = ?"
_DIRECTORIES = (
    "SELECT id, path FROM directories WHERE root = ?1 AND path > ?2 AND (?3 IS NULL OR path < ?3)"
    " ORDER BY path LIMIT ?4"
)


def _change(columns: Sequence[Any]) -> Change:
    number, root, path, old, verdict, state, *rest = columns
    found_ns, last_ns, count, message, before, after, *decided = rest
    return Change(
        number,
        root,
        decode(path),
        None if old is None else decode(old),
        Verdict(verdict),
        State(state),
        found_ns,
        last_ns,
        count,
        message,
        unpack_record(before),
        unpack_record(after),
        *decided,
    )


def run_of(columns: Sequence[Any]) -> Run:
    """The run of these columns."""
    number, rule, kind, mode, scope, state, began, ended, root, *rest = columns
    return Run(number, rule, kind, mode, decode(scope), state, began, ended, decode(root), *rest)


class _Typed:
    """Turns SQLite's errors into ours."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise typed(error, self._path) from error
