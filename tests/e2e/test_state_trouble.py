"""State that can't be written while the daemon runs: jobs stop, changes wait in memory, and all goes on by itself."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Daemon, eventually, on_disk
from tests.e2e.steps import CONTENT, ask, configure, gate, quiet, shell, tell, told
from tests.scripts.mounts import Mounts

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
SHUT = "no job starts, changes wait in memory:"
OPENED = "state is written again"


@pytest.fixture
def mounts(tmp_path: Path, daemon: Daemon) -> Iterator[Mounts]:
    """Mounts that go away after the daemon."""
    mounts = Mounts(tmp_path)
    yield mounts
    daemon.kill()
    mounts.close()


def fill(place: Path) -> Path:
    """Leave no room on a filesystem; returns the file that takes it."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(place).f_bavail == 0
    return ballast


def small(daemon: Daemon, mounts: Mounts, kind: str = "tmpfs") -> None:
    """Give the daemon a small filesystem of its own for its state."""
    daemon.state_dir.mkdir(mode=0o700)
    mounts.mount(kind, str(daemon.state_dir), size="3m")
    daemon.state_dir.chmod(0o700)


@contextlib.contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Hold the journal's write lock, as somebody with a database tool may."""
    stranger = sqlite3.connect(daemon.state_dir / "journal.db", isolation_level=None, timeout=20)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        stranger.close()


def state(daemon: Daemon) -> dict[str, Any]:
    return dict(ask(daemon, "status")["journal"])


def stop_writing(daemon: Daemon, start: int = 0) -> int:
    """Make changes until their jobs can't be journaled any more; returns how many."""
    for number in range(start, start + 5000):
        (daemon.root / f"{number}").write_text("x")
        if number % 10 == 0 and not state(daemon)["writable"]:
            return number + 1
    raise AssertionError("it could always be written")


def until_told_again(daemon: Daemon, tries: int = 6) -> None:
    """Wait until it was tried so often that a word for each try would show."""
    eventually(lambda: state(daemon)["tries"] >= tries, "it tries again and again", 30)


def dirty(daemon: Daemon, least: int) -> dict[str, Any]:
    """Wait until so many paths of the rule are dirty; returns the status."""

    def status() -> dict[str, Any] | None:
        found = ask(daemon, "status")
        return found if found["rules"]["recorded"]["dirty"] >= least else None

    return eventually(status, f"{least} paths wait", 20) or {}


@needs_root
def test_a_full_disk_stops_jobs_and_not_the_intake(daemon: Daemon, mounts: Mounts) -> None:
    small(daemon, mounts)
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    (daemon.root / "first").write_text("x")
    daemon.sees_the_disk()
    ballast = fill(daemon.state_dir)
    made = stop_writing(daemon)
    daemon.says(SHUT)
    until_told_again(daemon)
    for number in range(made, made + 50):
        (daemon.root / f"{number}").write_text("x")
    status = dirty(daemon, 50)
    assert status["rules"]["recorded"]["waits"] == "state can't be written"
    assert "free space on this filesystem" in status["journal"]["why"] or "the space on it" in status["journal"]["why"]
    assert status["journal"]["since_ns"] > 0
    assert status["journal"]["failed"] == 1
    assert daemon.log().count(SHUT) == 1
    assert daemon.log().count("state.json could not be replaced") <= 1
    assert "Traceback" not in daemon.log()
    ballast.unlink()
    daemon.sees_the_disk()
    daemon.says(OPENED)
    assert state(daemon)["writable"]
    assert ask(daemon, "status")["rules"]["recorded"]["waits"] is None
    assert daemon.log().count(OPENED) == 1


@needs_root
def test_a_full_disk_at_the_end_and_at_the_start(daemon: Daemon, mounts: Mounts) -> None:
    small(daemon, mounts)
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    ballast = fill(daemon.state_dir)
    made = stop_writing(daemon)
    daemon.stop()  # in order, with status 0
    (daemon.root / "while it was stopped").write_text("x")
    with (daemon.state_dir / "more").open("wb") as more, contextlib.suppress(OSError):
        more.write(bytes(3 * 2**20))  # closing gave some room back
    process = daemon.launch()
    assert process.wait(20) == 1
    last = daemon.log().splitlines()[-1]
    assert last.startswith("filewatchd: ")
    assert "free space" in last or "the space on it" in last
    ballast.unlink()
    (daemon.state_dir / "more").unlink()
    daemon.start()
    daemon.sees_the_disk()
    assert len(on_disk(daemon.root)) == made + 1
    assert "set aside" not in daemon.log()
    assert "is kept as" not in daemon.log()


