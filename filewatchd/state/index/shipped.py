"""Which files packages had beneath a root: remembered, since a package database doesn't say what it forgot.

A list is the current one of its package until another version is found, or none; then it is a former one, for a week,
and two of a package are kept. `since_ns` and `until_ns` are a former list's: when the database last agreed with it (our
clock), and when the database was written that doesn't (the kernel's, so that it can be held against a file's ctime).
Lists are compressed: 8 bytes a file. A package with nothing beneath the root has an empty one, or it would be looked
for at each survey.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from filewatchd.state.index.connecting import Connection
from filewatchd.state.index.editing import Edit

KEPT = 2  # former lists of a package
KEPT_NS = 7 * 24 * 3600 * 10**9  # former lists: until the deletions are found that a daemon wasn't there to see
LARGEST = 16 * 1024 * 1024  # bytes of one list


class Shipped(NamedTuple):
    """A package's files beneath a root; ``until_ns`` is None while that is its current list."""

    package: str  # dpkg NAME
    version: str
    since_ns: int
    until_ns: int | None
    packed: bytes

    def files(self) -> frozenset[bytes]:
        """The names, as the database has them. Blocks for a moment with a large package."""
        if not self.packed:
            return frozenset()
        return frozenset(zlib.decompressobj().decompress(self.packed, LARGEST).split(b"\0"))


class News(NamedTuple):
    """What a survey of the database found, at ``asked_ns``; ``written_ns``: when the database was written."""

    asked_ns: int
    written_ns: int
    lists: dict[str, tuple[str, bytes]]  # of packages that are new or otherwise: version, packed files
    gone: frozenset[str]  # packages that are removed


def packed(files: Iterable[bytes]) -> bytes:
    """Names as they are kept; nothing of more than one could sensibly have."""
    joined = b"\0".join(sorted(files))
    return zlib.compress(joined, 9) if 0 < len(joined) <= LARGEST else b""


def shipped(reader: Connection, root: int) -> list[Shipped]:
    """All lists of a root."""
    found = reader.connection.execute(
        "SELECT package, version, since_ns, until_ns, files FROM shipped WHERE root = ?", (root,)
    )
    return [Shipped(*columns) for columns in found]


def current(reader: Connection, root: int) -> dict[str, str]:
    """The versions of a root's current lists."""
    return dict(
        reader.connection.execute("SELECT package, version FROM shipped WHERE root = ? AND until_ns IS NULL", (root,))
    )


def surveyed(reader: Connection, root: int) -> int:
    """When the database last agreed with the current lists; 0: never."""
    found = reader.connection.execute("SELECT asked_ns FROM surveys WHERE root = ?", (root,)).fetchone()
    return int(found[0]) if found else 0


def note(edit: Edit, root: int, news: News) -> None:
    """Write down what a survey found."""
    ask = edit.connection
    before = "coalesce((SELECT asked_ns FROM surveys WHERE root = ?1), 0)"
    otherwise = [(root, package, news.written_ns) for package in {*news.lists, *news.gone}]
    ask.executemany(
        "DELETE FROM shipped WHERE root = ?1 AND package = ?2 AND until_ns IS NULL AND files = x''",
        [each[:2] for each in otherwise],
    )
    ask.executemany(
        f"UPDATE shipped SET since_ns = {before}, until_ns = ?3 WHERE root = ?1 AND package = ?2 AND until_ns IS NULL",
        otherwise,
    )
    ask.executemany(
        "DELETE FROM shipped WHERE root = ?1 AND package = ?2 AND until_ns < (SELECT until_ns FROM shipped"
        f" WHERE root = ?1 AND package = ?2 AND until_ns IS NOT NULL ORDER BY until_ns DESC LIMIT 1 OFFSET {KEPT - 1})",
        [each[:2] for each in otherwise],
    )
    ask.executemany(
        "INSERT OR REPLACE INTO shipped VALUES (?, ?, ?, 0, NULL, ?)",
        [(root, package, *found) for package, found in news.lists.items()],
    )
    ask.execute("DELETE FROM shipped WHERE root = ? AND until_ns < ?", (root, news.asked_ns - KEPT_NS))
    ask.execute("INSERT OR REPLACE INTO surveys VALUES (?, ?)", (root, news.asked_ns))
