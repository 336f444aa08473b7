"""State under failing system calls, damage and kill -9: the old is there or the new, and a loss is reported."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from filewatchd.errors import FatalError, StateError
from filewatchd.jobs.journal import Journal
from filewatchd.model import FileIdentity
from filewatchd.state import atomic
from filewatchd.state.database import Database
from filewatchd.state.lock import InstanceLock
from filewatchd.state.manifest import Manifest
from filewatchd.state.schema import MIGRATIONS
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.faults import FaultyFS

CALLS = ("open", "write", "fchmod", "fsync", "rename", "close", "unlink")
ERRORS = [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR]


def failing(
    work: Callable[[], object], error: int, *, sticky: bool, calls: Sequence[str] = CALLS
) -> Iterator[FaultyFS]:
    """Do the work with its first call failing, then its second, and so on; yields after each."""
    number = 1
    while True:
        with FaultyFS(calls, fail=number, error=error, sticky=sticky) as faults:
            try:
                work()
            except (StateError, FatalError, OSError) as failure:
                assert str(failure)  # noqa: PT017 - what it says is looked at elsewhere
        if not faults.failed:
            return
        yield faults
        number += 1


# ---- atomic replacement


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
def test_every_call_of_a_replacement_failing_in_turn(tmp_path: Path, error: int, sticky: bool) -> None:
    target = tmp_path / "state.json"
    rounds = 0
    target.write_bytes(b"old")
    for faults in failing(lambda: atomic.replace(str(target), b"new" * 10), error, sticky=sticky):
        rounds += 1
        content = target.read_bytes()
        assert content in (b"old", b"new" * 10), faults.failed
        left = [name for name in os.listdir(tmp_path) if name != "state.json"]
        assert atomic.clean_leftovers(str(tmp_path)) == left
        target.write_bytes(b"old")
    assert rounds >= 8
    assert target.read_bytes() == b"new" * 10


def test_the_error_says_which_file_stands() -> None:
    with pytest.raises(StateError) as caught:
        atomic.replace("/proc/self/nothing", b"")
    assert "the old file is kept" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [("write", "the old file is kept: No space left on device; free space"), ("fsync", "the old file is kept")],
)
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, call: str, says: str) -> None:
    target = tmp_path / "state.json"
    target.write_bytes(b"old")
    with FaultyFS([call], fail=1, error=errno.ENOSPC), pytest.raises(StateError, match=says) as caught:
        atomic.replace(str(target), b"new")
    assert caught.value.errno == errno.ENOSPC
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_directory_that_cannot_be_synced_has_the_new_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_bytes(b"old")
    with FaultyFS(["fsync"], fail=2), pytest.raises(StateError, match="was replaced, but may not survive"):
        atomic.replace(str(target), b"new")
    assert target.read_bytes() == b"new"


def test_a_write_that_takes_only_a_byte_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:1]))
    atomic.replace(str(tmp_path / "x"), b"slowly")
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == b"slowly"


# ---- making, migrating and setting aside a database


@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
def test_every_call_of_making_a_database_failing_in_turn(tmp_path: Path, error: int) -> None:
    path = str(tmp_path / "journal.db")

    def check_and_clear() -> None:
        with Database(path) as database:
            assert database.set_aside is None
            assert database.promise_broken_since is None
        os.unlink(path)

    for _ in failing(lambda: Database(path).close(), error, sticky=False):
        check_and_clear()
    check_and_clear()


@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
def test_every_call_of_setting_aside_failing_in_turn(tmp_path: Path, error: int) -> None:
    def prepare() -> str:
        place = Path(tmp_path, str(len(os.listdir(tmp_path))))
        place.mkdir()
        (place / "journal.db").write_bytes(b"bad")
        (place / "journal.db-wal").write_bytes(b"its log")
        return str(place / "journal.db")

    places: list[str] = []

    def work() -> None:
        Database(places[-1]).close()

    places.append(prepare())
    for _ in failing(work, error, sticky=False):
        Database(places[-1]).close()
        kept = [path for path in Path(places[-1]).parent.glob("journal.db.corrupt-*") if path.suffix[-4:] != "-shm"]
        assert sorted(path.read_bytes() for path in kept) == [b"bad", b"its log"]
        places.append(prepare())


def test_a_backup_that_fails_leaves_the_old_schema(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    Database(path).close()
    newer = (*MIGRATIONS, "CREATE TABLE later (x);\n")
    with FaultyFS(["rename"], fail=1, error=errno.ENOSPC), pytest.raises(StateError, match="free space"):
        Database(path, migrations=newer)
    Database(path).close()


# ---- damage


def written(tmp_path: Path) -> Path:
    """A database with its log, as a kill leaves them: 40 commits, the first 20 copied by a checkpoint."""
    place = tmp_path / "live"
    place.mkdir()
    with Database(str(place / "journal.db")) as database:
        manifest = Manifest(database)
        baseline = manifest.begin("rule", "/root", "digest", 1).id
        for commit in range(40):
            manifest.put(baseline, [(f"{commit:03}/{n}", FileIdentity(n, 1, 1, 1), 0) for n in range(50)])
            if commit == 19:
                database.checkpoint()
        shutil.copytree(place, tmp_path / "copy")
    return tmp_path / "copy" / "journal.db"


def survey(path: Path, clock: FakeClock) -> tuple[bool, int]:
    """Open it, write to it; was it set aside, and how many rows does it have?"""
    with Database(str(path), clock=clock) as database:
        manifest = Manifest(database)
        bound = manifest.bind("rule", "/root", "digest")
        rows = manifest.count(bound.id) if bound else 0
        Journal(database)
        manifest.begin("rule", "/other", "digest", 2)
        assert database.execute("PRAGMA integrity_check(1)") == [("ok",)]
        assert (database.promise_broken_since is not None) == (database.set_aside is not None)
        return database.set_aside is not None, rows


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_cut_off_at_many_lengths(tmp_path: Path, suffix: str) -> None:
    original = written(tmp_path)
    size = os.stat(f"{original}{suffix}").st_size
    lengths = sorted({0, 1, 16, 100, 512, 4095, 4096, *range(0, size, max(1, size // 40)), size - 1, size})
    for length in lengths:
        place = tmp_path / f"cut-{length}"
        shutil.copytree(original.parent, place)
        os.truncate(f"{place}/journal.db{suffix}", length)
        aside, rows = survey(place / "journal.db", FakeClock())
        assert rows % 50 == 0  # whole commits
        if suffix == "-shm" or length == size:
            assert (aside, rows) == (False, 2000)
        elif suffix == "-wal":
            assert aside or rows >= 1000  # what a checkpoint copied is never lost
        elif aside:
            (kept,) = [path for path in place.glob("journal.db.corrupt-*") if path.name.endswith("Z")]
            assert kept.stat().st_size == length
        else:
            assert rows == 2000  # the log had every page that was cut off
        shutil.rmtree(place)


def test_noise_in_any_page(tmp_path: Path) -> None:
    original = written(tmp_path)
    size = original.stat().st_size
    found = set()
    for page in range(0, size // 4096, 3):
        place = tmp_path / f"noise-{page}"
        shutil.copytree(original.parent, place)
        with open(place / "journal.db", "r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        aside, rows = survey(place / "journal.db", FakeClock())
        assert aside or rows == 2000
        found.add(aside)
        shutil.rmtree(place)
    assert True in found


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("unit", [512, 4096])
def test_sectors_and_pages_that_a_power_cut_left_unwritten(tmp_path: Path, suffix: str, unit: int) -> None:
    """A disk writes sectors: one that it didn't come to has zeros, and a page may be torn."""
    original = written(tmp_path)
    size = os.stat(f"{original}{suffix}").st_size
    found = set()
    for start in range(0, size, unit * max(1, size // unit // 30)):
        place = tmp_path / f"torn-{start}"
        shutil.copytree(original.parent, place)
        with open(f"{place}/journal.db{suffix}", "r+b") as file:
            file.seek(start)
            file.write(bytes(min(unit, size - start)))
        aside, rows = survey(place / "journal.db", FakeClock())
        assert rows % 50 == 0
        assert aside or rows >= (1000 if suffix else 2000)
        found.add(aside)
        shutil.rmtree(place)
    assert False in found if suffix else True in found


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"pid 1\nstarted x\n", b"\xff" * 5000, b"pid 99999999\nstarted 1\nsince"]
)
def test_a_lock_file_may_hold_anything(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "filewatchd.lock"
    path.write_bytes(content)
    with InstanceLock(str(path)), pytest.raises(FatalError, match="filewatchd runs already"):
        InstanceLock(str(path)).acquire()


@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
def test_every_call_of_taking_the_lock_failing_in_turn(tmp_path: Path, error: int) -> None:
    path = str(tmp_path / "filewatchd.lock")
    rounds = 0

    def work() -> None:
        with InstanceLock(path):
            pass

    for faults in failing(work, error, sticky=False, calls=("open", "fstat", "ftruncate", "pwrite")):
        rounds += 1
        with InstanceLock(path):
            assert faults.failed
    assert rounds >= 3


# ---- kill -9

WRITER = """
import os, sys
from filewatchd.jobs.journal import Journal, ManifestUpdate, NewJob, Result
from filewatchd.model import OK, Change, FileIdentity, Kind, Trigger
from filewatchd.state.database import Database
from filewatchd.state.lock import InstanceLock
from filewatchd.state.manifest import Manifest
import threading

database = Database(sys.argv[1])
journal, manifest = Journal(database), Manifest(database)
baseline = manifest.begin("rule", "/in", "digest", 1).id
journal.interrupted(1)
while True:
    number = journal._next_id
    change = Change(Kind.CREATED, f"/in/{number}", "/in", FileIdentity(number, 1, 1, 1))
    journal.start(NewJob("rule", Trigger.CHANGE, 1, [change], 1, 1))
    os.write(1, b"s%d\\n" % number)
    if number % 7 == 0:
        journal.record_step(number, "intent", {"n": number})
    update = ManifestUpdate(baseline, [(str(number), change.identity, 0)])
    journal.finish(number, Result([(change, OK)], [update]), 2)
    os.write(1, b"f%d\\n" % number)
    if number % 50 == 0:
        thread = threading.Thread(target=database.checkpoint)
        thread.start()
        if number % 100 == 0:
            thread.join()
"""


def test_a_writer_killed_again_and_again_keeps_what_it_committed(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    started: set[int] = set()
    finished: set[int] = set()
    for life in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _, line in zip(range(120 + 37 * life), writer.stdout, strict=False):
            (started if line[:1] == b"s" else finished).add(int(line[1:]))
        os.kill(writer.pid, signal.SIGKILL)
        for line in writer.communicate()[0].splitlines():
            if line[1:]:
                (started if line[:1] == b"s" else finished).add(int(line[1:]))
        with Database(path) as database:
            assert database.set_aside is None
            manifest = Manifest(database)
            bound = manifest.bind("rule", "/in", "digest")
            assert bound is not None
            rows = {int(name) for name in manifest.below(bound.id, "")}
            journaled = {number for (number,) in database.execute("SELECT id FROM jobs")}
            done = {number for (number,) in database.execute("SELECT id FROM jobs WHERE state = 'ok'")}
            steps = {number for (number,) in database.execute("SELECT job FROM steps")}
            assert started <= journaled
            assert finished <= rows == done
            assert {number for number in finished if number % 7 == 0} <= steps
            assert database.execute("PRAGMA integrity_check(1)") == [("ok",)]
    assert len(finished) > 1000
