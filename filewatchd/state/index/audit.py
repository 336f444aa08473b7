"""Auditing the index: whether its rows are what the chain tells, and the chain what was sealed. Reads only.

A seal has a digest of all rows of each root as they were after entry n. Today's rows, with every row that the chain
touched after n put back to what the chain says it was before, must come to the same digest; and what it touched must
be today what it last says. So a row that was changed past the chain shows, whether before or after the seal; a chain
that was made anew to hide it has another head than the sealed one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from filewatchd.state.index.chain import COLUMNS, Entry, Link, content, hashed
from filewatchd.state.index.rows import decode
from filewatchd.state.pack import pack, unpack

_SLICE = 2_000
_PROGRESS = 20_000  # entries and rows between two reports

Progress = Callable[[int, int], None]  # done, total


class RootRows(NamedTuple):
    """A root's rows at a seal."""

    root: int
    rule: str
    path: bytes
    files: int
    digest: bytes


class Snapshot(NamedTuple):
    """What a seal says: the rows of all built roots as they were after entry ``as_of``."""

    as_of: int
    roots: tuple[RootRows, ...]


class Fault(NamedTuple):
    """Something that doesn't fit. ``number``: the entry, where it is one."""

    what: str
    number: int | None = None
    root: int | None = None
    path: str | None = None


class Forgot(NamedTuple):
    """A root that somebody had forgotten: the entry, when, what it was, and who asked."""

    number: int
    time_ns: int
    rule: str
    root: bytes
    uid: int | None


class Audited(NamedTuple):
    """What an audit found. ``first``: the oldest entry that is kept; ``forgotten``: since the seal, if there is one."""

    entries: int
    first: int
    head: Link | None
    rows: int
    faults: list[Fault]
    forgotten: list[Forgot]


class Touched(NamedTuple):
    """What the chain says of a path after some entry: what it was then, and what it is now."""

    before: bytes | None
    after: bytes | None


Overlay = Mapping[bytes, Touched]


def snapshot(connection: sqlite3.Connection) -> Snapshot:
    """All built roots as they are, read in one transaction of this connection (not the writer's)."""
    connection.execute("BEGIN")
    try:
        head = connection.execute("SELECT max(number) FROM chain").fetchone()[0] or 0
        roots = connection.execute(
            "SELECT id, rule, root FROM roots WHERE built_ns NOT NULL ORDER BY id"
        ).fetchall()  # fmt: skip
        found = [RootRows(number, rule, path, *digest_of(connection, number, {})) for number, rule, path in roots]
    finally:
        connection.execute("COMMIT")
    return Snapshot(head, tuple(found))


def packed(taken: Snapshot) -> list[Any]:
    """A snapshot as a seal's entry has it."""
    return [taken.as_of, [list(root) for root in taken.roots]]


def unpacked(note: Any) -> Snapshot:
    """The inverse."""
    as_of, roots = note
    return Snapshot(as_of, tuple(RootRows(*root) for root in roots))


def digest_of(connection: sqlite3.Connection, root: int, overlay: Overlay) -> tuple[int, bytes]:
    """How many rows a root has, and their digest, with the paths in ``overlay`` as they were before."""
    total, count = hashlib.sha256(), 0
    for directory, rows in _directories(connection, root, _by_directory(overlay)):
        batch = [[name, row] for name, row in rows if row is not None]
        if batch:
            total.update(pack([directory, batch]))
            count += len(batch)
    return count, total.digest()


def _by_directory(overlay: Overlay) -> dict[bytes, dict[bytes, bytes | None]]:
    found: dict[bytes, dict[bytes, bytes | None]] = {}
    for path, touched in overlay.items():
        directory, _, name = path.rpartition(b"/")
        found.setdefault(directory, {})[name] = touched.before
    return found


