"""What is asked of an index: approvals by every condition, lists taken over, seals; and who asked is kept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions.base import Caller
from filewatchd.actions.checksum import answering
from filewatchd.actions.checksum import documents as d
from filewatchd.actions.checksum.answering import Answers
from filewatchd.actions.checksum.packages.grouping import grouped
from filewatchd.errors import ActionError
from filewatchd.model import FileIdentity
from filewatchd.state.index import forgetting
from filewatchd.state.index.audit import audit
from filewatchd.state.index.editing import Told
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Record, State, Verdict
from filewatchd.state.index.writing import Index
from filewatchd.testing import FakeClock
from filewatchd.testing.context import FakePool

ME = Caller(1000, 42)
ODD = "\udcff\n"


def record(content: int, size: int = 1) -> Record:
    return Record(FileIdentity(content, size, content, content), "sha256", content.to_bytes(32, "big"), verified=9)


class Engine:
    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []

    async def rewritten(self) -> None:
        self.told.append(("rewritten", []))

    def uses(self, rule: str) -> bool:
        return rule == "rule"

    def sealed(self, number: int, head: str, files: int) -> None:
        self.told.append(("sealed", [str(number), head, str(files)]))


class Stage:
    """An index with some files and changes that wait."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.index = Index(str(directory / "index.db"), self.clock)
        self.root = self.index.root("rule", "/r")
        self.other = self.index.root("other", "/r")
        self.engine = Engine()
        self.answers = Answers(self.index, "rule", FakePool(), self.engine, lambda: 5)
        with self.index.edit() as edit:
            for number, path in enumerate(["a", "d/b", "d/e/c", ODD], 1):
                edit.put(self.root, path, record(number))
            edit.built(self.root, "fs")

    def change(self, path: str, *, label: str | None = None, root: int | None = None) -> int:
        with Reader(self.index.path) as reader, self.index.edit() as edit:
            root = root or self.root
            before = reader.row(root, path)
            told = Told(root, path, Verdict.MODIFIED, State.PENDING, before, record(100), label=label)
            return edit.tell(told)[0]

    def ask(self, endpoint: str, **arguments: Any) -> Any:
        (taken,) = (each.arguments for each in d.ENDPOINTS if each.name == endpoint)
        return asyncio.run(self.answers.answer_to(endpoint, msgspec.convert(arguments, taken), ME))

    def read(self, what: Callable[[Reader], Any]) -> Any:
        with Reader(self.index.path) as reader:
            return what(reader)

    def waiting(self) -> list[str]:
        found = self.read(lambda reader: reader.changes(rule="rule"))
        return [change.path for change in found if change.state is not State.REJECTED]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.index.close()


def test_what_is_approved_becomes_the_row_and_who_did_it_is_kept(stage: Stage) -> None:
    number = stage.change("a")
    found = stage.ask("approve", ids=[number], comment="mine")
    assert found == d.Decided(rule="rule", state="approved", changes=1, waiting=0)
    assert stage.read(lambda reader: reader.row(stage.root, "a")).digest == record(100).digest
    (change,) = stage.read(lambda reader: reader.changes(states=("approved",)))
    assert (change.uid, change.comment) == (1000, "mine")
    assert stage.engine.told == [("rewritten", [])]
    assert stage.read(lambda reader: audit(reader.connection)).faults == []


@pytest.mark.parametrize(
    ("choice", "decided"),
    [
        ({"path": "/r/d"}, ["d/b", "d/e/c"]),
        ({"path": "/r/d/b"}, ["d/b"]),
        ({"path": "/r/d/"}, ["d/b", "d/e/c"]),
        ({"path": "/elsewhere"}, []),
        ({"path_b64": base64.b64encode(b"/r/\xff\n").decode()}, [ODD]),
        ({"glob": "*c"}, ["d/e/c"]),
        ({"glob": "/d/**"}, ["d/b", "d/e/c"]),
        ({"package": "tool"}, ["d/b"]),
        ({"package": "lib"}, ["d/e/c"]),
        ({"package": "lib:amd64"}, ["d/e/c"]),
        ({"package": "li"}, []),
        ({"package": "lib", "path": "/r/a"}, []),
        ({"all": True}, ["a", "d/b", "d/e/c", ODD]),
        ({"all": True, "until": 2}, ["a", "d/b"]),
        ({"since": "2000-01-01T00:00:00Z"}, ["a", "d/b", "d/e/c", ODD]),
        ({"since": "2100-01-01T00:00:00Z"}, []),
    ],
)
def test_each_condition_chooses(stage: Stage, choice: dict[str, Any], decided: list[str]) -> None:
    for path, label in [("a", None), ("d/b", "dpkg tool 2"), ("d/e/c", "dpkg lib:amd64 1"), (ODD, "rotated")]:
        stage.change(path, label=label)
    before = stage.waiting()
    assert stage.ask("reject", **choice, dry_run=True).changes == len(decided)
    assert stage.waiting() == before
    assert stage.ask("approve", **choice).changes == len(decided)
    assert stage.waiting() == [path for path in before if path not in decided]


