"""The rows of files: one path's, a directory's, a whole root's, and those that share an inode or a digest.

A walk over many rows takes them in slices, in the order of directories and then of names (bytes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

from filewatchd.state.index.connecting import Connection, Typed
from filewatchd.state.index.rows import (
    NO_ATTRIBUTES,
    Attributes,
    Record,
    decode,
    encode,
    joined,
    record_of,
    split,
    unpack_attributes,
)
from filewatchd.state.rows import signed

_SLICE = 5_000
ROW = "ino, size, mtime, later, verified, flags, digest, attributes"
_DIRECTORY = "SELECT id, path FROM directories WHERE root = ? AND path = ?"
_DIRECTORIES = (
    "SELECT id, path FROM directories WHERE root = ?1 AND path > ?2 AND (?3 IS NULL OR path < ?3)"
    " ORDER BY path LIMIT ?4"
)


class Files(Connection):
    """The part of a reader that knows files."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._attributes: dict[int, Attributes] = {}

    def row(self, root: int, path: str) -> Record | None:
        """A path's row."""
        directory, name = split(path)
        for columns in self._ask(
            f"SELECT {ROW} FROM files WHERE name = ?"
            " AND dir = (SELECT id FROM directories WHERE root = ? AND path = ?)",
            (encode(name), root, encode(directory)),
        ):
            return self.record(columns)
        return None

    def rows(self, root: int, below: str = "") -> Iterator[tuple[str, Record]]:
        """All rows of a root, or those beneath a directory: by directories, and in each by names (bytes)."""
        for number, directory in self.directories(root, below):
            after = b""
            first = True
            while True:
                found = self._ask(
                    f"SELECT name, {ROW} FROM files WHERE dir = ? AND name {'>=' if first else '>'} ?"
                    " ORDER BY name LIMIT ?",
                    (number, after, _SLICE),
                )
                for name, *columns in found:
                    yield joined(directory, decode(name)), self.record(columns)
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
        self, root: int, directory: str, after: str, last: str | None = None, limit: int = -1, most: int = 256
    ) -> dict[str, Record]:
        """The rows directly in a directory, by name: behind ``after`` ("": all), up to ``last`` (None: all).

        ``most``: only those whose flags are below; all are.
        """
        found = self._ask(
            f"SELECT name, {ROW} FROM files WHERE dir = (SELECT id FROM directories WHERE root = ? AND path = ?)"
            " AND name >= ? AND (?4 IS NULL OR name <= ?4) AND flags < ?6 ORDER BY name LIMIT ?5",
            (root, encode(directory), encode(after), None if last is None else encode(last), limit + (limit > 0), most),
        )
        return {name: self.record(columns) for raw, *columns in found if (name := decode(raw)) != after or not after}

    def count(self, root: int, below: str = "", *, files: bool = False) -> int:
        """How many rows a root has, or a directory and those beneath it; those of ``files`` alone. Reads them all."""
        path, kinds = encode(below), " AND flags < 64" if files else ""
        found = self._ask(
            "SELECT count(*) FROM directories JOIN files ON dir = id"
            f" WHERE root = ?1 AND (?2 = x'' OR path = ?2 OR (path > ?3 AND path < ?4)){kinds}",
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
        with Typed(self.path):
            for directory, name, *columns in self.connection.execute(
                f"SELECT path, name, {ROW} FROM files JOIN directories ON id = dir WHERE root = ?", (root,)
            ):
                if columns[0] in wanted:
                    path = joined(decode(directory), decode(name))
                    found[wanted[columns[0]]] = (path, self.record(columns))
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

    def record(self, columns: Sequence[Any]) -> Record:
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
