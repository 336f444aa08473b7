"""Steps that tests of the configuration's keys have in common: settings, commands, and what was recorded."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control import client
from filewatchd.control.api import socket_in
from tests.e2e.running import Daemon, Recorder, eventually

ALL = "[created, modified, deleted, moved, metadata]"
CONTENT = "[created, modified, deleted, moved]"


def configure(place: Daemon, /, *rules: str, **sections: Mapping[str, Any]) -> None:
    """Write the configuration; ``sections`` are added to, or stand for, those with short waits."""
    tops: dict[str, Any] = {"daemon": {"shutdown_timeout": "20s"}, "defaults": {"settle": "50ms"}, **sections}
    head = [f"{name}: {json.dumps(value)}" for name, value in tops.items()]
    place.config.write_text("\n".join(["version: 1", *head, "rules:", *rules]) + "\n")


def rule(name: str, *actions: str, **keys: Any) -> str:
    """A rule in YAML; ``roots`` is a key like the others."""
    lines = [f"  - name: {name}"]
    lines += [f"    {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([*lines, "    actions:", *(f"      - {action}" for action in actions)])


def shell(script: str, *words: str, **options: Any) -> str:
    """The action that runs a script; ``words`` are its arguments and may hold placeholders."""
    return "exec: " + json.dumps({"command": ["sh", "-c", script, "sh", *words], **options})


def ask(daemon: Daemon, name: str, /, **arguments: Any) -> dict[str, Any]:
    """Ask the daemon's control socket. Every document says where it comes from; that is left out."""
    document = client.ask(socket_in(str(daemon.directory / "run")), name, arguments)
    assert (document.pop("host"), document.pop("instance")) == (socket.gethostname(), "main")
    return document


def second_recorder(daemon: Daemon, name: str = "second") -> Recorder:
    """Another rule's recorder."""
    return Recorder(daemon.directory / name)


def told(recorder: Recorder, root: Path, since: int = 0) -> list[tuple[str, ...]]:
    """The changes as ``(kind, path)``, below the root; with the old path where a file moved."""
    changes = recorder.changes()[since:]
    found = []
    for change in changes:
        names = [change["path"], *([change["old_path"]] if "old_path" in change else [])]
        found.append((change["kind"], *(os.path.relpath(name, root) for name in names)))
    return found


def tell(daemon: Daemon, *expected: tuple[str, ...], recorder: Recorder | None = None, since: int = 0) -> None:
    """Wait until exactly these changes were told, in whatever order."""
    source = recorder or daemon.recorder
    eventually(lambda: len(told(source, daemon.root, since)) >= len(expected), f"the jobs got {expected}", 20)
    assert sorted(told(source, daemon.root, since)) == sorted(expected), daemon.log()


def sentinel(daemon: Daemon, name: str = "sentinel", recorder: Recorder | None = None) -> None:
    """Write one more file and wait for its job: whatever was due before it has been given out by then."""
    path = daemon.root / name
    path.write_text("x")
    source = recorder or daemon.recorder
    eventually(lambda: any(c["path"] == str(path) for c in source.changes()), f"a job got {name}", 20)


def gate(daemon: Daemon, name: str = "gate") -> Path:
    """A FIFO: who reads it waits until the test writes to it."""
    path = daemon.directory / name
    os.mkfifo(path)
    return path


def lines(path: Path) -> list[str]:
    """The lines of a file that commands append to; none while it isn't there."""
    return path.read_text().splitlines() if path.exists() else []


def rule_state(daemon: Daemon, name: str = "recorded") -> dict[str, Any]:
    """What the daemon says of a rule right now, asked with USR1."""
    before = len(daemon.log())
    daemon.signal(signal.SIGUSR1)
    line = eventually(lambda: _STATISTICS.search(daemon.log(), before), "the daemon logs its statistics", 20)
    return dict(json.loads(line[1])["rules"][name])  # type: ignore[index]


_STATISTICS = re.compile(r"statistics (\{.*\})$", re.MULTILINE)


def until(daemon: Daemon, name: str = "recorded", **expected: object) -> dict[str, Any]:
    """Wait until the daemon says this of a rule; returns all it says."""

    def so() -> dict[str, Any] | None:
        state = rule_state(daemon, name)
        return state if all(state[key] == value for key, value in expected.items()) else None

    return eventually(so, f"rule {name} is {expected}", 20) or {}


def quiet(daemon: Daemon, name: str = "recorded") -> dict[str, Any]:
    """Wait until nothing of the rule is dirty, running or waiting for a retry; returns what the daemon says of it."""
    return until(daemon, name, dirty=0, running=0, retrying=0)


class Writer:
    """Appends to a file for ever, from a thread, holding it open or not."""

    def __init__(self, path: Path, *, hold: bool) -> None:
        self._path, self._hold = path, hold
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with self._path.open("a") as file:
            while not self._end.wait(0.005):
                file.write("x")
                file.flush()
                if not self._hold:
                    with self._path.open("a") as other:
                        other.write("y")

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@contextmanager
def small_queue() -> Iterator[None]:
    """The kernel's queue is small for daemons that start meanwhile, and as before for others; one test at a time."""
    if os.geteuid() != 0:
        pytest.skip("the queue's size is root's to set")
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    with limit.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # else two tests would each put back what the other has set
        before = limit.read_text()
        try:
            limit.write_text("64")
            yield
        finally:
            limit.write_text(before)
