"""filewatchctl archive beside a real daemon: by the ledger, by the daemon's word, and while a log is rotated."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import configure, rule

WHEN = {"size": "64KiB", "min_age": "300ms"}


def archive(daemon: Daemon, *words: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "filewatchd.cli.control", "--socket", str(daemon.directory / "run/control.sock")]
    command += ["archive", *words, "--state-dir", str(state or daemon.state_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def rotating(daemon: Daemon, method: str) -> Path:
    options: dict[str, Any] = {"when": WHEN, "method": method}
    configure(daemon, rule("logs", f"rotate: {json.dumps(options)}", roots=[str(daemon.root)], max_wait="100ms"))
    live = daemon.root / "app.log"
    live.touch()
    daemon.start()
    return live


class Writer(threading.Thread):
    """Appends numbered lines until it is stopped."""

    def __init__(self, live: Path) -> None:
        super().__init__()
        self._live = live
        self.over = threading.Event()
        self.written = 0

    def run(self) -> None:
        with self._live.open("ab", buffering=0) as file:
            while not self.over.wait(0.01):
                file.write(b"".join(b"line %06d\n" % n for n in range(self.written, self.written + 50)))
                self.written += 50


def test_a_log_is_read_while_it_is_rotated(daemon: Daemon) -> None:
    live = rotating(daemon, "collapse")
    writer = Writer(live)
    writer.start()
    try:
        eventually(lambda: list(daemon.root.glob("app.log-*")), "it is rotated", 20)
        for state in (None, daemon.directory / "nowhere") * 2:  # the daemon says where the state can't be read
            before = writer.written
            found = archive(daemon, "cat", str(live), state=state)
            lines = found.stdout.split()[1::2]
            assert found.stderr == ""
            assert [int(number) for number in lines] == list(range(len(lines)))
            assert len(lines) >= before
        eventually(lambda: len(list(daemon.root.glob("app.log-*"))) > 2, "it was rotated", 20)
    finally:
        writer.over.set()
        writer.join()
    number = writer.written - 1
    assert archive(daemon, "grep", f"line {number:06}", str(live)).stdout == f"line {number:06}\n"
    daemon.stop()
    found = archive(daemon, "cat", str(live))
    assert found.stdout.split()[1::2] == [f"{n:06}" for n in range(writer.written)]
    assert "found by their names" in archive(daemon, "ls", str(live), state=daemon.directory / "nowhere").stderr
