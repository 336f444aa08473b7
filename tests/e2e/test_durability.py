"""The daemon's state: what it survives, and what it says when it doesn't."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, ask, configure, lines, quiet, rule, shell, tell, told


def journal(daemon: Daemon) -> Path:
    """The job journal's file."""
    return daemon.state_dir / "journal.db"


def start_perhaps_twice(daemon: Daemon) -> None:
    """Damage that only shows later ends the daemon with a word what to do; the start after that checks it whole."""
    daemon.process = daemon.launch()
    eventually(lambda: daemon.log().count("ready:") == 2 or daemon.running().poll() is not None, "it is ready", 20)
    if daemon.running().poll() is not None:
        assert daemon.log().splitlines()[-1].endswith("it sets the file aside, starts a fresh one and scans again")
        daemon.start()


@pytest.mark.parametrize("damage", ["head", "middle", "empty", "text"])
def test_a_damaged_journal_is_set_aside_and_all_is_compared_anew(daemon: Daemon, damage: str) -> None:
    for number in range(300):
        (daemon.root / f"{number:0100}").write_text("x")
    daemon.configure(daemon.rule(initial="process", changes=CONTENT, batch="rule"))
    daemon.start()
    daemon.sees_the_disk()
    quiet(daemon)
    daemon.stop()
    known = len(daemon.recorder.changes())
    data = bytearray(journal(daemon).read_bytes())
    if damage == "head":
        data[:4096] = bytes(4096)
    elif damage == "middle":
        data[8192 : len(data) - 4096] = b"\xff" * (len(data) - 12288)
    elif damage == "text":
        data = bytearray(b"this is no database\n" * 1000)
    else:
        del data[:]
    journal(daemon).write_bytes(data)
    start_perhaps_twice(daemon)
    (daemon.root / "new").write_text("x")
    eventually(lambda: len(daemon.recorder.changes()) >= known + 301, "all files came again", 20)
    assert {kind for kind, *_ in told(daemon.recorder, daemon.root, known)} == {"created"}
    if damage != "empty":
        assert "was damaged and is kept as" in daemon.log()
        kept = [path for path in daemon.state_dir.iterdir() if path.name.startswith("journal.db.")]
        assert any(path.stat().st_size == len(data) for path in kept), kept
        eventually(lambda: daemon.statistics()["promise_broken_since_ns"], "state.json says since when", 20)
    quiet(daemon)
    daemon.stop()
    daemon.start()
    (daemon.root / "last").write_text("x")
    eventually(lambda: ("created", "last") in told(daemon.recorder, daemon.root), "it works on", 20)
    assert len(daemon.recorder.changes()) == known + 302


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    daemon.stop()
    with sqlite3.connect(journal(daemon)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert daemon.launch().wait(20) == 78
    assert "99" in daemon.log()
    assert str(version) in daemon.log().splitlines()[-1]
    with sqlite3.connect(journal(daemon)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (99,)
    database.close()


def test_state_json_is_whole_and_says_what_happened(daemon: Daemon) -> None:
    failing = rule("failing", shell("exit 1"), roots=[str(daemon.root)], retry={"attempts": 1}, include=["bad"])
    configure(daemon, daemon.rule(), failing)
    daemon.start()
    (daemon.root / "bad").write_text("x")
    tell(daemon, ("created", "bad"))
    quiet(daemon)
    quiet(daemon, "failing")
    daemon.stop()
    state = daemon.statistics()
    assert state["generation"] == 1
    assert state["config_error"] is None
    assert state["promise_broken_since_ns"] is None
    good, bad = state["rules"]["recorded"], state["rules"]["failing"]
    assert good["last"]["outcomes"] == {"ok": 1}
    assert bad["last"]["outcomes"] == {"failed": 1}
    assert good["counters"]["ok"] == 1
    assert bad["counters"]["failed"] == 1
    assert bad["open"] == 1
    assert (daemon.state_dir / "state.json").stat().st_mode & 0o777 == 0o600
    assert daemon.state_dir.stat().st_mode & 0o777 == 0o700
    daemon.start()
    assert ask(daemon, "status")["rules"]["recorded"]["last"]["outcomes"] == {"ok": 1}, "a restart doesn't forget it"


def test_counters_go_on_after_a_restart(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    for number in (1, 2):
        daemon.start()
        (daemon.root / f"{number}").write_text("x")
        tell(daemon, *(("created", str(each)) for each in range(1, number + 1)))
        quiet(daemon)
        daemon.stop()
        assert daemon.statistics()["rules"]["recorded"]["counters"]["ok"] == number


def test_a_bad_reload_is_told_in_state_json_until_it_is_mended(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    good = daemon.config.read_text()
    daemon.config.write_text(good.replace("roots", "rots"))
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "rots" in str(daemon.statistics().get("config_error")), "state.json names the mistake", 20)
    assert daemon.statistics()["generation"] == 1
    daemon.config.write_text(good)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.statistics()["config_error"] is None, "it is gone", 20)
    assert daemon.statistics()["generation"] == 1  # it says what it said before


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_finished_jobs_survive_kill(daemon: Daemon, durability: str) -> None:
    configure(daemon, daemon.rule(), daemon={"durability": durability, "shutdown_timeout": "20s"})
    daemon.start()
    for number in range(20):
        (daemon.root / f"{number}").write_text("x")
    daemon.sees_the_disk()
    quiet(daemon)
    daemon.kill()
    daemon.start()
    (daemon.root / "last").write_text("x")
    eventually(lambda: ("created", "last") in told(daemon.recorder, daemon.root), "it works on", 20)
    assert len(daemon.recorder.changes()) == 21


def test_old_jobs_are_forgotten_from_the_start(daemon: Daemon) -> None:
    daemon.configure(
        daemon.rule(actions=shell(f"head -c 60000 /dev/zero | tr '\\0' x; echo >> {daemon.directory}/ran"))
    )
    daemon.start()
    for number in range(40):
        (daemon.root / f"{number}").write_text("x")
        eventually(lambda: len(lines(daemon.directory / "ran")) > number, "it ran", 20)  # noqa: B023
    quiet(daemon)
    daemon.stop()
    before = journal(daemon).stat().st_size
    configure(daemon, daemon.rule(), daemon={"history": {"jobs": 5}, "shutdown_timeout": "20s"})
    daemon.start()
    eventually(lambda: ask(daemon, "status")["journal"]["pruned"] == 35, "only five are left", 20)
    eventually(lambda: journal(daemon).stat().st_size < before / 2, "the file is smaller", 20)
    daemon.stop()
    with contextlib.closing(sqlite3.connect(journal(daemon))) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (5,)
