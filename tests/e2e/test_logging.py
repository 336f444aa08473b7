"""What the daemon says, and where: the console, files with rotation, the errors apart, JSON, and the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import configure, shell, tell


def test_files_rotate_and_errors_stand_apart(daemon: Daemon) -> None:
    log, errors = daemon.directory / "log" / "all.log", daemon.directory / "log" / "errors.log"
    files = {"path": str(log), "rotate": {"size": "4KiB", "keep": {"count": 2}}, "errors": str(errors)}
    failing = daemon.rule("failing", actions=shell("exit 7"), retry={"attempts": 1})
    configure(daemon, daemon.rule(), failing, logging={"files": files})
    daemon.start()
    for number in range(15):
        (daemon.root / f"{number}").write_text("x")
        eventually(lambda: len(daemon.recorder.changes()) > number, "its job ran", 20)  # noqa: B023 (called at once)
    eventually(lambda: errors.exists() and "failed: " in errors.read_text(), "a failure was told", 20)
    daemon.stop()
    names = sorted(path.name for path in log.parent.iterdir())
    assert [name for name in names if name.startswith("all")] == ["all.log", "all.log.1", "all.log.2"]
    for path in log.parent.iterdir():
        assert path.stat().st_size <= 4096
        assert path.stat().st_mode & 0o007 == 0, "others can't read it"
    text = errors.read_text()
    assert "status 7" in text
    assert " created " not in text


def test_json_lines_on_the_console_and_in_files(daemon: Daemon) -> None:
    log = daemon.directory / "all.log"
    configure(daemon, daemon.rule(), logging={"console": "json", "format": "json", "files": {"path": str(log)}})
    daemon.start()
    (daemon.root / "line\nbreak").write_text("x")
    tell(daemon, ("created", "line\nbreak"))
    daemon.stop()
    for text in (daemon.log(), log.read_text()):
        entries = [json.loads(line) for line in text.splitlines()]
        assert all({"time", "level", "message"} <= entry.keys() for entry in entries)
        assert all(datetime.fromisoformat(entry["time"]).tzinfo for entry in entries)
        change = next(entry for entry in entries if entry.get("event") == "change")
        assert change["kind"] == "created"
        assert change["rule"] == "recorded"
        assert change["job"] == 1
        assert change["path"] == str(daemon.root / "line\nbreak")
        assert {"change", "job", "outcome"} <= {entry.get("event") for entry in entries}


def test_console_off_and_levels(daemon: Daemon) -> None:
    log = daemon.directory / "all.log"
    failing = daemon.rule("failing", actions=shell("exit 1"), retry={"attempts": 1})
    configure(daemon, failing, logging={"console": "off", "level": "warning", "files": {"path": str(log)}})
    daemon.process = daemon.launch()
    eventually(lambda: (daemon.directory / "state" / "filewatchd.lock").exists(), "it started", 20)
    eventually(
        lambda: (daemon.root / "a").write_text("x") and log.exists() and "failed" in log.read_text(), "it warned", 20
    )
    daemon.stop()
    assert daemon.log() == ""
    assert all("warning: " in line or "error: " in line for line in log.read_text().splitlines())


def test_a_reload_moves_the_log(daemon: Daemon) -> None:
    old, new = daemon.directory / "old.log", daemon.directory / "new.log"
    configure(daemon, daemon.rule(), logging={"files": {"path": str(old)}})
    daemon.start()
    configure(daemon, daemon.rule(), logging={"files": {"path": str(new)}})
    daemon.signal(signal.SIGHUP)
    eventually(lambda: new.exists() and "generation 2" in new.read_text(), "the new file is written", 20)
    (daemon.root / "a").write_text("x")
    eventually(lambda: "created" in new.read_text(), "the change is told there", 20)
    assert "created" not in old.read_text()


def test_environment_variables_override_the_file(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEWATCHD_LOGGING__CONSOLE", "json")
    monkeypatch.setenv("FILEWATCHD_LOGGING__LEVEL", "debug")
    monkeypatch.setenv("FILEWATCHD_DEFAULTS__CHANGES", "[deleted]")
    monkeypatch.setenv("FILEWATCHD_DAEMON__MAX_RUNNING", "3")
    for name in ("a", "b"):
        (daemon.root / name).write_text("x")
    daemon.configure(daemon.rule())
    daemon.start()
    (daemon.root / "new").write_text("x")
    (daemon.root / "a").unlink()
    tell(daemon, ("deleted", "a"))
    (daemon.root / "b").unlink()
    tell(daemon, ("deleted", "a"), ("deleted", "b"))
    assert all(json.loads(line) for line in daemon.log().splitlines())
    assert '"level": "debug"' in daemon.log()
    shown = subprocess.run(
        [sys.executable, "-m", "filewatchd.cli.daemon", "check", "--show", "--config", str(daemon.config)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    row = next(line for line in shown.splitlines() if line.strip().startswith("max_running:"))
    assert "3" in row
    assert "FILEWATCHD_DAEMON__MAX_RUNNING" in row


def test_a_line_for_change_job_and_outcome(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions="exec: {command: [echo, 'said {name}']}"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: daemon.finished() == 1, "the job ended", 20)
    said = [line.split("  ", 1)[1].strip() for line in daemon.log().splitlines()]
    position = [next(i for i, line in enumerate(said) if line.startswith(start)) for start in ("* ", "> ", "| ", "= ")]
    assert position == sorted(position)
    assert said[position[0]] == f"* recorded: created {daemon.root}/a"
    assert said[position[2]] == "| recorded: said a"
