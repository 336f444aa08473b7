"""filewatchctl as a process: with a real daemon, at a real terminal, in a pipe that closes, ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from filewatchd.control import documents as d
from filewatchd.control.api import socket_in
from tests.e2e.running import Daemon
from tests.e2e.steps import shell
from tests.unit.cli import made
from tests.unit.cli.serving import Served, serving

CONTROL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def ctl(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    socket = socket_in(str(daemon.directory / "run"))
    return subprocess.run(
        [sys.executable, "-c", CONTROL, "--socket", socket, *words], capture_output=True, text=True, check=False
    )


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(tmp_path) as found:
        monkeypatch.setenv("FILEWATCHCTL_SOCKET", found.socket)
        monkeypatch.setenv("TERM", "xterm-256color")
        for name in ("NO_COLOR", "COLUMNS", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        yield found


def at_terminal(*words: str, columns: int = 80) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable, ["-c", CONTROL, *words], encoding="utf-8", timeout=30, dimensions=(50, columns)
    )


def seen(*words: str, columns: int = 80) -> str:
    """All that a command writes to a terminal."""
    with at_terminal(*words, columns=columns) as terminal:
        terminal.expect(pexpect.EOF)
        return str(terminal.before)


# ---- with a daemon


def test_what_there_is_to_see_and_to_do(daemon: Daemon) -> None:
    failing = shell("echo no good; exit 3", "{name}")
    daemon.configure(daemon.rule(include=["a"]), daemon.rule("failing", actions=failing, retry={"attempts": 1}))
    daemon.start()
    (daemon.root / "a").write_text("x")
    flushed = ctl(daemon, "flush", "--timeout", "20s")
    assert (flushed.returncode, flushed.stdout.splitlines()) == (0, [
        "done: all that happened before", "", "Not waited for",
        f"  {daemon.root}/a: failed; `filewatchctl jobs retry` tries it again",
    ])  # fmt: skip
    status = ctl(daemon, "status")
    assert (status.returncode, status.stderr) == (0, "")
    tables = status.stdout.split("\n\n")
    rules, roots = (next(table for table in tables if table.startswith(name)) for name in ("Rules\n", "Roots\n"))
    rows = {line.split()[0]: line.split()[1:] for line in (rules + roots).splitlines()}
    assert rows["recorded"][:2] == ["idle", "1"]
    assert rows["failing"][5] == "1"
    assert rows[str(daemon.root)][:2] == ["live", "inotify"]
    assert json.loads(ctl(daemon, "status", "--json").stdout)["pid"] == daemon.pid
    retried = ctl(daemon, "jobs", "retry", "--rule", "failing")
    assert (retried.returncode, retried.stdout) == (0, "trying again: 1 path (1 of failing)\n")
    unknown = ctl(daemon, "flush", "--rule", "recoded")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "there is no rule recoded; there are recorded, failing; did you mean recorded?" in unknown.stderr
    assert ctl(daemon, "resume").stdout == "no rule was held\n"
    daemon.stop()
    assert ctl(daemon, "status").returncode == 69


# ---- at a terminal


def test_a_terminal_gets_colours_and_lines_that_fit(served: Served) -> None:
    served.answer("status", made.status())
    for columns in (80, 200):
        told = seen("status", columns=columns)
        assert COLOUR.search(told)
        lines = COLOUR.sub("", told).splitlines()
        assert max(map(len, lines)) <= columns
        assert "\x1b" not in "".join(lines)
        assert r"\x1b[2J" in COLOUR.sub("", told)


def test_no_color(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.answer("status", made.status())
    served.answer("changes", [made.change()])
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    assert not coloured.search(seen("status"))
    assert not coloured.search(seen("changes"))
    monkeypatch.delenv("NO_COLOR")
    assert coloured.search(seen("status"))
    assert coloured.search(seen("changes"))


def test_json_on_a_terminal_is_spread_out_and_harmless(served: Served) -> None:
    served.answer("jobs", d.Jobs(jobs=[made.row(message="\x9b2J\x1b[2J")], next_before=None))
    told = seen("jobs", "--json")
    assert "\x1b" not in told
    assert "\x9b" not in told
    assert json.loads(told)["jobs"][0]["message"] == "\x9b2J\x1b[2J"
    assert len(told.splitlines()) > 10


@pytest.mark.parametrize(
    ("words", "route", "answer"),
    [
        (["shutdown"], "shutdown", d.Ending(running=0, grace=30.0)),
        (["jobs", "drop", "--all"], "drop", d.Dropped(paths=1, rules={"drop": 1})),
    ],
)
def test_what_cant_be_undone_is_asked_about(served: Served, words: list[str], route: str, answer: d.Document) -> None:
    served.answer(route, answer)
    with at_terminal(*words) as terminal:
        terminal.expect(r"\[y/N\]")
        terminal.sendline("n")
        terminal.expect("nothing was done")
        terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, served.asked) == (1, [])
    with at_terminal(*words) as terminal:
        terminal.expect(r"\[y/N\]")
        terminal.sendline("y")
        terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, [name for name, _ in served.asked]) == (0, [route])
    assert "[y/N]" not in seen(*words, "--yes")


# ---- how it ends


def test_ctrl_c_ends_a_follower_without_a_traceback(served: Served) -> None:
    """By the signal itself, which a shell tells as 130."""
    served.answer("changes", [made.change(path="/srv/a")])
    served.endless = True
    with at_terminal("changes", "--follow") as terminal:
        terminal.expect("/srv/a")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        told = str(terminal.before)
    assert terminal.signalstatus == signal.SIGINT
    assert "Traceback" not in told


def test_a_closed_pipe_ends_it_quietly(served: Served) -> None:
    served.answer("changes", [made.change(path=f"/srv/{number}") for number in range(20_000)])
    script = f"{sys.executable} -c '{CONTROL}' changes --json 2>{served.socket}.err | head -n 1"
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(found.stdout)["path"] == "/srv/0"
    assert Path(f"{served.socket}.err").read_text() == ""


def test_a_follower_of_a_daemon_that_goes_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as served:
        served.answer("changes", [made.change(path="/srv/a")])
        served.endless = True
        monkeypatch.setenv("FILEWATCHCTL_SOCKET", served.socket)
        follower = at_terminal("changes", "--follow")
        follower.expect("/srv/a")
    with follower:
        follower.expect(pexpect.EOF)
    assert "it went away" in str(follower.before)
    assert follower.exitstatus == 69
