"""A log read as one stream while it is rotated under the reader: every line once, in order, whatever the method."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from filewatchd import codecs
from filewatchd.actions.rotate import stream as module
from filewatchd.actions.rotate.ledger import Archive, Ledger, hidden, stamp
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.offline import Ledgers, named, named_parts, strangers, unknown
from filewatchd.actions.rotate.reader import Reader, joined
from filewatchd.actions.rotate.stream import Stream
from filewatchd.errors import StateError
from filewatchd.state.database import Database
from filewatchd.state.tables import ActionTables
from filewatchd.work.inodes import inode_of

CUT = 512


class Rotation:
    """A log and what rotates it, step by step, as the action does: the ledger first, then the disk, then the ledger."""

    def __init__(self, where: Path) -> None:
        self.live = where / "app.log"
        self.live.touch()
        self.state = where / "state"
        self.state.mkdir()
        self.database = Database(str(self.state / "journal.db"))
        self.ledger = Ledger(ActionTables(self.database, "logs", "1.rotate"))
        self.written = 0
        self.turns = 0
        self.gzip = codecs.codec("gzip")

    def write(self, lines: int = 40) -> None:
        with self.live.open("ab") as end:
            for _ in range(lines):
                end.write(b"line %06d of the log\n" % self.written)
                self.written += 1

    def text(self, lines: int | None = None) -> bytes:
        return b"".join(b"line %06d of the log\n" % n for n in range(self.written if lines is None else lines))

    def skip(self) -> int:
        rows = [row for row in self.ledger.of(str(self.live)) if row.inode == inode_of(str(self.live))]
        return rows[-1].skip if rows else 0

    def begun(self, method: str, **values: Any) -> Archive:
        self.turns += 1
        inode = inode_of(str(self.live))
        times: dict[str, Any] = {"first_ns": self.turns * 10**12, "last_ns": (self.turns + 1) * 10**12}
        row = Archive(
            0, str(self.live), State.NONE, method, f"t{self.turns}", inode.ino, inode.btime_ns, **values, **times
        )
        return self.ledger.begin(row)

    def pack(self, source: Path, start: int, end: int | None, name: str) -> Path:
        made = self.live.with_name(name)
        with source.open("rb") as content, made.open("w+b") as target:
            list(codecs.compress(content.fileno(), target.fileno(), self.gzip, start=start, end=end, member=300))
        return made

    def named(self, row: Archive, temp: Path, **values: Any) -> Archive:
        final = temp.with_name(f"app.log.{row.txn}.gz")
        temp.rename(final)
        ino, btime = inode_of(str(final))
        return self.ledger.step(
            row, Step.NAME, path=str(final), codec="gzip", size=final.stat().st_size, file_ino=ino, file_btime_ns=btime,
            **values,
        )  # fmt: skip

    def exchange(self) -> Iterator[None]:
        start = self.skip()
        row = self.begun("exchange", begin=start, position=start, skip=start)
        yield
        plain = self.live.with_name(hidden("app.log", row.txn, "rotated"))
        self.live.rename(plain)
        self.live.touch()
        yield
        row = self.ledger.step(row, Step.SWAP, plain=str(plain))
        yield
        end = plain.stat().st_size
        row = self.ledger.step(row, Step.CLOSE, end=end)
        yield
        middle = plain.read_bytes().find(b"\n", start + (end - start) // 2) + 1 or end
        temp = self.pack(plain, start, middle, f".{row.txn}.gz")
        size = temp.stat().st_size
        row = self.ledger.step(row, Step.MEMBER, path=str(temp), codec="gzip", size=size, position=middle)
        with plain.open("r+b") as punched:  # as where space is short
            punched.write(b"\0" * (middle // CUT * CUT))
        yield
        with plain.open("rb") as content, temp.open("r+b") as target:
            list(codecs.compress(content.fileno(), target.fileno(), self.gzip, start=middle, end=end, at=size))
        row = self.named(row, temp)
        yield
        plain.rename(self.state / row.txn)  # not deleted: its number would be given out again, in the same tick
        self.ledger.step(row, Step.FREE, skip=0)

    def collapse(self) -> Iterator[None]:
        start, end = self.skip(), self.live.stat().st_size
        row = self.begun("collapse", begin=start, end=end, skip=start)
        mark = stamp(row.txn)
        cut = max(0, end - len(mark)) // CUT * CUT
        yield
        row = self.named(row, self.pack(self.live, start, end, f".{row.txn}.gz"), skip=end, position=end)
        yield
        if cut:
            with self.live.open("r+b") as head:
                head.seek(cut)
                head.write(mark + b"\n" * (end - cut - len(mark)))
            row = self.ledger.step(row, Step.STAMP, cut=cut)
            yield
            data = self.live.read_bytes()[cut:]
            with self.live.open("r+b") as whole:  # what FALLOC_FL_COLLAPSE_RANGE does at once
                whole.write(data)
                whole.truncate()
            yield
        self.ledger.step(row, Step.FREE, skip=end - cut)
        if cut:
            yield
            with self.live.open("r+b") as rest:
                rest.write(b"\n" * len(mark))

    def punch(self) -> Iterator[None]:
        start, end = self.skip(), self.live.stat().st_size
        row = self.begun("punch", begin=start, end=end, skip=start)
        yield
        row = self.named(row, self.pack(self.live, start, end, f".{row.txn}.gz"), skip=end, position=end)
        yield
        with self.live.open("r+b") as hole:
            hole.write(b"\0" * (end // CUT * CUT))
        self.ledger.step(row, Step.FREE, skip=end)

    def steps(self, chance: random.Random) -> Iterator[None]:
        while True:
            yield from chance.choice([self.exchange, self.collapse, self.punch])()
            self.write(chance.randrange(60))
            yield

    def stream(self, **options: Any) -> Stream:
        return Stream(str(self.live), Ledgers(Reader(str(self.state)), str(self.live)), **options)


@pytest.fixture
def rotation(tmp_path: Path) -> Iterator[Rotation]:
    made = Rotation(tmp_path)
    yield made
    made.database.close()


@pytest.mark.parametrize("seed", range(6))
def test_rotation_under_the_reader(rotation: Rotation, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 200)
    chance = random.Random(seed)
    rotation.write(100)
    turning = islice(rotation.steps(chance), 70)
    for _ in islice(turning, chance.randrange(40)):
        pass
    standing, read = rotation.written, b""
    reading = rotation.stream(threads=chance.choice([1, 2]))
    for piece in reading:
        read += piece.data
        for _ in islice(turning, chance.randrange(4)):
            pass
    assert reading.missing == []
    assert read == rotation.text(read.count(b"\n"))
    assert read.count(b"\n") >= standing


@pytest.mark.parametrize("method", ["exchange", "collapse", "punch"])
def test_at_every_step_of_a_rotation(rotation: Rotation, method: str) -> None:
    for _ in range(2):
        rotation.write()
        for _ in getattr(rotation, method)():
            assert b"".join(piece.data for piece in rotation.stream()) == rotation.text()
        assert b"".join(piece.data for piece in rotation.stream()) == rotation.text()


def test_a_missing_and_a_damaged_archive_are_told_and_the_rest_is_given(rotation: Rotation) -> None:
    for _ in range(3):
        rotation.write()
        for _ in rotation.exchange():
            pass
    rotation.write()
    first, second, _ = sorted(rotation.live.parent.glob("app.log.*.gz"))
    first.unlink()
    second.write_bytes(b"\x1f\x8b nothing of the kind")
    reading = rotation.stream()
    assert b"".join(piece.data for piece in reading) == rotation.text()[-80 * 23 :]
    (gone, why), (damaged, how) = reading.missing
    assert (gone, why) == (str(first), "No such file or directory")
    assert damaged == str(second)
    assert how.startswith("damaged at byte 0")


def test_archives_that_are_not_wanted_are_left_out(rotation: Rotation) -> None:
    for _ in range(3):
        rotation.write()
        for _ in rotation.exchange():
            pass
    ledgers = Ledgers(Reader(str(rotation.state)), str(rotation.live))
    reading = Stream(str(rotation.live), ledgers, wanted=lambda part: part.last_ns == 4 * 10**12)
    assert b"".join(piece.data for piece in reading) == rotation.text()[-40 * 23 :]


def test_without_a_journal_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="can't be read"):
        Reader(str(tmp_path))


def test_archives_from_before_the_ledger_come_first(rotation: Rotation) -> None:
    live = rotation.live
    for number, text in ((2, b"oldest\n"), (1, b"older\n")):
        live.with_name(f"app.log.{number}").write_bytes(text)
        os.utime(live.with_name(f"app.log.{number}"), ns=(0, 10**9))
    live.with_name("app.log.3").write_bytes(b"a copy that somebody made later\n")
    for _ in range(2):
        rotation.write()
        for _ in rotation.exchange():
            pass
    reader = Reader(str(rotation.state))
    rows = reader.archives(str(live))
    ledgers = Ledgers(reader, str(live), unknown(str(live), rows))
    assert strangers(str(live), lambda: rows) == [str(live.with_name("app.log.3"))]
    assert b"".join(piece.data for piece in Stream(str(live), ledgers)) == b"oldest\nolder\n" + rotation.text()


def test_archives_that_another_program_made_of_the_same_file_come_first(
    rotation: Rotation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Those of copytruncate are younger than the log's inode; they may lie where ours go, whose names may shift."""
    live, folder = rotation.live, rotation.live.with_name("elsewhere")
    folder.mkdir()
    rotation.write()
    for _ in rotation.exchange():
        pass
    reader = Reader(str(rotation.state))
    rows = reader.archives(str(live))
    path, plain = Path(rows[0].path or ""), live.with_name("app.log.7")
    for other in (live.with_name("app.log.1"), folder / "app.log.2"):
        other.write_bytes(other.name.encode() + b"\n")
        os.utime(other, ns=(0, rows[0].last_ns - 1))
    os.utime(path, ns=(0, rows[0].last_ns - 1))
    assert [os.path.basename(part.path) for part in unknown(str(live), rows)] == ["app.log.1"]
    live.with_name(path.name.removesuffix(".gz")).write_bytes(rotation.text())  # somebody has unpacked ours
    os.utime(live.with_name(path.name.removesuffix(".gz")), ns=(0, rows[0].last_ns - 1))
    assert [os.path.basename(part.path) for part in unknown(str(live), rows)] == ["app.log.1"]
    live.with_name(path.name.removesuffix(".gz")).unlink()
    path.rename(plain)  # numbers shift between two looks
    found = unknown(str(live), [rows[0]._replace(path=str(folder / "app.log.9"))])
    assert [os.path.basename(part.path) for part in found] == ["app.log.2", "app.log.1"]
    shared = tmp_path_factory.mktemp("shared")  # where another log of this name may have its archives
    (shared / "app.log.3").touch()
    os.utime(shared / "app.log.3", (0, 0))
    found = unknown(str(live), [rows[0]._replace(path=str(shared / "app.log.9"))])
    assert [os.path.basename(part.path) for part in found] == ["app.log.1"]