@pytest.mark.parametrize(
    "choice", [{}, {"since": "yesterday"}, {"comment": "all of them", "until": 9}, {"glob": "[a"}, {"path_b64": "?"}]
)
def test_a_choice_of_nothing_in_particular_is_refused(stage: Stage, choice: dict[str, Any]) -> None:
    stage.change("a")
    with pytest.raises(ActionError):
        stage.ask("approve", **choice)
    assert stage.waiting() == ["a"]


def test_another_rules_changes_are_out_of_reach(stage: Stage) -> None:
    number = stage.change("a", root=stage.other)
    assert stage.ask("approve", ids=[number]).changes == 0
    assert stage.ask("approve", all=True).changes == 0


def test_what_is_rejected_stays_a_finding_and_can_be_approved_later(stage: Stage) -> None:
    number = stage.change("a")
    assert stage.ask("reject", ids=[number]) == d.Decided(rule="rule", state="rejected", changes=1, waiting=1)
    assert stage.ask("reject", ids=[number]).changes == 0
    assert stage.ask("approve", ids=[number]).changes == 1


def test_an_upgrade_is_one_thing_and_tells_from_which_version(stage: Stage) -> None:
    with stage.index.edit() as edit:
        edit.packages({"dpkg tool": "1"})
    stage.change("a", label="dpkg tool 2")
    stage.change("d/b", label="dpkg tool 2")
    stage.change("d/e/c")
    waiting = stage.read(lambda reader: reader.changes())
    (upgrade,), others = grouped(waiting, stage.read(lambda reader: reader.packages()))
    assert upgrade.text == "package tool 1 \N{RIGHTWARDS ARROW} 2, 2 files"
    assert [change.path for change in others] == ["d/e/c"]
    assert stage.ask("approve", package="tool").changes == 2
    assert stage.read(lambda reader: reader.packages()) == {"dpkg tool": "2"}
    assert stage.waiting() == ["d/e/c"]


def line(path: str, number: int, algorithm: str = "sha256") -> dict[str, str]:
    size = {"sha512": 64, "md5": 16}.get(algorithm, 32)
    where = {"path_b64": base64.b64encode(path.encode("utf-8", "surrogateescape")).decode()}
    return {**where, "algorithm": algorithm, "digest": number.to_bytes(size, "big").hex()}


def test_a_list_is_compared_and_taken_over(stage: Stage) -> None:
    files = [
        line("/r/a", 1), line(f"/r/{ODD}", 99), line("/r/d/b", 5, "sha512"), line("/r/none", 1), line("/x", 1),
        line("/r/d/e/c", 1, "md5"),
    ]  # fmt: skip
    looked = stage.ask("import", files=files, dry_run=True)
    assert stage.read(lambda reader: reader.row(stage.root, ODD)) == record(4)
    found = stage.ask("import", files=files)
    assert found == looked
    assert (found.same, found.taken, found.unfit) == (1, 1, 1)
    assert [each.path_b64 for each in found.differ] == [base64.b64encode(b"/r/\xff\n").decode()]
    assert [each.path for each in found.unknown] == ["/r/none", "/x"]
    taken = stage.read(lambda reader: reader.row(stage.root, ODD))
    assert taken == record(4)._replace(digest=(99).to_bytes(32, "big"), verified=0)
    assert stage.read(lambda reader: reader.row(stage.root, "d/b")).algorithm == "sha512"
    assert stage.read(lambda reader: audit(reader.connection)).faults == []


