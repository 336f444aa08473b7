"""Logs under a real daemon: when they rotate, what that costs, kills, and `filewatchctl rotate`."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.rotate.reader import Reader
from filewatchd.control.api import socket_in
from tests.amounts import SOAK
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, rule
from tests.rotation.trial import Trial, options

CONTROL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"


def ctl(place: Daemon, *words: str, code: int = 0) -> str:
    """What a command prints."""
    command = [sys.executable, "-c", CONTROL, "--socket", socket_in(str(place.directory / "run")), *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == code, found
    return found.stdout


def logs(place: Daemon, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """What `filewatchctl rotate` says of each log."""
    found: list[dict[str, Any]] = json.loads(ctl(place, "rotate", *words, "--json", code=code))["logs"]
    return found


def rotating(place: Daemon, **more: Any) -> None:
    """A rule that rotates; quick enough for a test."""
    said = {"when": {"size": 32768}, "compress": {"codec": "gzip", "level": 1}, **more}
    configure(place, rule("logs", "rotate: " + json.dumps(said), roots=[str(place.root)], include=["*.log"]))


class Killed(Trial):
    """A trial whose rotating process is a daemon."""

    def __init__(self, place: Daemon) -> None:
        super().__init__(place.directory, place.root, options("exchange"))


def archives(place: Daemon) -> list[str]:
    return sorted(name for name in os.listdir(place.root) if name.endswith(".gz"))


def write_on(trial: Trial, lines: int) -> None:
    """Wait until the first writer has written so many lines more: each is a system call."""
    account = Path(f"/proc/{int(Path(trial.pidfile('append')).read_text())}/io")

    def calls() -> int:
        return int(account.read_text().partition("syscw: ")[2].split()[0])

    enough = calls() + lines
    eventually(lambda: calls() >= enough, f"{lines} lines are written")


def test_kills_at_random_lose_no_line(tmp_path: Path) -> None:
    place = Daemon(tmp_path)
    trial = Killed(place)
    rotating(place, reopen={"signal": "HUP", "pidfile": trial.pidfile("append")}, method="exchange")
    trial.write("append", "loop")
    chance = random.Random(1)
    for _ in range(3):
        place.start()
        write_on(trial, chance.randrange(300, 1500))
        place.kill()
        trial.look("after a kill")
    place.start()
    before = len(archives(place))
    eventually(lambda: len(archives(place)) > before + 1, "it rotates on")
    place.stop()
    assert trial.finish() > 0


def test_a_busy_log_costs_no_event_a_write(tmp_path: Path) -> None:
    place = Daemon(tmp_path)
    rotating(place, when={"size": "1MiB"})
    (place.root / "app.log").touch()
    place.start()
    try:
        before = count(ask(place, "status"))
        with (place.root / "app.log").open("ab", buffering=0) as log:
            for _ in range(5000):
                log.write(b"x" * 99 + b"\n")
        raw = count(ask(place, "status")) - before
        assert raw < 50, f"{raw} events for 5,000 writes"
        assert archives(place) == []
        with (place.root / "app.log").open("ab", buffering=0) as log:
            log.write((b"x" * 99 + b"\n") * 6000)
        eventually(lambda: archives(place), "it is rotated")
    finally:
        place.stop()


def count(value: Any) -> int:
    """All raw events that a document tells of."""
    if isinstance(value, dict):
        return sum(number if key == "raw_events" else count(number) for key, number in value.items())
    return sum(map(count, value)) if isinstance(value, list) else 0


def test_by_hand(tmp_path: Path) -> None:
    place = Daemon(tmp_path)
    rotating(place, when={"size": "1GiB"}, name="numbered")
    log = place.root / "app.log"
    log.write_text("first\n")
    place.start()
    try:
        assert [(each["method"], each["due"]) for each in logs(place, "logs", "--dry-run")] == [("exchange", "")]
        assert [each["verdict"] for each in logs(place, str(log))] == ["skipped"]
        assert log.read_text() == "first\n"
        assert [each["verdict"] for each in logs(place, "--force", str(log))] == ["ok"]
        eventually(lambda: (place.root / "app.log.1.gz").exists(), "the archive is there")
        assert log.read_bytes() == b""
        assert [(each["verdict"], each["why"]) for each in logs(place, str(log))] == [("skipped", "nothing is in it")]
        gone = str(place.root / "nope.log")
        (absent,) = logs(place, gone, code=1)
        assert (absent["verdict"], absent["why"]) == ("failed", "there is no such file")
        log.write_text("second\n")
        assert ctl(place, "archive", "cat", str(log), "--state-dir", str(place.state_dir)) == "first\nsecond\n"
    finally:
        place.stop()


_WAYS = [("exchange", "loop"), ("punch", "append"), ("copy", "append")]


@pytest.mark.parametrize(("method", "writer"), _WAYS if SOAK else _WAYS[:2])
def test_of_two_rules_for_one_log_the_first_one_rotates_it(tmp_path: Path, method: str, writer: str) -> None:
    """Through another name of its directory, too; when that rule is taken out the other one goes on."""
    place = Daemon(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(place.root)
    trial = Killed(place)
    said = json.dumps({"when": {"size": 32768}, "compress": {"codec": "gzip", "level": 1}, "method": method})
    first, *others = (
        rule(name, f"rotate: {said}", roots=[str(root)], include=["*.log"])
        for name, root in (("first", place.root), ("second", place.root), ("third", link))
    )
    configure(place, first, *others)
    trial.write(writer, writer)
    place.start()
    try:
        assert place.log().count(": only the first does; leave it to one of them") == 3
        told = eventually(lambda: findings(place, "second", "third"), "both others are told")
        for live, message in ((trial.live, told["second"]), (link / "app.log", told["third"])):
            assert message == (
                f"{live} isn't rotated: refuse: the rule first has it, which rotates it, too, and stands before this"
                " one: leave it to one of them"
            )
        eventually(lambda: len(archives(place)) >= 3, "the first rule rotates")
        (planned,) = logs(place, "second", "--dry-run")
        assert planned["method"] == "refuse"
        trial.look("while both rules are there")
        assert rotations(place) == {"first"}
        configure(place, others[0])
        ctl(place, "config", "reload")
        logs(place, "second")  # which looks at once, and not within a minute
        eventually(lambda: rotations(place) == {"first", "second"}, "the second rule goes on", 20)
        eventually(lambda: "second" not in findings(place), "nothing is left to be told", 20)
        configure(place, first, others[0])
        ctl(place, "config", "reload")
        before = len(archives(place))
        logs(place, "first")
        eventually(lambda: len(archives(place)) >= before + 2, "the first one has it again", 20)
        trial.look("when the first one has it again")
    finally:
        place.stop()
    trial.end_writers()
    stream = ctl(place, "archive", "cat", str(trial.live), "--state-dir", str(place.state_dir)).encode()
    counts = {name: int((place.directory / name).read_text()) for name in (f"w0{writer}", f"w1{writer}")}
    trial.check(stream, counts, "at the end")


def findings(place: Daemon, *rules: str) -> dict[str, str]:
    """What is to be told, by rule; nothing as long as one of these rules has none."""
    found = {each["rule"]: each["message"] for each in ask(place, "status")["findings"]}
    return found if all(name in found for name in rules) else {}


def rotations(place: Daemon) -> set[str]:
    """The rules that have rotated the log."""
    with Reader(str(place.state_dir)) as reader:
        return {name for name, _ in reader.logs()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to become")
@pytest.mark.parametrize("method", ["auto", "collapse"])
def test_with_a_users_rights(tmp_path: Path, method: str) -> None:
    place = Daemon(tmp_path)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005:  # pytest's own, which only root may enter
            path.chmod(path.stat().st_mode | 0o005)
    log = place.root / "app.log"
    log.write_text("line\n" * 20_000)
    for path in (place.root, log):
        shutil.chown(path, "nobody", "nogroup")
    said = {"when": {"size": "64KiB"}, "method": method}
    configure(place, rule("logs", "rotate: " + json.dumps(said), roots=[str(place.root)], user="nobody"))
    place.start()
    try:
        with log.open("ab", buffering=0) as writer:
            writer.write(b"last\n")
            eventually(lambda: archives(place), "it is rotated", 20)
        (archive,) = (place.root / name for name in archives(place))
        assert (archive.owner(), archive.stat().st_mode & 0o777) == ("nobody", 0o644)
        told = ctl(place, "archive", "cat", str(log), "--state-dir", str(place.state_dir))
        assert told == "line\n" * 20_000 + "last\n"
    finally:
        place.stop()


def test_a_damaged_journal_costs_no_archive(tmp_path: Path) -> None:
    place = Daemon(tmp_path)
    rotating(place, when={"size": "1GiB"}, keep={"count": 3}, method="exchange", compress={"codec": "none"})
    log = place.root / "app.log"
    place.start()
    for number in range(3):
        log.write_text(f"line {number}\n")
        logs(place, "--force", str(log))
    place.stop()
    journal = place.state_dir / "journal.db"
    with sqlite3.connect(journal) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()
    connection.close()
    with journal.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    journal.with_name("journal.db.suspect").touch()  # as a daemon does that meets it
    place.start()
    try:
        assert "taken over: rotate of logs" in place.log()
        log.write_text("line 3\n")
        assert ctl(place, "archive", "cat", str(log)) == "".join(f"line {number}\n" for number in range(4))
        logs(place, "--force", str(log))
        assert ctl(place, "archive", "cat", str(log)) == "".join(f"line {number}\n" for number in range(1, 4))
    finally:
        place.stop()