# ---- by names


def names(live: Path) -> list[str]:
    return [os.path.relpath(each.path, live.parent) for each in named(str(live))]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["app.log.2.gz", "app.log.1", "app.log.10.gz", "app.log.x", "other.log.1"],
         ["app.log.10.gz", "app.log.2.gz", "app.log.1"]),
        (["app.log-20261126.gz", "app.log-20261127", "archive/app.log-20261125.xz"],
         ["archive/app.log-20261125.xz", "app.log-20261126.gz", "app.log-20261127"]),
        (["app-20261126.log.gz", "app-20261127.log", "application.log.1"], ["app-20261126.log.gz", "app-20261127.log"]),
        (["app.log.1", "app.log.1.gz"], ["app.log.1"]),
        (["app.log-20261126-010203.gz", ".app.log.20261127-010203-0a1b2c3d.rotated", "app.log.1.tmp"],
         ["app.log-20261126-010203.gz", ".app.log.20261127-010203-0a1b2c3d.rotated"]),
    ],
)  # fmt: skip
def test_archives_are_found_by_their_names(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    live = tmp_path / "app.log"
    (tmp_path / "archive").mkdir()
    for name in files:
        (tmp_path / name).touch()
    (tmp_path / "app.log.3").symlink_to("/etc/passwd")
    assert names(live) == expected


def test_a_punched_head_is_no_line(tmp_path: Path) -> None:
    live = tmp_path / "app.log"
    with live.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"the rest\n")
    (part,) = named_parts(str(live))
    assert live.read_bytes()[part.start :].lstrip(b"\0") == b"the rest\n"
    assert part.start > 0


def test_the_histories_of_rules_that_had_a_log_in_turn_are_one() -> None:
    """By time; and numbers that grow, by which a stream knows where it is."""
    row = Archive(1, "/log", State.DONE, "exchange", "txn", 1, 1)
    first = [row._replace(id=number, last_ns=last) for number, last in ((1, 10), (2, 20), (3, 20), (4, 60))]
    second = [row._replace(id=number, last_ns=last) for number, last in ((1, 30), (2, 40))]
    for histories in ([first, second], [second, first]):
        found = joined(histories)
        assert [each.last_ns for each in found] == [10, 20, 20, 30, 40, 60]
        assert [each.id for each in found] == sorted({each.id for each in found})
        assert found[:3] == first[:3], "the same as before the other one had it"
    assert joined([first]) == first
    assert joined([]) == []
