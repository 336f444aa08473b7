"""What is taken over of an index that was set aside as damaged: roots and changes, as far as they make sense.

Rows of files are made anew by reading the files, so they are left. What can't be read, or can't be meant, is left too:
a damaged page may hold anything, and must not keep the daemon from starting.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote_from_bytes

from filewatchd.state.index.history import CHANGE, change_of


def take_over(connection: sqlite3.Connection, damaged_file: str) -> int:
    """Take over what can be; returns how many changes that are."""
    try:
        old = sqlite3.connect(f"file:{quote_from_bytes(os.fsencode(damaged_file))}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    with closing(old):
        connection.execute("BEGIN IMMEDIATE")
        for row in _readable(old, "id, rule, root, selection", "roots"):
            _insert(connection, "roots (id, rule, root, selection)", row)  # not when it was built: its rows are gone
        kept = sum(
            _insert(connection, f"changes ({CHANGE})", row)
            for row in _readable(old, CHANGE, "changes")
            if _is_change(row)
        )
        connection.execute("COMMIT")
    return kept


def _readable(connection: sqlite3.Connection, columns: str, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table up to the first damage."""
    with suppress(sqlite3.Error):
        yield from connection.execute(f"SELECT {columns} FROM {table}")


def _is_change(row: tuple[Any, ...]) -> bool:
    try:
        change_of(row)
    except Exception:  # noqa: BLE001 - whatever it is, it is no change
        return False
    return True


def _insert(connection: sqlite3.Connection, where: str, row: tuple[Any, ...]) -> bool:
    marks = ", ".join("?" * len(row))
    try:
        return connection.execute(f"INSERT OR IGNORE INTO {where} VALUES ({marks})", row).rowcount > 0
    except sqlite3.IntegrityError:
        return False
