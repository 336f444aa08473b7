"""An action's own tables in the job journal's database (`actions.base.Tables`).

A table named ``{seen}`` by the action is called ``action_7_seen`` in the database, where 7 stands for this rule and
action. So no action meets another's tables by its own names, and a renamed rule keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from filewatchd.errors import StateError
from filewatchd.state.database import Database

_MOST = 256  # statements whose names are kept
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ActionTables:
    """The tables of one rule's action, named by ``action``."""

    def __init__(self, database: Database, rule: str, action: str) -> None:
        self._database = database
        self._rule = rule
        self._action = action
        self._number: int | None = None
        self._known: dict[str, str] = {}  # statements with their tables' names

    def migrate(self, steps: Sequence[str]) -> None:
        """Bring the tables to version ``len(steps)``: steps not yet run run once, all or none.

        Raises:
            StateError: the tables are of a newer version, or the disk is full or fails.
            sqlite3.Error: a step is wrong.
        """
        with self._database.transaction() as connection:
            version = self._version()
            if version > len(steps):
                raise StateError(
                    f"{self._database.path}: the tables of {self._action} in rule {self._rule} have version {version},"
                    f" this one knows versions up to {len(steps)}; install the newer action again",
                    path=self._database.path,
                )
            for step in steps[version:]:
                connection.execute(self._named(step))
            connection.execute("UPDATE action_tables SET version = ? WHERE id = ?", (len(steps), self._number))

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows. ``{name}`` stands for a table.

        Raises:
            StateError: the disk is full or fails.
            sqlite3.Error: the statement is wrong.
        """
        return self._database.execute(self._named(statement), parameters)

    def durable(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Run statements in one transaction that survives a power loss when this returns: one fsync, on this thread.

        Raises:
            StateError: the disk is full or fails; none of them counts.
            sqlite3.Error: a statement is wrong.
        """
        named = [(self._named(statement), parameters) for statement, parameters in statements]
        with self._database.durable() as connection:
            for statement, parameters in named:
                connection.execute(statement, parameters)

    def _named(self, statement: str) -> str:
        named = self._known.get(statement)
        if named is None:
            if self._number is None:
                self._version()
            named = _PLACEHOLDER.sub(rf'"action_{self._number}_\1"', statement)
            if len(self._known) < _MOST:
                self._known[statement] = named
        return named

    def _version(self) -> int:
        with self._database.transaction() as connection:
            scope = (self._rule, self._action)
            connection.execute(
                "INSERT INTO action_tables (rule, action, version) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", scope
            )
            found = connection.execute("SELECT id, version FROM action_tables WHERE rule = ? AND action = ?", scope)
            self._number, version = found.fetchone()
        return int(version)


def rename_rule(database: Database, old: str, new: str) -> None:
    """Hand a rule's action tables to its new name; those that the new name has already stay with the old.

    Raises:
        StateError: the disk is full or fails.
    """
    database.execute("UPDATE OR IGNORE action_tables SET rule = ? WHERE rule = ?", (new, old))
