"""One instance of filewatchd in a machine: its unit, its configuration, and what its jobs recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.running import Recorder, Seen, agree, eventually, on_disk, rule
from tests.e2e.systemd.machine import Machine


class Service:
    """``filewatchd.service``, or another unit that is an instance of it, with a root to watch and a recorder."""

    def __init__(self, machine: Machine, instance: str = "", *, home: str = "", config: str = "") -> None:
        """``instance``: of ``filewatchd@.service``. ``home``: what it watches and writes lies below."""
        self.machine = machine
        self.unit = f"filewatchd@{instance}.service" if instance else "filewatchd.service"
        self.socket = f"/run/filewatchd{'-' + instance if instance else ''}/control.sock"
        self.state_dir = f"/var/lib/filewatchd{'-' + instance if instance else ''}"
        self.config = config or f"/etc/filewatchd/{instance or 'filewatchd'}.yaml"
        self.home = home or f"/srv/{instance or 'main'}"
        self.root = f"{self.home}/root"
        machine.path(self.root).mkdir(parents=True, exist_ok=True)

    # ---- its configuration

    @property
    def recorder(self) -> Recorder:
        """What its jobs saw."""
        told = f"{self.home}/recorded"
        return Recorder(self.machine.path(told), told=told, python="/usr/bin/python3")

    def rule(self, name: str = "recorded", **keys: Any) -> str:
        """One rule over ``self.root``; ``actions`` is the recorder unless given."""
        root = keys.pop("root", self.root)
        return rule(name, root, keys.pop("actions", self.recorder.action()), **keys)

    def configure(self, *rules: str, settings: str = "") -> None:
        """Write the configuration; short waits, so that tests are quick."""
        head = f"version: 1\n{settings}defaults: {{settle: 50ms, initial: process}}\nrules:\n"
        self.machine.put(self.config, head + "\n".join(rules or [self.rule()]) + "\n")

    # ---- its life

    def start(self) -> None:
        """Start it; returns when systemd says it is ready."""
        done = self.machine.run("systemctl", "start", self.unit, check=False)
        assert done.returncode == 0, self.log()

    def kill(self, signal: str = "KILL") -> None:
        """Send its main process a signal."""
        self.machine.run("systemctl", "kill", "--kill-who=main", f"--signal={signal}", self.unit)

    @property
    def pid(self) -> int:
        """Its main process, as the machine counts; 0: it doesn't run."""
        return int(self["MainPID"])

    def __getitem__(self, name: str) -> str:
        """A property of its unit."""
        return self.machine.unit(self.unit, name)[name]

    def lives_again(self, before: int) -> None:
        """Wait until another process than the one ``before`` is ready."""
        what = "the daemon is ready again"
        eventually(lambda: self["ActiveState"] == "active" and self.pid not in (0, before), what)

    # ---- what it says, and what its jobs saw

    def log(self) -> str:
        """All that it logged, and systemd about it."""
        return self.machine.messages(self.unit)

    def says(self, text: str) -> None:
        """Wait until it has logged this text."""
        eventually(lambda: text in self.log(), f"{self.unit} logs {text!r}")

    def ask(self, *words: str) -> Any:
        """What filewatchctl answers, as JSON."""
        return json.loads(self.machine.run("filewatchctl", "--socket", self.socket, *words, "--json").stdout)

    def touch(self, name: str, text: str = "x") -> str:
        """Write a file below the root; returns its path in the machine."""
        self.machine.put(f"{self.root}/{name}", text)
        return f"{self.root}/{name}"

    def disk(self) -> dict[str, Seen]:
        """What is below the root, by its names in the machine."""
        host = self.machine.path(self.root)
        return {f"{self.root}/{Path(path).relative_to(host)}": seen for path, seen in on_disk(host).items()}

    def sees_the_disk(self) -> None:
        """Wait until its jobs' last view equals the disk."""
        agree(self.recorder.view, self.disk)

    def saw(self, path: str) -> None:
        """Wait until a job saw this file as it is."""
        eventually(lambda: self.recorder.view().get(path) == self.disk()[path], f"a job saw {path}")
