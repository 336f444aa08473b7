"""The ledgers as they are read without a daemon, or beside one.

The tables are found through ``action_tables``; the database is opened read-only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Self
from urllib.parse import quote_from_bytes

from filewatchd.actions.rotate.rows import COLUMNS, Archive, Part, archive_of, parts
from filewatchd.errors import ActionError, StateError

_TURN = 1 << 40  # more than a rule has archives


class Reader:
    """All ledgers of a state directory, read-only, with a daemon or without."""

    def __init__(self, state_dir: str, but: str = "") -> None:
        """``but``: the rule whose ledger is left out.

        Raises:
            StateError: there is no journal, or it can't be read.
        """
        self.path = os.path.join(state_dir, "journal.db")
        try:
            uri = f"file:{quote_from_bytes(os.fsencode(self.path))}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2.0)
            self._connection.execute("PRAGMA query_only = ON")
            self._tables = [(rule, table) for rule, table in self._find() if rule != but]
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
        """A log's rows, oldest first. Where one rule has had it after another, their numbers grow all the same."""
        return self.archives_each([live])[0]

    def archives_each(self, lives: Sequence[str]) -> list[list[Archive]]:
        """The same of several."""
        found: dict[str, list[list[Archive]]] = {live: [] for live in lives}
        marks = ", ".join("?" * len(lives))
        for _, table in self._tables:
            statement = f"SELECT {COLUMNS} FROM {table} WHERE live IN ({marks}) ORDER BY live, id"
            rows = map(archive_of, self._connection.execute(statement, [os.fsencode(live) for live in lives]))
            for live, group in groupby(rows, key=lambda row: row.live):
                found[live].append(list(group))
        return [joined(found[live]) for live in lives]

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


def rows_of_others(state_dir: str, rule: str, lives: Sequence[str]) -> list[list[Archive]]:
    """What other rules than this one have of logs. Blocking.

    Raises:
        ActionError: they can't be read, and who goes on without them may archive lines twice.
    """
    if not os.path.exists(os.path.join(state_dir, "journal.db")):
        return [[] for _ in lives]
    try:
        with Reader(state_dir, rule) as reader:
            return reader.archives_each(lives)
    except (StateError, sqlite3.Error) as error:
        raise ActionError(f"what other rules have rotated can't be read: {error}") from error


def joined(histories: Sequence[Sequence[Archive]]) -> list[Archive]:
    """The histories of one log by several rules, of which one at a time has it, as one."""
    if len(histories) < 2:
        return [row for history in histories for row in history]
    rows = [(row.last_ns, number, row.id, row) for number, history in enumerate(histories) for row in history]
    found, turn, before = list[Archive](), -1, -1
    for _, number, _, row in sorted(rows, key=lambda each: each[:3]):
        turn += number != before
        before = number
        found.append(row._replace(id=row.id + turn * _TURN))
    return found
