"""A journal that is set aside as damaged: whose tables the fresh one has, and whose it hasn't."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from filewatchd.state.database import Database
from filewatchd.state.tables import ActionTables
from filewatchd.testing import FakeClock

STEPS = [
    "CREATE TABLE {seen} (id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL)",
    "CREATE INDEX {by_path} ON {seen} (path)",
    "CREATE TABLE {more} (path BLOB PRIMARY KEY) WITHOUT ROWID",
]
RULES = ("first", "second")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with the tables of two rules' actions, in which an id was given away and its row deleted."""
    found = tmp_path / "journal.db"
    with Database(str(found), clock=FakeClock()) as database:
        for rule in RULES:
            tables = ActionTables(database, rule, "0.rotate")
            tables.migrate(STEPS)
            rows = [("INSERT INTO {seen} (path) VALUES (?)", (b"%d\xff" % number,)) for number in range(1000)]
            tables.durable(
                [*rows, ("DELETE FROM {seen} WHERE id = 1000", ()), ("INSERT INTO {more} VALUES (?)", (b"x",))]
            )
    return found


def spoil(path: Path, name: str) -> None:
    """Write over a table's or an index's first page, and mark the file, as a daemon does that meets it."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    Path(f"{path}.suspect").touch()


@contextmanager
def fresh(path: Path) -> Iterator[Database]:
    """The next start's."""
    with Database(str(path), clock=FakeClock()) as database:
        assert database.set_aside
        yield database


def known(database: Database, rule: str) -> tuple[int, int]:
    """How many rows an action has, and the next id it gives."""
    tables = ActionTables(database, rule, "0.rotate")
    tables.migrate(STEPS)
    tables.execute("INSERT INTO {seen} (path) VALUES (?)", (b"next",))
    return tables.execute("SELECT count(*), max(id) FROM {seen}")[0]


def test_whole_tables_are_taken_over(path: Path) -> None:
    spoil(path, "jobs")
    with fresh(path) as database:
        assert database.salvaged == ["rotate of first", "rotate of second"]
        for rule in RULES:
            assert known(database, rule) == (1000, 1001)
            assert ActionTables(database, rule, "0.rotate").execute("SELECT * FROM {more}") == [(b"x",)]
        assert known(database, "third") == (1, 1)
    with Database(str(path), clock=FakeClock()) as again:
        assert again.set_aside is None
        assert known(again, "first") == (1001, 1002)


@pytest.mark.parametrize("name", ["action_1_seen", "action_1_by_path", "action_1_more"])
def test_of_an_action_with_a_damaged_table_none_is_taken_over(path: Path, name: str) -> None:
    spoil(path, name)
    with fresh(path) as database:
        assert database.salvaged == ["rotate of second"]
        assert known(database, "first") == (1, 1)
        assert known(database, "second") == (1000, 1001)


@pytest.mark.parametrize("name", ["action_tables", "sqlite_schema"])
def test_without_the_list_of_tables_nothing_is_taken_over(path: Path, name: str) -> None:
    if name == "sqlite_schema":
        path.write_bytes(b"\xff" * 4096 + path.read_bytes()[4096:])
    else:
        spoil(path, name)
    with fresh(path) as database:
        assert database.salvaged == []
        assert known(database, "second") == (1, 1)
