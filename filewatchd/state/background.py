"""A second connection to an open database, for long work in a pool thread: deleting, and giving room back.

Only one connection at a time may write, so while a slice is written here the loop's commits wait. A slice is therefore
as large as can be done in about 5 ms: `Slices` finds out by measuring. In WAL mode reading holds nobody up.

What SQLite does with room: the pages of deleted rows go to a list in the file and are used again, the file never
shrinks by itself. With auto_vacuum=INCREMENTAL, which a file has from its birth, `PRAGMA incremental_vacuum(N)` moves
pages from the file's end to N free places; the next checkpoint cuts the file off (https://sqlite.org/pragma.html).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from filewatchd.state.closing import Closing
from filewatchd.state.sqlite_errors import typed

TARGET = 0.005  # seconds that the write lock is held
_BUSY = 1.0  # seconds to wait for it; only a pool thread waits


class Room(NamedTuple):
    """Pages of a file, and how many of them are free."""

    pages: int
    free: int


class Slices:
    """How much to do at once: from ``least`` to ``most``, steered by how long the last slice took."""

    def __init__(self, least: int, most: int) -> None:
        self.size = least
        self._least, self._most = least, most

    def took(self, seconds: float) -> None:
        """Twice as much next time, or less."""
        wanted = int(self.size * min(2.0, TARGET / max(seconds, 1e-6)))
        self.size = max(self._least, min(self._most, wanted))


class Background(Closing):
    """The connection; one call at a time, from whatever thread. Methods may raise `StateError`, also for being busy."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise typed(error, path) from error
        for setting in ("synchronous = NORMAL", "wal_autocheckpoint = 0", "cache_size = -1024", "mmap_size = 0"):
            self.execute(f"PRAGMA {setting}")

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows."""
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise typed(error, self._path) from error

    def room(self) -> Room:
        """How much of the file is free."""
        return Room(self.execute("PRAGMA page_count")[0][0], self.execute("PRAGMA freelist_count")[0][0])

    def shrink(self, pages: int) -> None:
        """Give up to so many free pages back to the filesystem, with the next checkpoint."""
        try:  # one page a step, and only a script is stepped to its end whatever it returns
            self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")
        except sqlite3.Error as error:
            raise typed(error, self._path) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
