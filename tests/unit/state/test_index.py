"""The index: rows, moves, changes and decisions, runs, and a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from filewatchd.errors import StateError
from filewatchd.model import FileIdentity
from filewatchd.state.index import editing
from filewatchd.state.index.editing import Edit, Told
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import RACY, WAITING, Attributes, Record, State, Verdict
from filewatchd.state.index.salvage import take_over
from filewatchd.state.index.writing import Index
from filewatchd.testing import FakeClock

ODD = b"\xff\n\\ '".decode("utf-8", "surrogateescape")
A = Record(FileIdentity(7, 3, 1_700_000_000_000_000_001, 1_700_000_000_000_000_009), "sha256", b"a" * 32, verified=5)
B = A._replace(identity=FileIdentity(2**64 - 1, 0, -(2**70), 2**70), algorithm="blake3", digest=b"b" * 32, flags=RACY)
C = A._replace(attributes=Attributes(0o100644, 0, 0, 2, b"x", None), digest=None, algorithm="")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index(str(tmp_path / "index.db"), FakeClock())
    yield opened
    opened.close()


@pytest.fixture
def reader(index: Index) -> Iterator[Reader]:
    with Reader(index.path) as opened:
        yield opened


def test_what_is_put_is_read(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    assert index.root("rule", "/r") == root != index.root("other", "/r")
    with index.edit() as edit:
        edit.put(root, f"d/{ODD}", A)
        edit.put(root, "", B)
        edit.put_many(root, "d/e", [("x", C), ("y", A)])
    assert reader.row(root, f"d/{ODD}") == A
    assert reader.row(root, "d/e/x") == C
    kept = reader.row(root, "")
    assert kept is not None
    assert (kept.identity.ino, kept.identity.mtime_ns, kept.flags) == (2**64 - 1, -(2**63), RACY)
    assert [path for path, _ in reader.rows(root)] == ["", f"d/{ODD}", "d/e/x", "d/e/y"]
    assert [path for path, _ in reader.rows(root, below="d/e")] == ["d/e/x", "d/e/y"]
    assert [found.path for found in reader.find(b"a" * 32)] == [f"d/{ODD}", "d/e/y"]
    assert [[found.path for found in group] for group in reader.duplicates()] == [[f"d/{ODD}", "d/e/y"]]
    assert [reader.count(root, below) for below in ("", "d", "d/e", "d/e/x")] == [4, 3, 2, 0]
    assert reader.located("/r/d/e/x", "rule")[0][1] == "d/e/x"
    summary = reader.summary(root)
    assert (summary.files, summary.directories, summary.oldest) == (4, 3, 5)
    assert summary.algorithms == {"sha256": 2, "blake3": 1, "": 1}


def broken(edit: Edit, root: int) -> None:
    edit.put(root, "d/a", A)
    edit.connection.execute("not SQL")


def test_a_failed_edit_leaves_nothing(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    with pytest.raises(sqlite3.OperationalError), index.edit() as edit:
        broken(edit, root)
    assert list(reader.rows(root)) == []
    with index.edit() as edit:  # the directory that wasn't made is made now
        edit.put(root, "d/a", A)
    assert reader.row(root, "d/a") == A


def test_a_move_takes_the_versions_along(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    with index.edit() as edit:
        edit.put(root, "a", A)
        edit.keep_version(root, "a", B, 1)
        edit.move(root, "a", "d/b", A)
    assert reader.row(root, "a") is None
    assert reader.row(root, "d/b") == A
    assert [record.digest for _, record in reader.versions(root, "d/b")] == [B.digest]


def test_only_so_many_versions_are_kept(index: Index, reader: Reader) -> None:
    clock = FakeClock()
    index._clock = clock
    root = index.root("rule", "/r")
    for number in range(5):
        clock.advance(1)
        with index.edit() as edit:
            edit.keep_version(root, "a", A._replace(digest=bytes([number])), 2)
    assert [record.digest for _, record in reader.versions(root, "a")] == [b"\4", b"\3"]


def test_the_same_finding_again_is_renewed(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    told = Told(root, "a", Verdict.CORRUPT, State.OPEN, A, A._replace(digest=b"c" * 32))
    with index.edit() as edit:
        edit.put(root, "a", A)
        first, news = edit.tell(told)
        assert news
        assert edit.tell(told._replace(after=A._replace(digest=b"c" * 32, verified=99))) == (first, False)
        second, news = edit.tell(told._replace(after=A._replace(digest=b"d" * 32)))
        assert news
    assert [(change.id, change.times) for change in reader.changes()] == [(second, 1)]
    assert [change.state for change in reader.changes(states=())] == [State.CLEARED, State.OPEN]


@pytest.mark.parametrize("state", [State.APPROVED, State.REJECTED])
def test_a_decision_is_recorded_with_its_user(index: Index, reader: Reader, state: State) -> None:
    root = index.root("rule", "/r")
    new = A._replace(digest=b"c" * 32)
    with index.edit() as edit:
        edit.put(root, "a", A._replace(flags=WAITING))
        number, _ = edit.tell(Told(root, "a", Verdict.CORRUPT, State.OPEN, A, new))
    assert [change.id for change in index.decide([number, 77], state, uid=1000, comment="seen", versions=3)] == [number]
    decided = reader.changes(states=(state,))[0]
    assert (decided.uid, decided.comment) == (1000, "seen")
    row = reader.row(root, "a")
    assert row is not None
    approved = state is State.APPROVED
    assert (row.digest, row.flags) == ((new.digest, 0) if approved else (A.digest, WAITING))
    assert len(reader.versions(root, "a")) == approved
    again = index.decide([number], State.APPROVED, uid=0)
    assert bool(again) is not approved  # what is decided stays; a rejection can be taken back


def test_a_deletion_is_approved_by_forgetting_the_row(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    with index.edit() as edit:
        edit.put(root, "a", A)
        number, _ = edit.tell(Told(root, "a", Verdict.DELETED, State.PENDING, A))
    index.decide([number], State.APPROVED, uid=0)
    assert reader.row(root, "a") is None


def test_a_run_goes_on_at_its_cursor(index: Index, reader: Reader) -> None:
    with index.edit() as edit:
        run = edit.begin_run("rule", "verify", "quick", ODD, total=10, uid=3)
        edit.advance(run, "/r", b"d", 4, 400)
        edit.advance(run, "/r", b"e", 2, 200, findings=1)
    found = reader.runs("rule", "verify")[0]
    assert (found.scope, found.root, found.cursor, found.files, found.bytes) == (ODD, "/r", b"e", 6, 600)
    assert (found.state, found.findings, found.uid) == ("running", 1, 3)
    with index.edit() as edit:
        edit.end_run(run)
    assert reader.runs("rule")[0].state == "done"


def test_a_damaged_index_is_set_aside_and_its_findings_kept(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(str(path), FakeClock())
    root = index.root("rule", "/r")
    with index.edit() as edit:
        edit.tell(Told(root, "a", Verdict.CORRUPT, State.OPEN, A, B))
        edit.put_many(root, "d", [(f"{number:0200}", A) for number in range(2000)])
    index.close()
    with path.open("r+b") as file:
        page = sqlite3.connect(path).execute("SELECT max(pageno) FROM dbstat WHERE name = 'files'").fetchone()[0]
        file.seek((page - 1) * 4096)
        file.write(b"\0" * 4096)
    with Reader(str(path)) as reader, pytest.raises(StateError, match="restart the daemon"):
        list(reader.rows(root))
    assert (tmp_path / "index.db.suspect").exists()
    again = Index(str(path), FakeClock())
    try:
        assert again.set_aside is not None
        assert Path(again.set_aside).exists()
        assert again.kept == 1
        with Reader(str(path)) as reader:
            assert [change.path for change in reader.changes()] == ["a"]
            assert [(r.rule, r.root, r.built_ns) for r in reader.roots()] == [("rule", "/r", None)]
    finally:
        again.close()


def test_of_a_damaged_index_only_what_makes_sense_is_taken_over(tmp_path: Path, index: Index, reader: Reader) -> None:
    old = Index(str(tmp_path / "old#?.db"), FakeClock())
    root = old.root("rule", "/r")
    with old.edit() as edit:
        for number in range(6):
            edit.tell(Told(root, f"{number}", Verdict.CORRUPT, State.OPEN, A, B))
        for junk in (
            "verdict = 'x' WHERE path = x'30'", "before = x'ff' WHERE path = x'31'", "path = 7 WHERE path = x'32'",
            "root = 'x' WHERE path = x'33'", "message = x'ff' WHERE path = x'34'",
        ):  # fmt: skip
            edit.connection.execute(f"UPDATE changes SET {junk}")
    old.close()
    kept = take_over(index.connection, old.path)
    found = reader.changes()
    assert kept == len(found)
    assert found[-1].path == "5"
    assert not {change.path for change in found} & {"0", "1", "2"}


@pytest.mark.parametrize("made", ["roots (id, rule, root, selection)", "changes (a, b)", "other (a, b, c)"])
def test_a_damaged_index_never_keeps_from_starting(tmp_path: Path, index: Index, made: str) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.execute(f"CREATE TABLE {made}")
        values = ", ".join(["'x'"] * (made.count(",") + 1))
        old.execute(f"INSERT INTO {made} VALUES ({values})")
        old.commit()
    assert take_over(index.connection, str(tmp_path / "old.db")) == 0
    (tmp_path / "junk.db").write_bytes(b"junk" * 5000)
    assert take_over(index.connection, str(tmp_path / "junk.db")) == 0


def test_an_index_that_cant_be_opened_says_so(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    with (
        mock.patch("filewatchd.state.index.writing.Chain", side_effect=error),
        pytest.raises(StateError, match="disk I/O error"),
    ):
        Index(str(tmp_path / "index.db"), FakeClock())


def test_accepted_changes_are_forgotten_though_no_run_begins(index: Index, reader: Reader) -> None:
    root = index.root("rule", "/r")
    with mock.patch.multiple(editing, _ACCEPTED_KEPT=150, _TRIM_EVERY=100), index.edit() as edit:
        edit.tell(Told(root, "waits", Verdict.CORRUPT, State.OPEN, A, B))
        for number in range(500):
            edit.tell(Told(root, f"{number}", Verdict.MODIFIED, State.ACCEPTED, A, B))
    assert len(reader.changes(states=("accepted",))) <= 250
    assert [change.path for change in reader.changes()] == ["waits"]


def test_a_reader_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no index yet"):
        Reader(str(tmp_path / "none.db"))
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE a (b)")
    with pytest.raises(StateError, match="is no index of filewatchd's"):
        Reader(str(other))
