"""The chain of what was accepted, and the audit that finds what was changed past it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filewatchd.model import FileIdentity
from filewatchd.state.index import chain
from filewatchd.state.index.audit import Audited, audit
from filewatchd.state.index.editing import Told
from filewatchd.state.index.forgetting import forget
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Attributes, Record, State, Verdict
from filewatchd.state.index.writing import Index
from filewatchd.testing import FakeClock


def record(content: int, mode: int | None = 0o100644, when: int = 1) -> Record:
    identity = FileIdentity(content, content, when, when)
    return Record(identity, "sha256", content.to_bytes(32, "big"), Attributes(mode), when)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index(str(tmp_path / "index.db"), FakeClock())
    yield opened
    opened.close()


@pytest.fixture
def root(index: Index) -> int:
    """A built root of some files."""
    number = index.root("rule", "/r")
    with index.edit() as edit:
        for name in "abc":
            edit.put(number, f"d/{name}", record(ord(name)))
        edit.put(number, "top", record(1))
    with index.edit() as edit:
        edit.built(number, "fs")
    return number


def audited(index: Index) -> Audited:
    with Reader(index.path) as reader:
        seals = "SELECT number FROM seals UNION SELECT number FROM chain WHERE kind = 'seal' ORDER BY number DESC"
        newest = reader.connection.execute(f"{seals} LIMIT 1").fetchone()
        return audit(reader.connection, newest[0] if newest else None)


def faults(index: Index) -> list[tuple[str, str | None]]:
    return [(fault.what, fault.path) for fault in audited(index).faults]


def kinds(index: Index) -> list[str]:
    return [kind for (kind,) in index.connection.execute("SELECT kind FROM chain ORDER BY number")]


def past(index: Index, statement: str, *parameters: object) -> None:
    """Write to the file as another program would."""
    with sqlite3.connect(index.path) as connection:
        assert connection.execute(statement, parameters).rowcount
    connection.close()


def test_what_is_accepted_after_a_build_is_chained_and_a_build_is_one_entry(index: Index, root: int) -> None:
    assert kinds(index) == ["made", "built"]
    with index.edit() as edit:
        edit.put(root, "d/a", record(7))
        edit.put(root, "new", record(8))
        edit.drop(root, "top")
        edit.move(root, "d/b", "d/moved", record(ord("b")))
    assert kinds(index)[2:] == ["row"] * 5
    assert faults(index) == []


def test_times_flags_and_looks_are_no_news(index: Index, root: int) -> None:
    with index.edit() as edit:
        edit.put(root, "d/a", record(ord("a"), when=99))
        edit.flag(root, "d/a", waiting=True)
        edit.verified(root, "d", ["a"], 100)
    assert kinds(index) == ["made", "built"]


def test_what_was_rolled_back_is_not_in_the_chain(index: Index, root: int) -> None:
    def fail() -> None:
        with index.edit() as edit:
            edit.put(root, "d/a", record(7))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with index.edit() as edit:
        edit.put(root, "d/c", record(9))
    assert kinds(index) == ["made", "built", "row"]
    assert faults(index) == []


def test_decisions_are_chained_with_who_made_them(index: Index, root: int) -> None:
    with index.edit() as edit:
        number, _ = edit.tell(Told(root, "d/a", Verdict.MODIFIED, State.PENDING, record(ord("a")), record(7)))
        refused, _ = edit.tell(Told(root, "d/b", Verdict.MODIFIED, State.PENDING, record(ord("b")), record(7)))
    index.decide([number], State.APPROVED, uid=1000, comment="mine")
    index.decide([refused], State.REJECTED, uid=0)
    assert kinds(index)[2:] == ["row", "decision", "decision"]
    assert faults(index) == []
    past(index, "UPDATE changes SET uid = 0 WHERE id = ?", number)
    assert faults(index) == [("the decision was rewritten", "d/a")]
    past(index, "UPDATE changes SET uid = 1000 WHERE id = ?", number)
    past(index, "DELETE FROM chain WHERE kind = 'decision' AND root = ? AND path = ?", root, b"d/b")
    assert ("it was decided past the chain", "d/b") in faults(index)


def test_a_seal_covers_the_rows_of_the_build(index: Index, root: int) -> None:
    link = index.seal()
    assert index.sealed(link.number, "statement", b"key", b"signature", uid=0)
    assert not index.sealed(1, "statement", b"key", b"signature", uid=0)
    found = audited(index)
    assert (found.faults, found.head, found.rows) == ([], link, 4)
    with index.edit() as edit:
        edit.put(root, "d/a", record(7))
        edit.put(root, "d/a", record(8))
        edit.put(root, "e/new", record(9))
        edit.drop(root, "top")
    assert faults(index) == []
    past(index, "UPDATE files SET digest = ? WHERE name = ?", bytes(32), b"c")
    assert faults(index) == [("its rows were changed past the chain (4 rows)", None)]


TAMPERING: list[tuple[Callable[[Index], None], str]] = [
    (lambda index: past(index, "UPDATE files SET digest = ? WHERE name = ?", bytes(32), b"b"), "past the chain"),
    (lambda index: past(index, "UPDATE files SET size = 5 WHERE name = x'62'"), "past the chain"),
    (lambda index: past(index, "UPDATE files SET attributes = NULL WHERE name = x'62'"), "past the chain"),
    (lambda index: past(index, "UPDATE attributes SET packed = x'00'"), "past the chain"),
    (lambda index: past(index, "DELETE FROM files WHERE name = x'62'"), "past the chain"),
    (lambda index: past(index, "UPDATE files SET digest = zeroblob(32) WHERE name = x'61'"), "what the chain says"),
    (lambda index: past(index, "UPDATE directories SET path = x'65' WHERE path = x'64'"), "past the chain"),
    (lambda index: past(index, "UPDATE chain SET after = before WHERE number = 4"), "isn't what its hash"),
    (lambda index: past(index, "UPDATE chain SET time_ns = 1 WHERE number = 2"), "isn't what its hash"),
    (lambda index: past(index, "DELETE FROM chain WHERE number = 3"), "are missing"),
    (lambda index: past(index, "UPDATE chain SET note = x'c0' WHERE kind = 'seal'"), "damaged"),
]  # fmt: skip


@pytest.mark.parametrize("position", range(len(TAMPERING)))
def test_what_another_program_changes_shows(index: Index, root: int, position: int) -> None:
    tamper, what = TAMPERING[position]
    index.seal()
    with index.edit() as edit:
        edit.put(root, "d/a", record(7))
    assert faults(index) == []
    tamper(index)
    assert any(what in found for found, _ in faults(index)), faults(index)


def test_a_change_past_the_chain_before_a_proper_one_shows(index: Index, root: int) -> None:
    with index.edit() as edit:
        edit.put(root, "d/a", record(7))
    past(index, "UPDATE files SET size = 5 WHERE name = x'61'")
    with index.edit() as edit:
        edit.put(root, "d/a", record(8))
    assert faults(index) == [("its row was changed past the chain before this entry", "d/a")]


def test_a_chain_made_anew_has_another_head(index: Index, root: int) -> None:
    sealed = index.seal()
    past(index, "UPDATE chain SET time_ns = 1 WHERE number = 2")
    before = b""
    for columns in index.connection.execute(f"SELECT {chain.COLUMNS} FROM chain ORDER BY number").fetchall():
        before = chain.hashed(before, columns)
        past(index, "UPDATE chain SET hash = ? WHERE number = ?", before, columns[0])
    found = audited(index)
    assert found.faults == []  # who has the file can do that: which is why heads are sent elsewhere
    assert found.head is not None
    assert found.head.hash != sealed.hash


def test_a_root_built_anew_is_told(index: Index, root: int) -> None:
    index.seal()
    with index.edit() as edit:
        edit.connection.execute("UPDATE roots SET built_ns = NULL WHERE id = ?", (root,))
        edit.drop(root, "d/a")
        edit.built(root, "fs")
    assert kinds(index)[-2:] == ["unbuilt", "built"]
    assert faults(index) == [("its index was built anew since the seal", None)]
    index.seal()
    assert faults(index) == []


def test_a_root_that_was_forgotten_is_no_fault_and_told(index: Index, root: int) -> None:
    other = index.root("other", "/o")
    with index.edit() as edit:
        edit.put(other, "d/a", record(1))
        edit.built(other, "fs")
    index.seal()
    assert forget(index, "other", 4711).files == 1
    assert kinds(index)[-2:] == ["unbuilt", "forgotten"]
    found = audited(index)
    assert found.faults == []
    assert [each[2:] for each in found.forgotten] == [("other", b"/o", 4711)]
    past(index, "UPDATE files SET size = 77 WHERE name = CAST('b' AS BLOB)")
    assert len(faults(index)) == 1, "the others' rows are compared all the same"


def test_a_root_that_is_only_said_to_be_forgotten_is_compared(index: Index, root: int) -> None:
    index.seal()
    with index.edit():
        index.chain.forgot(root, "rule", b"/r", 0)
    past(index, "UPDATE files SET size = 77 WHERE name = CAST('b' AS BLOB)")
    assert len(faults(index)) == 1


def test_old_entries_go_and_that_is_told(index: Index, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "KEPT", 50)
    monkeypatch.setattr(chain, "_SLACK", 10)
    index.sealed(index.seal().number, "statement", b"key", b"signature", uid=0)
    for step in range(200):
        with index.edit() as edit:
            edit.put(root, "d/a", record(1000 + step))
    found = audited(index)
    assert 50 <= found.entries <= 61
    assert [fault.what for fault in found.faults] == ["entries since the seal are no longer kept: seal more often"]
    index.seal()
    assert faults(index) == []
    past(index, "UPDATE files SET size = 5 WHERE name = x'62'")
    assert len(faults(index)) == 1


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_done_properly_passes_and_one_row_otherwise_shows(index: Index, root: int, seed: int) -> None:
    chance = random.Random(seed)
    paths = [f"{folder}{name}" for folder in ("", "d/", "d/e/", "z/") for name in ("a", "b", "c", "\udcff")]
    for _ in range(60):
        with index.edit() as edit:
            for _ in range(chance.randrange(1, 5)):
                path, kind = chance.choice(paths), chance.randrange(6)
                if kind < 3:
                    edit.put(root, path, record(chance.randrange(100), chance.choice((None, 0o100600, 0o100644))))
                elif kind == 3:
                    edit.drop(root, path)
                elif kind == 4:
                    edit.move(root, path, chance.choice(paths), record(chance.randrange(100)))
                else:
                    edit.flag(root, path, waiting=True)
        if chance.random() < 0.1:
            index.seal()
    index.seal()
    with index.edit() as edit:
        edit.put(root, "d/a", record(500))
    assert faults(index) == []
    directory, name = chance.choice(index.connection.execute("SELECT dir, name FROM files").fetchall())
    past(index, "UPDATE files SET size = size + 1 WHERE dir = ? AND name = ?", directory, name)
    assert faults(index) != []


def test_decisions_whose_entries_went_in_the_middle_of_a_transaction_are_no_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "KEPT", 10)
    monkeypatch.setattr(chain, "_SLACK", 2)
    index = Index(str(tmp_path / "many.db"), FakeClock())
    root = index.root("rule", "/root")
    with index.edit() as edit:
        edit.built(root, "all")
        row = Record(FileIdentity(1, 1, 1, 1), "sha256", b"x" * 32)
        told = [Told(root, f"f{n}", Verdict.NEW, State.PENDING, after=row) for n in range(40)]
        numbers = [edit.tell(each)[0] for each in told]
    index.decide(numbers, State.APPROVED, uid=0)
    with Reader(index.path) as reader:
        found = audit(reader.connection)
    assert found.first > 1
    assert found.faults == []
    index.close()
