"""SQLite's own system calls failing in turn: what it calls from C is out of `FaultyFS`'s reach, and within strace's.

A child does the work, with one call on the journal's files failing: first the first, then the second, until there is
no such call left. It does what the daemon does, and tries once more. Afterwards the journal is opened without faults:
it must hold what the child was told is written, whole jobs only, and must not have been set aside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from filewatchd.errors import FatalError, StateError
from filewatchd.jobs.journal import Journal, ManifestUpdate, NewJob, Result
from filewatchd.model import OK, Change, FileIdentity, Kind, Trigger
from filewatchd.state.database import Database
from filewatchd.state.manifest import Manifest
from filewatchd.testing.waiting import wait_until

_FILES = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.new", "journal.db.new-journal", "")
_REFUSED, _BUG = 3, 4
#: The calls that SQLite makes on its files, with errors that each may come back with; ``mmap`` shares the log's index.
FAULTS = [
    ("pwrite64", "ENOSPC", "new"),
    ("pwrite64", "ENOSPC", "existing"),
    ("pwrite64", "EIO", "existing"),
    ("pwrite64", "EINTR", "existing"),
    ("pread64", "EIO", "existing"),
    ("fdatasync", "EIO", "new"),
    ("fdatasync", "EIO", "existing"),
    ("fsync", "EIO", "new"),
    ("openat", "EMFILE", "new"),
    ("openat", "EMFILE", "existing"),
    ("openat", "EINTR", "existing"),
    ("ftruncate", "EIO", "existing"),
    ("ftruncate", "EINTR", "existing"),
    ("unlink", "EIO", "new"),
    ("mmap", "ENOMEM", "existing"),
]


class Told(NamedTuple):
    """What the child was told: its exit status, jobs that were started and finished, errors; and whether one failed."""

    status: int
    started: set[int]
    finished: set[int]
    errors: list[str]
    injected: bool


def change(number: int) -> Change:
    return Change(Kind.CREATED, f"/in/{number}", "/in", FileIdentity(number, 1, 1, 1))


def work(path: str, say: Callable[[str], None]) -> None:
    """A short life: jobs before and after a checkpoint, a durable step, a clean end."""
    with Database(path) as database:

        def insist(write: Callable[[], object]) -> object:
            """As `jobs.gate` does."""
            for _ in range(3):
                try:
                    return write()
                except StateError as error:
                    say(f"error {error}")
                    database.health.mended()
            return write()

        journal, manifest = Journal(database), Manifest(database)
        insist(lambda: journal.interrupted(1))
        baseline = manifest_of(manifest, insist)
        for number in range(1, 5):
            insist(lambda: journal.start(NewJob("rule", Trigger.CHANGE, 1, [change(number)], 1, 1)))  # noqa: B023
            say(f"started {number}")
            if number == 2:
                insist(lambda: journal.record_step(2, "intent"))
            update = ManifestUpdate(baseline, [(str(number), FileIdentity(number, 1, 1, 1), 0)])
            insist(lambda: journal.finish(number, Result([(change(number), OK)], [update]), 2))  # noqa: B023
            say(f"finished {number}")
            if number == 3:
                insist(database.checkpoint)


def manifest_of(manifest: Manifest, insist: Callable[[Callable[[], object]], object]) -> int:
    insist(lambda: manifest.begin("rule", "/in", "digest", 1))
    bound = manifest.bind("rule", "/in", "digest")
    assert bound is not None
    return bound.id


def child(path: str, go: int, told: int) -> int:
    os.read(go, 1)
    try:
        work(path, lambda text: _write(told, text))
    except (StateError, FatalError) as error:
        _write(told, f"error {error}")
        return _REFUSED
    except BaseException:  # noqa: BLE001 - the parent fails with it
        _write(told, f"error {traceback.format_exc()!r}")
        return _BUG
    return 0


def _write(told: int, text: str) -> None:
    os.write(told, text.encode() + b"\n")


def under_fault(place: Path, call: str, error: str, number: int) -> Told:
    """Do the work in a child whose ``number``-th ``call`` on the journal's files fails."""
    go, told, trace = os.pipe(), os.pipe(), place.parent / f"{place.name}.trace"
    pid = os.fork()
    if pid == 0:
        os._exit(child(str(place / "journal.db"), go[0], told[1]))
    os.close(told[1])
    paths = [word for name in _FILES for word in ("-P", str(place / name).rstrip("/"))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), *paths, *inject, "-p", str(pid)])
    wait_until(lambda: "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), "strace holds the child")
    os.write(go[1], b"x")
    with os.fdopen(told[0], errors="replace") as pipe:
        lines = [line.partition(" ") for line in pipe.read().splitlines()]
    _, status = os.waitpid(pid, 0)
    strace.wait(20)
    for fd in go:
        os.close(fd)
    numbers = {word: {int(rest) for first, _, rest in lines if first == word} for word in ("started", "finished")}
    errors = [rest for first, _, rest in lines if first == "error"]
    injected = "(INJECTED)" in trace.read_text(errors="replace")
    return Told(os.waitstatus_to_exitcode(status), numbers["started"], numbers["finished"], errors, injected)


def judge(place: Path, told: Told) -> None:
    """Open the journal without faults, and hold it against what the child was told."""
    with Database(str(place / "journal.db")) as database:
        assert database.set_aside is None
        assert database.promise_broken_since is None
        assert database.execute("PRAGMA integrity_check(1)") == [("ok",)]
        jobs = {number for (number,) in database.execute("SELECT id FROM jobs")}
        done = {number for (number,) in database.execute("SELECT id FROM jobs WHERE state = 'ok'")}
        rows = {int(name) for (name,) in database.execute("SELECT path FROM manifest")}
        steps = {number for (number,) in database.execute("SELECT job FROM steps")}
    assert told.started <= jobs
    assert told.finished <= done
    assert rows == done
    assert 2 in steps or 2 not in told.finished


@pytest.mark.skipif(shutil.which("strace") is None and "CI" not in os.environ, reason="strace is not installed")
@pytest.mark.parametrize(("call", "error", "file"), FAULTS, ids=["-".join(fault) for fault in FAULTS])
def test_every_call_failing_in_turn(tmp_path: Path, call: str, error: str, file: str) -> None:
    number = 0
    while True:
        number += 1
        place = tmp_path / f"{number}"
        place.mkdir()
        if file == "existing":
            Database(str(place / "journal.db")).close()
        told = under_fault(place, call, error, number)
        assert told.status in (0, _REFUSED), told
        assert all("; " in message for message in told.errors), told  # what failed, and what to do
        judge(place, told)
        if not told.injected:
            break
        shutil.rmtree(place)
    assert told == Told(0, {1, 2, 3, 4}, {1, 2, 3, 4}, [], injected=False)
    assert number > 1  # at least one call was made to fail
