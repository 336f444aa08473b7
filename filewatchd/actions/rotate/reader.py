"""The ledgers as they are read without a daemon, or beside one.

The tables are found through ``action_tables``; the database is opened read-only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Self
from urllib.parse import quote_from_bytes

from filewatchd.actions.rotate.rows import COLUMNS, Archive, Part, archive_of, parts
from filewatchd.errors import StateError


class Reader:
    """All ledgers of a state directory, read-only, with a daemon or without."""

    def __init__(self, state_dir: str) -> None:
        """Raises StateError: there is no journal, or it can't be read."""
        self.path = os.path.join(state_dir, "journal.db")
        try:
            uri = f"file:{quote_from_bytes(os.fsencode(self.path))}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2.0)
            self._connection.execute("PRAGMA query_only = ON")
            self._tables = self._find()
        except sqlite3.Error as error:
            raise StateError(f"{self.path} can't be read: {error}; name another state_dir", path=self.path) from error

    def _find(self) -> list[tuple[str, str]]:
        found = self._connection.execute("SELECT rule, id FROM action_tables WHERE action LIKE '%.rotate' ORDER BY id")
        return [(rule, f'"action_{number}_archives"') for rule, number in found if self._exists(number)]

    def _exists(self, number: int) -> bool:
        name = f"action_{number}_archives"
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())

    def version(self) -> int:
        """Changes whenever something was written."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def logs(self) -> list[tuple[str, str]]:
        """(rule, path) of every log that has archives."""
        return [
            (rule, os.fsdecode(live))
            for rule, table in self._tables
            for (live,) in self._connection.execute(f"SELECT DISTINCT live FROM {table} ORDER BY live")
        ]

    def archives(self, live: str) -> list[Archive]:
        """A log's rows, oldest first. Two rules that rotate one log are two histories: the one that began last."""
        histories = [list(self._of(table, live)) for _, table in self._tables]
        return max(histories, key=lambda rows: rows[-1].last_ns if rows else -1, default=[])

    def _of(self, table: str, live: str) -> Iterator[Archive]:
        statement = f"SELECT {COLUMNS} FROM {table} WHERE live = ? ORDER BY id"
        return map(archive_of, self._connection.execute(statement, (os.fsencode(live),)))

    def parts(self, live: str) -> list[Part]:
        """See `parts`. A rotation may move meanwhile: ask again and compare before you trust files you opened."""
        return parts(live, self.archives(live))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