@pytest.mark.parametrize("digest", ["00", "zz", ""])
def test_what_is_no_digest_is_refused(stage: Stage, digest: str) -> None:
    with pytest.raises(ActionError, match="no digest of sha256"):
        stage.ask("import", files=[{"path": "/r/a", "algorithm": "sha256", "digest": digest}])


def test_only_what_nobody_keeps_is_forgotten_and_all_of_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "_SOME", 2)
    with pytest.raises(ActionError, match="take it out of the configuration"):
        stage.ask("forget", former="rule")
    number = stage.index.root("gone", "/gone")
    with stage.index.edit() as edit:
        for each in range(5):
            edit.put(number, f"d{each}/a", record(1))
        edit.keep_version(number, "d1/a", record(2), 5)
        edit.begin_run("gone", "verify")
        edit.built(number, "fs")
    stage.change("d1/a", root=number)
    before = stage.read(lambda reader: [row for root in reader.roots("rule") for row in reader.rows(root.id)])
    assert stage.ask("forget", former="gone") == d.Forgotten(rule="gone", roots=1, files=5)
    assert stage.ask("forget", former="gone").roots == 0
    tables = ("roots WHERE id", "directories WHERE root", "versions WHERE root", "changes WHERE root")
    for table in tables:
        assert stage.index.connection.execute(f"SELECT count(*) FROM {table} = ?", (number,)).fetchone() == (0,)
    assert stage.read(lambda reader: reader.runs("gone")) == []
    assert stage.read(lambda reader: [row for root in reader.roots("rule") for row in reader.rows(root.id)]) == before
    assert stage.read(lambda reader: audit(reader.connection).faults) == []
    again = stage.index.root("gone", "/gone")  # perhaps by the same number
    with stage.index.edit() as edit:
        edit.put(again, "d1/a", record(3))
    assert stage.read(lambda reader: [path for path, _ in reader.rows(again)]) == ["d1/a"]


def test_what_a_kill_left_half_forgotten_is_forgotten_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    number = stage.index.root("gone", "/gone")
    with stage.index.edit() as edit:
        edit.put(number, "d/a", record(1))
        edit.built(number, "fs")
    with monkeypatch.context() as context:
        context.setattr(forgetting, "_root", lambda *_: 0)  # where it died
        stage.ask("forget", former="gone")
    again = stage.index.root("gone", "/gone")
    assert again != number
    left = f"gone (forgotten {number})"
    assert [root.rule for root in stage.read(lambda reader: reader.roots())] == ["rule", "other", left, "gone"]
    assert stage.ask("forget", former=left).files == 1
    assert [root.rule for root in stage.read(lambda reader: reader.roots())] == ["rule", "other", "gone"]


def test_a_seal_waits_for_its_signature_and_then_is_kept(stage: Stage) -> None:
    sealing = stage.ask("seal")
    assert sealing.files == 4
    said = {"statement": "text", "key": base64.b64encode(b"key").decode(), "signature": "c2ln"}
    assert stage.ask("sealed", number=sealing.number, **said) == d.Sealed(number=sealing.number)
    with pytest.raises(ActionError, match="no seal 1"):
        stage.ask("sealed", number=1, **said)
    assert stage.engine.told == [("sealed", [str(sealing.number), sealing.head, "4"])]
    with pytest.raises(ActionError, match="base64"):
        stage.ask("sealed", number=sealing.number, **{**said, "key": "%"})
    rows = stage.index.connection.execute("SELECT number, statement, key, signature, uid FROM seals").fetchall()
    assert rows == [(sealing.number, "text", b"key", b"sig", 1000)]


def test_as_many_changes_as_there_are_files_are_decided_page_by_page(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_PAGE", 7)
    with stage.index.edit() as edit:
        for number in range(30):
            edit.tell(Told(stage.root, f"n/{number}", Verdict.NEW, State.PENDING, None, record(number)))
    assert stage.ask("approve", all=True, until=20) == d.Decided(rule="rule", state="approved", changes=20, waiting=10)
    assert stage.ask("reject", all=True) == d.Decided(rule="rule", state="rejected", changes=10, waiting=10)
    assert stage.ask("approve", glob="n/*").changes == 10
    assert stage.engine.told == [("rewritten", [])] * 3, "what waits is counted once for each, not for each page"
