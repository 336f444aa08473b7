"""What a fresh journal takes over of one that was set aside: the tables of each action of which all are whole.

They may say what nothing else does, such as which archives a log has. Jobs, timers and manifests are left: all roots
are compared anew. An action couldn't tell what is missing in a table that is read in part, so it begins anew then.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from urllib.parse import quote_from_bytes


def take_over(connection: sqlite3.Connection, damaged_file: str) -> list[str]:
    """Copy what is whole into a database that was just made; returns whose tables that were."""
    try:
        old = sqlite3.connect(f"file:{quote_from_bytes(os.fsencode(damaged_file))}?mode=ro", uri=True)
        with closing(old):
            return [
                f"{action.partition('.')[2] or action} of {rule}"  # it may be the rule's second of that name
                for number, rule, action, version in _owners(old)
                if _copy(old, connection, int(number), (str(rule), str(action), int(version)))
            ]
    except (sqlite3.Error, ValueError):
        return []


def _owners(old: sqlite3.Connection) -> list[tuple[int, str, str, int]]:
    if not _whole(old, "action_tables"):
        return []
    return old.execute("SELECT id, rule, action, version FROM action_tables").fetchall()


def _whole(old: sqlite3.Connection, table: str) -> bool:
    return old.execute(f"PRAGMA integrity_check({_quoted(table)})").fetchall() == [("ok",)]


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, number: int, owner: tuple[str, str, int]) -> bool:
    """Copy one action's tables, all or none, under the number they have."""
    new.execute("BEGIN IMMEDIATE")
    try:
        new.execute("INSERT INTO action_tables (id, rule, action, version) VALUES (?, ?, ?, ?)", (number, *owner))
        made = old.execute(
            "SELECT type = 'index', name, sql FROM sqlite_master WHERE name GLOB ? AND sql IS NOT NULL ORDER BY 1",
            (f"action_{number}_*",),
        ).fetchall()
        for is_index, name, statement in made:
            if not is_index and not _whole(old, name):
                raise sqlite3.DatabaseError(name)
            new.execute(statement)
            if not is_index:
                _fill(old, new, name)
        new.execute("COMMIT")
    except sqlite3.Error:
        if new.in_transaction:
            new.execute("ROLLBACK")
        return False
    return True


def _fill(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    rows = old.execute(f"SELECT * FROM {_quoted(table)}")
    marks = ", ".join("?" * len(rows.description))
    new.executemany(f"INSERT INTO {_quoted(table)} VALUES ({marks})", rows)
    if old.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        last = old.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        if last is not None:  # ids that were given away don't come again
            new.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, *last))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
