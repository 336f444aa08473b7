"""A manifest row between Python and SQLite: a relative path and the identity last handled.

SQLite's integers are signed 64 bits. An inode number takes them all, so it is stored as two's complement. A
timestamp beyond them (after the year 2262; anybody may set one on tmpfs or xfs) is stored as decimal digits in a
BLOB and the row is marked WIDE. That is found out by trying: an ordinary batch pays nothing for it.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from filewatchd.model import FileIdentity

RACY = 1  # a timestamp lay so near the look that a later write could hide in it
LINKS = 2  # the file had more than one link
_WIDE = 4
PLACE = 8  # the bits from this one on: the number of the place it is on (`state.places`)
_PUBLIC = ~_WIDE

_ENCODING = sys.getfilesystemencoding()  # what os.fsencode uses, without its 0.3 us of checks a path
_WRAP = 2**64
_LIMIT = 2**63

Columns = tuple[int, bytes, Any, Any, Any, Any, int]


class Row(NamedTuple):
    """What a rule last handled of a path: its identity, the RACY and LINKS bits, and its place."""

    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    flags: int

    @property
    def identity(self) -> FileIdentity:
        """The first four fields."""
        return FileIdentity(*self[:4])


Entry = tuple[str, FileIdentity, int]  # relative path, identity, flags


def encode(path: str) -> bytes:
    """A path's bytes, as the kernel knows them."""
    return path.encode(_ENCODING, "surrogateescape")


def decode(path: bytes) -> str:
    """The inverse of `encode`."""
    return path.decode(_ENCODING, "surrogateescape")


def narrow(baseline: int, entries: Iterable[Entry]) -> Iterator[Columns]:
    """Columns of rows whose numbers fit; SQLite raises OverflowError at the first that doesn't."""
    for path, (ino, size, mtime_ns, ctime_ns), flags in entries:
        yield baseline, path.encode(_ENCODING, "surrogateescape"), ino, size, mtime_ns, ctime_ns, flags & _PUBLIC


def wide(baseline: int, entries: Iterable[Entry]) -> Iterator[Columns]:
    """Columns of rows with any numbers."""
    for path, (ino, size, mtime_ns, ctime_ns), flags in entries:
        flags &= _PUBLIC
        if not (-_LIMIT <= mtime_ns < _LIMIT and -_LIMIT <= ctime_ns < _LIMIT):
            flags |= _WIDE
        yield baseline, encode(path), signed(ino), size, _digits(mtime_ns), _digits(ctime_ns), flags


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite stores it."""
    return number - _WRAP if number >= _LIMIT else number


def row(ino: int, size: int, mtime_ns: Any, ctime_ns: Any, flags: int) -> Row:
    """The row that these columns stand for."""
    if flags & _WIDE:
        mtime_ns, ctime_ns = int(mtime_ns), int(ctime_ns)
    return Row(ino % _WRAP, size, mtime_ns, ctime_ns, flags & _PUBLIC)


def _digits(number: int) -> int | bytes:
    return number if -_LIMIT <= number < _LIMIT else b"%d" % number


# ---- reading a directory

Stored = tuple[bytes, int, int, Any, Any, int]  # path, ino, size, mtime_ns, ctime_ns, flags
_FROM = "SELECT path, ino, size, mtime_ns, ctime_ns, flags FROM manifest WHERE baseline = ? AND path >= ?"
_TO_END = f"{_FROM} ORDER BY path"
_RANGE = f"{_FROM} AND path < ? ORDER BY path"


def children(
    connection: sqlite3.Connection, baseline: int, directory: str, subdirectories: list[bytes]
) -> Iterator[Stored]:
    """The rows directly in a directory, in order; the directories below it that have rows go into the list."""
    start = encode(directory) + b"/" if directory else b""
    bounds = (start[:-1] + b"0",) if directory else ()
    statement, cut = (_RANGE if directory else _TO_END), len(start)
    cursor = connection.cursor()
    try:
        while True:
            cursor.execute(statement, (baseline, start, *bounds))
            for columns in cursor:
                slash = columns[0].find(b"/", cut)
                if slash >= 0:
                    break
                yield columns
            else:
                return
            subdirectories.append(columns[0][:slash])
            start = columns[0][:slash] + b"0"
    finally:
        cursor.close()  # ends the read transaction
