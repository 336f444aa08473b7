from __future__ import annotations

import sqlite3

import pytest

from filewatchd.actions.base import Tables
from filewatchd.errors import StateError
from filewatchd.state.database import Database
from filewatchd.state.tables import ActionTables, rename_rule

STEPS = ["CREATE TABLE {seen} (path BLOB PRIMARY KEY)", "CREATE INDEX {by_path} ON {seen} (path)"]


def test_each_action_has_tables_of_its_own(database: Database) -> None:
    first: Tables = ActionTables(database, 'odd"rule', "0.exec")
    second: Tables = ActionTables(database, 'odd"rule', "1.exec")
    for tables in (first, second):
        tables.migrate(STEPS)
    first.execute("INSERT INTO {seen} VALUES (?)", (b"a",))
    assert first.execute("SELECT path FROM {seen}") == [(b"a",)]
    assert second.execute("SELECT path FROM {seen}") == []


def test_each_step_runs_once_ever(database: Database) -> None:
    ActionTables(database, "r", "a").migrate(STEPS[:1])
    ActionTables(database, "r", "a").execute("INSERT INTO {seen} VALUES (?)", (b"a",))
    later = [*STEPS, "ALTER TABLE {seen} ADD COLUMN size INTEGER"]
    for _ in range(2):
        tables = ActionTables(database, "r", "a")
        tables.migrate(later)
        assert tables.execute("SELECT path, size FROM {seen}") == [(b"a", None)]


def test_a_step_that_fails_undoes_those_before_it(database: Database) -> None:
    tables = ActionTables(database, "r", "a")
    with pytest.raises(sqlite3.OperationalError):
        tables.migrate([STEPS[0], "CREATE NONSENSE"])
    tables.migrate(STEPS)


def test_newer_tables_are_refused(database: Database) -> None:
    ActionTables(database, "r", "a").migrate(STEPS)
    with pytest.raises(StateError, match="have version 2, this one knows versions up to 1"):
        ActionTables(database, "r", "a").migrate(STEPS[:1])


def test_a_renamed_rule_keeps_them(database: Database) -> None:
    ActionTables(database, "old", "a").migrate(STEPS)
    ActionTables(database, "old", "a").execute("INSERT INTO {seen} VALUES (?)", (b"a",))
    rename_rule(database, "old", "new")
    assert ActionTables(database, "new", "a").execute("SELECT path FROM {seen}") == [(b"a",)]
