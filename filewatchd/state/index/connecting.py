"""A read-only connection to the index, opened only if its schema is this program's; SQLite's errors become ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote_from_bytes

from filewatchd.errors import StateError
from filewatchd.state.closing import Closing
from filewatchd.state.index import schema
from filewatchd.state.opening import mark_suspect
from filewatchd.state.sqlite_errors import code, typed


class Connection(Closing):
    """A read-only connection, for one thread at a time. Every method may raise `StateError`.

    Raises:
        StateError: there is no index, it can't be read, or its schema isn't this program's.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.exists(path):
            raise StateError(f"{path}: there is no index yet; a rule with the action checksum makes one", path=path)
        with Typed(path):
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
        with Typed(self.path):
            return self.connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Typed:
    """Turns SQLite's errors into ours; a damaged index is checked at the daemon's next start."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            if code(error) == sqlite3.SQLITE_CORRUPT:
                mark_suspect(self._path)  # as far as this user may
            raise typed(error, self._path) from error