@needs_root
def test_a_first_start_on_a_full_disk(daemon: Daemon, mounts: Mounts) -> None:
    small(daemon, mounts)
    daemon.configure(daemon.rule(initial="process", changes=CONTENT))
    (daemon.root / "a").write_text("x")
    ballast = fill(daemon.state_dir)
    assert daemon.launch().wait(20) == 1
    assert "free space" in daemon.log().splitlines()[-1]
    ballast.unlink()
    daemon.start()
    daemon.sees_the_disk()


@needs_root
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_filesystem_that_becomes_read_only(daemon: Daemon, mounts: Mounts, durability: str) -> None:
    """As ext4 does by itself when it meets an error. What wasn't synced by then is lost, as by a power cut."""
    small(daemon, mounts, "ext4")
    settings = {"durability": durability, "shutdown_timeout": "20s"}
    configure(daemon, daemon.rule(changes=CONTENT), daemon=settings)
    daemon.start()
    (daemon.root / "first").write_text("x")
    daemon.sees_the_disk()
    quiet(daemon)
    subprocess.run(["mount", "-o", "remount,abort", str(daemon.state_dir)], check=True)
    made = stop_writing(daemon)
    daemon.says(SHUT)
    assert "mount the filesystem read-write" in state(daemon)["why"]
    daemon.stop()
    mounts.umount(str(daemon.state_dir))
    mounts.mount("ext4", str(daemon.state_dir))
    daemon.start()
    daemon.sees_the_disk()
    assert ask(daemon, "flush")["done"] is True
    assert len(on_disk(daemon.root)) == made + 1
    firsts = [change for change in told(daemon.recorder, daemon.root) if change == ("created", "first")]
    assert len(firsts) == 1 or durability == "normal"


def test_an_outcome_waits_in_memory_until_it_can_be_written(daemon: Daemon) -> None:
    go = gate(daemon)
    ran = daemon.directory / "ran"
    daemon.configure(daemon.rule(actions=shell('read line < "$1"; echo x >> "$2"', str(go), str(ran))))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: ask(daemon, "status")["rules"]["recorded"]["running"], "it runs", 20)
    with locked(daemon):
        go.write_text("go\n")
        eventually(lambda: state(daemon)["outcomes"] == 1, "the outcome waits", 20)
        assert ran.read_text() == "x\n"
        assert ask(daemon, "flush", timeout=0)["done"] is False
    eventually(lambda: state(daemon)["outcomes"] == 0, "it is written", 20)
    assert ask(daemon, "flush")["done"] is True
    quiet(daemon)
    daemon.kill()
    daemon.start()
    assert ask(daemon, "flush")["done"] is True
    assert ran.read_text() == "x\n"


def test_a_kill_while_an_outcome_waits_runs_the_job_again(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    (daemon.root / "a").write_text("x")
    tell(daemon, ("created", "a"))
    quiet(daemon)
    go = gate(daemon)
    daemon.configure(daemon.rule(actions=shell('read line < "$1"', str(go)), settle="10ms"))
    daemon.stop()
    daemon.start()
    (daemon.root / "b").write_text("x")
    eventually(lambda: ask(daemon, "status")["rules"]["recorded"]["running"], "it runs", 20)
    with locked(daemon):
        go.write_text("go\n")
        eventually(lambda: state(daemon)["outcomes"] == 1, "the outcome waits", 20)
        daemon.kill()
    daemon.configure(daemon.rule())
    daemon.start()
    tell(daemon, ("created", "a"), ("created", "b"))


def test_another_program_that_holds_the_journal_for_long(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=CONTENT), daemon.rule("second", include=["*7"], changes=CONTENT))
    daemon.start()
    (daemon.root / "first").write_text("x")
    daemon.sees_the_disk()
    quiet(daemon)
    with locked(daemon):
        for number in range(100):
            (daemon.root / f"{number}").write_text("x")
        daemon.says(SHUT)
        until_told_again(daemon)
        status = dirty(daemon, 100)
        assert "end the other program" in status["journal"]["why"]
        assert status["journal"]["failed"] == 1  # so often did a write wait for the lock on the loop
    daemon.sees_the_disk()
    assert daemon.log().count(SHUT) == daemon.log().count(OPENED) == 1
    assert len(told(daemon.recorder, daemon.root)) >= 101
