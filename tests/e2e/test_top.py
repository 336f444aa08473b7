"""`filewatchctl top` in a real terminal: tmux shows what a person would see."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.control.api import socket_in
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, shell

CONTROL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"


class Terminal:
    """A terminal of 110 by 30 characters with a command in it."""

    def __init__(self, directory: Path, words: list[str]) -> None:
        self._socket = str(directory / "tmux")
        path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
        command = f"env PYTHONPATH={shlex.quote(path)} {shlex.join(words)}"
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", "110", "-y", "30", command)

    def screen(self) -> str:
        """What it shows; nothing once the command has ended."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys, named as tmux names them."""
        self._tmux("send-keys", *keys)

    def shows(self, *texts: str) -> str:
        """Wait until it shows all of this."""
        try:
            return eventually(
                lambda: screen if all(text in (screen := self.screen()) for text in texts) else "", "", 30
            )
        except AssertionError:
            raise AssertionError(f"the terminal doesn't show {texts}:\n{self.screen()}") from None

    def close(self) -> None:
        """Take it away, with all that runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        words = ["tmux", "-S", self._socket, *arguments]
        environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environ).stdout


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Terminal]:
    """`filewatchctl top` beside a daemon with a rule whose command fails for one name."""
    failing = shell('test "$1" != bad', "{name}")
    daemon.configure(daemon.rule("checks", actions=failing, retry={"attempts": 1}))
    daemon.start()
    socket = socket_in(str(daemon.directory / "run"))
    found = Terminal(daemon.directory, [sys.executable, "-c", CONTROL, "--socket", socket, "top"])
    yield found
    found.close()


def test_rules_failures_and_a_story_are_seen_and_keys_act(daemon: Daemon, terminal: Terminal) -> None:
    terminal.shows("promise kept", "checks", "last failures", "retry failed")
    (daemon.root / "bad").write_text("x")
    terminal.shows("exit status 1")
    terminal.press("Tab", "Tab", "Enter")
    terminal.shows("job 1 of checks: failed", "create modify close_write", "failed  created")
    terminal.press("q")
    eventually(lambda: "job 1 of checks" not in terminal.screen(), "the story is closed", 20)
    terminal.press("p")
    terminal.shows("pause checks for 30m because")
    terminal.press("maintenance", "Enter")
    terminal.shows("checks is paused for 30m")
    paused = ask(daemon, "status")["rules"]["checks"]["paused"]
    assert (paused["hold"], "maintenance" in paused["why"]) == ("paused", True)
    terminal.press("p")
    terminal.shows("checks goes on")
    terminal.press("q")
    eventually(lambda: terminal.screen() == "", "top has ended", 20)


def test_a_daemon_that_ends_is_told_of(daemon: Daemon, terminal: Terminal) -> None:
    terminal.shows("promise kept")
    daemon.stop()
    terminal.shows("no daemon answers")
