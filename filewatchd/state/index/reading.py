"""Reading the index, with or without a daemon. See `filewatchd.state.index` for the nouns.

In WAL mode a reader sees the database as it was when its read began and holds up no writer. What may read long gives
its rows away in slices, each a read of its own, so that checkpoints get their turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from filewatchd.state.index.connecting import Typed
from filewatchd.state.index.files import ROW, Files
from filewatchd.state.index.history import History
from filewatchd.state.index.rows import (
    NO_ATTRIBUTES,
    NUMBERS,
    OTHER,
    SYMLINK,
    Record,
    Root,
    decode,
    joined,
    record_of,
)


class Found(NamedTuple):
    """A path and its row."""

    root: Root
    path: str
    record: Record


class Summary(NamedTuple):
    """A root in figures. ``oldest``: since when every file is verified, seconds since the epoch; None without any.

    ``directories``: that have been walked; ``symlinks``: that have a row.
    """

    files: int
    directories: int
    bytes: int
    unverified: int
    oldest: int | None
    waiting: dict[str, int]  # state -> changes
    algorithms: dict[str, int]  # algorithm -> files
    symlinks: int = 0


class Reader(Files, History):
    """A read-only connection, for one thread at a time. Every method may raise `StateError`.

    Raises:
        StateError: there is no index, it can't be read, or its schema isn't this program's.
    """

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
            f" FROM files WHERE {of_root} AND flags < 64",
            (root,),
        )[0]
        others = dict(self._ask(
            f"SELECT flags & {OTHER}, count(*) FROM files WHERE flags >= 64 AND {of_root}"
            " GROUP BY 1",
            (root,),
        ))  # fmt: skip
        algorithms = self._ask(
            f"SELECT flags / 4, count(*) FROM files WHERE {of_root} AND flags < 64 GROUP BY 1", (root,)
        )
        waiting = self.waiting_by_state(root)
        (directories,) = self._ask("SELECT count(*) FROM directories WHERE root = ?", (root,))[0]
        names = {record_of((0, 0, 0, 0, 0, number * 4, None), NO_ATTRIBUTES).algorithm: n for number, n in algorithms}
        links = others.get(SYMLINK, 0)
        return Summary(files, directories, size, unverified, oldest, waiting, names, links)

    # ---- digests

    def find(self, digest: bytes) -> list[Found]:
        """Every file with this digest. Reads all rows."""
        return list(self._found("WHERE digest = ? AND flags < 64", (digest,)))

    def find_beginning(self, digits: str) -> list[Found]:
        """Every file whose digest begins with these hexadecimal digits. Reads all rows."""
        return list(self._found("WHERE substr(hex(digest), 1, ?) = ? AND flags < 64", (len(digits), digits.upper())))

    def has_algorithm(self, algorithm: str) -> bool:
        """Whether any row is of it. Reads all rows if none is."""
        of = NUMBERS[algorithm]
        return bool(self._ask("SELECT EXISTS (SELECT 1 FROM files WHERE flags % 64 / 4 = ?)", (of,))[0][0])

    def duplicates(self, root: int | None = None, least: int = 1) -> Iterator[list[Found]]:
        """Files of at least so many bytes that have the same digest, in groups; the largest files first.

        Reads all rows twice, and sorts those that have a double.
        """
        several = (
            "SELECT flags / 4, digest FROM files JOIN directories ON id = dir"
            " WHERE digest IS NOT NULL AND flags < 64 AND size >= ?1 AND (?2 IS NULL OR root = ?2)"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        )
        found = self._found(
            f"WHERE flags < 64 AND (flags / 4, digest) IN ({several}) AND (?2 IS NULL OR root = ?2)",
            (least, root),
            order="size DESC, flags / 4, digest, root, path, name",
        )
        for _, group in groupby(found, lambda each: (each.record.algorithm, each.record.digest)):
            yield list(group)

    def _found(self, where: str, parameters: Sequence[Any], order: str = "root, path, name") -> Iterator[Found]:
        roots = {root.id: root for root in self.roots()}
        statement = f"SELECT root, path, name, {ROW} FROM files JOIN directories ON id = dir {where} ORDER BY {order}"
        with Typed(self.path):
            for root, directory, name, *columns in self.connection.execute(statement, parameters):
                if root in roots:
                    yield Found(roots[root], joined(decode(directory), decode(name)), self.record(columns))