def _directories(
    connection: sqlite3.Connection, root: int, overlay: Mapping[bytes, Mapping[bytes, bytes | None]]
) -> Iterator[tuple[bytes, Iterable[tuple[bytes, bytes | None]]]]:
    """Directories in the order of their paths, each with its rows in the order of their names."""
    known = {path: number for number, path in connection.execute(
        "SELECT id, path FROM directories WHERE root = ?", (root,)
    )}  # fmt: skip
    attributes = Packed(connection)
    for directory in sorted({*known, *overlay}):
        rows = dict(_rows(connection, known.get(directory), attributes))
        changed = overlay.get(directory)
        yield directory, sorted((rows | dict(changed)).items()) if changed else rows.items()


def _rows(
    connection: sqlite3.Connection, directory: int | None, attributes: Packed
) -> Iterator[tuple[bytes, bytes | None]]:
    for name, size, flags, digest, number in connection.execute(
        "SELECT name, size, flags / 4, digest, attributes FROM files WHERE dir = ? ORDER BY name", (directory,)
    ):
        yield name, content(flags, digest, size, attributes[number])


class Packed(dict[int | None, bytes | None]):
    """Attributes by their numbers, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self[None] = None

    def __missing__(self, number: int | None) -> bytes | None:
        found = self._connection.execute("SELECT packed FROM attributes WHERE id = ?", (number,)).fetchone()
        self[number] = found[0] if found else None
        return self[number]


# ---- the audit


def audit(
    connection: sqlite3.Connection, seal: int | None = None, progress: Progress = lambda done, total: None
) -> Audited:
    """Recompute the chain, and compare it with the rows and decisions.

    ``seal``: the number of a seal whose signature the caller trusts. Without one the rows that the chain never touched
    can't be proven: whoever can write to the file could have appended an entry like a seal.
    """
    connection.execute("BEGIN")
    try:
        return _Audit(connection, seal, progress).run()
    finally:
        connection.execute("COMMIT")


class _Audit:
    def __init__(self, connection: sqlite3.Connection, seal: int | None, progress: Progress) -> None:
        self._connection = connection
        self._seal = seal
        self._progress = progress
        self._faults: list[Fault] = []
        self._touched: dict[int, dict[bytes, Touched]] = {}  # by root, after the seal's snapshot
        self._rebuilt: set[int] = set()  # roots built anew after it
        self._forgotten: dict[int, Forgot] = {}  # roots that went after it

    def run(self) -> Audited:
        found = self._connection.execute(
            "SELECT number, note FROM chain WHERE kind = 'seal' AND number = ?", (self._seal,)
        ).fetchone()
        taken = self._taken(*found) if found else None
        entries, first, head = self._chain(taken.as_of if taken else -1)
        if self._seal is not None and (taken is None or first > max(taken.as_of, 1) + 1):
            self._faults.append(Fault("entries since the seal are no longer kept: seal more often", first))
            taken = None
        rows = self._compare(taken) if taken else self._compare_touched()
        self._decisions()
        return Audited(entries, first, head, rows, self._faults, list(self._forgotten.values()))

    def _taken(self, number: int, note: bytes) -> Snapshot | None:
        try:
            return unpacked(unpack(note))
        except (ValueError, TypeError):
            self._faults.append(Fault("the seal's entry is damaged", number))
            return None

    def _chain(self, as_of: int) -> tuple[int, int, Link | None]:
        count, first, before = 0, 0, Link(0, b"")
        total = self._connection.execute("SELECT count(*) FROM chain").fetchone()[0]
        for columns in self._connection.execute(f"SELECT {COLUMNS} FROM chain ORDER BY number"):
            entry = Entry(*columns)
            if not count:
                first = entry.number
            elif entry.number != before.number + 1:
                self._faults.append(
                    Fault(f"entries {before.number + 1} to {entry.number - 1} are missing", entry.number)
                )
            if (count or entry.number == 1) and hashed(before.hash, entry) != entry.hash:
                self._faults.append(Fault("the entry isn't what its hash was made of", entry.number))
            before = Link(entry.number, entry.hash)
            count += 1
            if entry.number > as_of:
                self._touch(entry)
            if count % _PROGRESS == 0:
                self._progress(count, total)
        return count, first, before if count else None

    def _touch(self, entry: Entry) -> None:
        root = entry.root or 0
        if entry.kind in ("built", "unbuilt"):
            self._touched.pop(root, None)
            self._rebuilt.add(root)
        elif entry.kind == "forgotten":
            self._forgotten[root] = Forgot(entry.number, entry.time_ns, *entry.noted)
        elif entry.kind == "row" and entry.path is not None:
            paths = self._touched.setdefault(root, {})
            known = paths.get(entry.path)
            if known is not None and known.after != entry.before:
                self._fault("its row was changed past the chain before this entry", entry.number, root, entry.path)
            paths[entry.path] = Touched(known.before if known else entry.before, entry.after)

    def _fault(self, what: str, number: int | None, root: int, path: bytes) -> None:
        self._faults.append(Fault(what, number, root, decode(path)))

    # ---- rows

    def _compare(self, taken: Snapshot) -> int:
        rows = 0
        for sealed in taken.roots:
            if sealed.root in self._forgotten and not self._is_kept(sealed):
                continue  # that is told, and by whom; the number may be another root's by now
            if sealed.root in self._rebuilt:
                self._faults.append(Fault("its index was built anew since the seal", None, sealed.root))
                continue
            overlay = self._touched.get(sealed.root, {})
            files, digest = digest_of(self._connection, sealed.root, overlay)
            rows += files
            if (files, digest) != (sealed.files, sealed.digest):
                was = f"{sealed.files} rows then, {files} now" if files != sealed.files else f"{files} rows"
                self._faults.append(Fault(f"its rows were changed past the chain ({was})", None, sealed.root))
        return rows + self._compare_touched()

    def _is_kept(self, sealed: RootRows) -> bool:
        """Whether a root that the chain calls forgotten is there: anybody could have appended that entry."""
        found = "SELECT 1 FROM roots WHERE id = ? AND rule = ? AND root = ?"
        return self._connection.execute(found, (sealed.root, sealed.rule, sealed.path)).fetchone() is not None

    def _compare_touched(self) -> int:
        """Whether each path that the chain touched is what it last says of it."""
        attributes, rows = Packed(self._connection), 0
        for root, paths in self._touched.items():
            for path, touched in paths.items():
                rows += 1
                if self._row(root, path, attributes) != touched.after:
                    self._fault("its row isn't what the chain says", None, root, path)
        return rows

    def _row(self, root: int, path: bytes, attributes: Packed) -> bytes | None:
        directory, _, name = path.rpartition(b"/")
        found = self._connection.execute(
            "SELECT size, flags / 4, digest, attributes FROM files WHERE name = ?"
            " AND dir = (SELECT id FROM directories WHERE root = ? AND path = ?)",
            (name, root, directory),
        ).fetchone()
        return None if found is None else content(found[1], found[2], found[0], attributes[found[3]])

    # ---- decisions

    def _decisions(self) -> None:
        """Whether the changes' table says of each decision what the chain does."""
        last: dict[int, Entry] = {}
        for columns in self._connection.execute(f"SELECT {COLUMNS} FROM chain WHERE kind = 'decision' ORDER BY number"):
            entry = Entry(*columns)
            last[entry.noted[0]] = entry
        for number, entry in last.items():
            _, verdict, state, uid, comment, label = entry.noted
            found = self._connection.execute(
                "SELECT verdict, state, uid, comment, label FROM changes WHERE id = ?", (number,)
            ).fetchone()
            if (
                found is not None
                and found[1] in ("approved", "rejected")
                and found != (verdict, state, uid, comment, label)
            ):
                self._fault("the decision was rewritten", entry.number, entry.root or 0, entry.path or b"")
        oldest = self._connection.execute("SELECT min(time_ns) FROM chain").fetchone()[0] or 0
        if self._connection.execute("SELECT min(number) FROM chain").fetchone()[0] != 1:
            oldest += 1  # of that moment's decisions some entries have gone
        for number, root, path in self._connection.execute(
            "SELECT id, root, path FROM changes WHERE state IN ('approved', 'rejected') AND decided_ns >= ?", (oldest,)
        ):
            if number not in last:
                self._fault("it was decided past the chain", None, root, path)
