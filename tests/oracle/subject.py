"""The daemon under trial: one rule over a tree, whose command writes down what it saw.

The command reads every path it is given, and writes last of all, so that only one that succeeds has seen anything.
Whoever believes these records must in the end know the tree.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filewatchd.control import client
from filewatchd.control.api import socket_in
from filewatchd.errors import FatalError
from filewatchd.extras import lacks
from tests.e2e.managing import Manager
from tests.e2e.running import Daemon, eventually
from tests.oracle.operations import Settings

_RULE = "mirror"
_DYING = Path(__file__).with_name("dying.py")

# Whether it fails or dawdles is decided by the job and the attempt, so that the same trial does much the same.
_COMMAND = """
import json, os, random, sys, time
record, seed, failing, dawdling = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
strict = sys.argv[5:] == ["strict"]
document = json.load(sys.stdin)
dice = random.Random(" ".join([seed, str(document["job"]), str(document["attempt"])]))
if dice.random() < failing:
    sys.exit(1)
if dice.random() < dawdling:
    time.sleep(dice.random() / 4)
for change in document["changes"]:
    try:
        with open(change["path"]) as file:
            change["seen"] = file.read()
    except OSError:
        change["seen"] = None
        if strict and change["kind"] != "deleted":  # as most commands are whose file isn't there
            sys.exit(1)
with open(record, "a") as file:
    file.write(json.dumps(document["changes"]) + chr(10))
"""


class Row(NamedTuple):
    """What the manifest has of a path."""

    ino: int
    size: int
    mtime_ns: int


class Subject:
    """A daemon with a directory of its own."""

    def __init__(self, directory: Path, seed: int, settings: Settings, *, strict: bool) -> None:
        """``strict``: the command fails where a file that it is told of isn't there."""
        self.daemon = Daemon(directory)
        self.daemon.quickly = True
        self._record = directory / "record"
        self._socket = socket_in(str(directory / "run"))
        program = directory / "command.py"
        program.write_text(_COMMAND)
        command = [sys.executable, "-I", "-S", str(program), str(self._record), str(seed)]
        command += [str(settings.failing), str(settings.dawdling)]
        command += ["strict"] * strict
        action = f"exec: {json.dumps({'command': command, 'stdin': 'json'})}"
        self.daemon.configure(self.daemon.rule(_RULE, actions=action, **settings.keys))
        # With every other seed descriptors outlive the daemon, as systemd's store lets them.
        keeps = seed % 2 == 1 and settings.keys["backend"] in ("inotify", "pyinotify") and not lacks("systemd")
        self._manager = Manager(directory) if keeps else None
        if self._manager is not None:
            self.daemon.launch = self._manager.launcher(self.daemon)  # type: ignore[method-assign]
        self._began = 0  # where in the log the running daemon begins

    # ---- its life

    def start(self) -> None:
        """Start it, unless it runs, and isn't about to die."""
        if self.daemon.through:
            self.kill()
        self._launch()

    def start_to_die(self, side: str, step: float) -> None:
        """Start one that dies by itself, before or after so many steps."""
        self._launch(sys.executable, "-P", str(_DYING), side, f"{step:.0f}")

    def _launch(self, *through: str) -> None:
        if not self.alive():
            self.daemon.kill()
            self._began = len(self.daemon.log())
            self.daemon.through = through
            self.daemon.process = self.daemon.launch()

    def wait_until_ready(self) -> None:
        """Wait until it has looked at everything, or has died."""
        eventually(lambda: self.listens() or not self.alive(), "the daemon is ready or has died")

    def alive(self) -> bool:
        """Whether it has been started and hasn't ended."""
        return self.daemon.process is not None and self.daemon.process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether it has died by itself."""
        return self.daemon.process is not None and self.daemon.process.poll() == -signal.SIGKILL

    def kill(self) -> None:
        """End it as a power cut would."""
        self.daemon.kill()

    def end(self) -> None:
        """Let go of everything."""
        self.kill()
        if self._manager is not None:
            self._manager.close()

    def stall(self) -> None:
        """Let it stand still."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def reload(self) -> None:
        """Let it read its configuration again."""
        if self.listens():
            self._send(signal.SIGHUP)

    def terminate(self) -> None:
        """End it as an operator does. Before it takes signals that is a kill."""
        self._send(signal.SIGTERM)
        if self.daemon.process is not None:
            self.daemon.process.wait(30)

    def _send(self, number: signal.Signals) -> None:
        if self.alive():
            self.daemon.signal(number)

    def listens(self) -> bool:
        """True once the running daemon has looked at everything; long before that it takes signals."""
        return self.alive() and "ready:" in self.daemon.log()[self._began :]

    # ---- what it says

    def flush(self, seconds: float) -> Mapping[str, Any]:
        """Flush, as soon as the socket is there."""
        return eventually(lambda: self._ask("flush", {"timeout": seconds}, seconds + 10), "it answers a flush")

    def _ask(self, name: str, arguments: dict[str, Any] | None = None, timeout: float = 10.0) -> Mapping[str, Any]:
        """The answer; nothing while no daemon answers."""
        assert self.alive(), f"the daemon ended: {self.daemon.log()[-2000:]}"
        try:
            return client.ask(self._socket, name, arguments, timeout=timeout)
        except FatalError:
            return {}

    def unrest(self) -> list[str]:
        """What status says is yet to be done, or can't be."""
        status = self._ask("status")
        if not status.get("ready"):
            return ["it isn't ready"]
        rule = status["rules"][_RULE]
        wrong = [f"status: {key} is {rule[key]}" for key in _UNREST if rule[key]]
        wrong += [f"the promise is in doubt: {reason}" for reason in status["promise"]["reasons"]]
        return wrong + [
            f"root: {root}" for root in status["watch"]["roots"] if (root["state"], root["missing"]) != _WELL
        ]

    def told(self) -> list[dict[str, Any]]:
        """The changes that successful commands were given, with what they saw of each, in their order."""
        text = self._record.read_text() if self._record.exists() else ""
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [self._inside(change) for line in whole for change in json.loads(line)]

    def _inside(self, change: dict[str, Any]) -> dict[str, Any]:
        """A change with its paths relative to the root."""
        return {**change, **{key: self.inside(change[key]) for key in ("path", "old_path") if change.get(key)}}

    def inside(self, path: str) -> str:
        """A path relative to the root."""
        return path.removeprefix(f"{self.daemon.root}/")

    # ---- what it leaves: read when it has ended

    def manifest(self) -> dict[str, Row]:
        """The manifest's rows."""
        statement = (
            "SELECT path, ino, size, mtime_ns FROM manifest JOIN baselines ON id = baseline"
            " WHERE dropped = 0 AND closed_ns IS NOT NULL"
        )
        return {path.decode(): Row(*columns) for path, *columns in self._query(statement)}

    def unfinished(self) -> list[str]:
        """Jobs that left something to do."""
        statement = "SELECT id, state, open FROM jobs WHERE open OR state NOT IN ('ok', 'cancelled') ORDER BY id"
        return [f"job {number} is {state} with {left} paths open" for number, state, left in self._query(statement)]

    def _query(self, statement: str) -> Iterator[Any]:
        connection = sqlite3.connect(f"file:{self.daemon.state_dir / 'journal.db'}?mode=ro", uri=True)
        try:
            yield from connection.execute(statement)
        finally:
            connection.close()


_UNREST = ("dirty", "running", "retrying", "open", "held", "paused")
_WELL = ("live", 0)
