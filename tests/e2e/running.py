"""A real daemon in a directory of its own, and what it recorded of its jobs.

The recorder is a rule's own command: it looks at each path it is given and appends what it saw to a file. So the tests
judge the daemon by what its commands were given and could see, not by what it says of itself.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.e2e.nursery import Born, bear

T = TypeVar("T")

# The command `filewatchd` in the interpreter that runs the tests.
RUN = "import sys; from filewatchd.cli.daemon import main; sys.exit(main())"


def eventually(probe: Callable[[], T], what: str, within: float = 60.0) -> T:
    """Ask until the answer is true and return it; fails with ``what`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {within:.0f} s: {what}")
        time.sleep(0.01)


class Seen(NamedTuple):
    """What tells one content of a file from another, as the daemon and the disk both know it."""

    ino: int
    size: int
    mtime_ns: int


def on_disk(root: Path, *, skip: str | None = None) -> dict[str, Seen]:
    """Every regular file below ``root``, but what lies in a directory named ``skip``."""
    found = {}
    for directory, names, files in os.walk(root):
        if skip in names:
            names.remove(skip)
        for name in files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            found[path] = Seen(status.st_ino, status.st_size, status.st_mtime_ns)
    return found


_RECORD = """
import binascii, json, os, sys
document = json.load(sys.stdin)
for change in document["changes"]:
    path = binascii.a2b_base64(change["path_b64"]) if "path_b64" in change else change["path"]
    try:
        status = os.stat(path)
        change["seen"] = status.st_ino, status.st_size, status.st_mtime_ns
    except OSError:
        change["seen"] = None
with open(sys.argv[1], "a") as record:
    record.write(json.dumps(document) + chr(10))
"""


def named(change: Mapping[str, Any], key: str = "path") -> str:
    """A path of a recorded change; its bytes where it isn't UTF-8."""
    encoded = change.get(key + "_b64")
    return os.fsdecode(base64.b64decode(encoded)) if encoded else str(change[key])


class Recorder:
    """The file to which a rule's command adds each batch document, with what it saw of each path."""

    def __init__(self, path: Path, *, told: str = "", python: str = sys.executable) -> None:
        """``told``: where the file is for the command, if it has another name there; ``python`` runs it."""
        self.path = path
        self._command = [python, "-I", "-S", "-c", _RECORD, told or str(path)]

    def action(self) -> str:
        """The action for the rule's YAML (flow style)."""
        return f"exec: {{command: {json.dumps(self._command)}, stdin: json}}"

    def documents(self) -> list[dict[str, Any]]:
        """Every batch document that was written whole."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def changes(self) -> list[dict[str, Any]]:
        """The changes of all jobs in their order."""
        return [change for document in self.documents() for change in document["changes"]]

    def view(self, start: Mapping[str, Seen] | None = None) -> dict[str, Seen]:
        """What somebody who only ever saw the jobs, and what stood at the ``start``, must believe to be on the disk."""
        view = dict(start or {})
        for change in self.changes():
            if change["kind"] == "moved":
                view.pop(named(change, "old_path"), None)
            if change["kind"] == "deleted":
                view.pop(named(change), None)
            elif change["seen"]:
                view[named(change)] = Seen(*change["seen"])
        return view


def rule(name: str, root: str, actions: str, **keys: Any) -> str:
    """One rule over a root in YAML; keys that aren't text are written as JSON."""
    lines = [f"  - name: {name}", f"    roots: [{json.dumps(root)}]"]
    lines += [f"    {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([*lines, "    actions:", f"      - {actions}"])


def agree(view: Callable[[], Mapping[str, Seen]], disk: Callable[[], Mapping[str, Seen]]) -> None:
    """Wait until the jobs' last view equals what is on the disk."""
    try:
        eventually(lambda: view() == disk(), "the jobs' view equals the disk")
    except AssertionError as problem:
        seen, real = view(), disk()
        wrong = sorted(path for path in seen.keys() | real.keys() if seen.get(path) != real.get(path))
        lines = [f"{path}: jobs saw {seen.get(path)}, disk has {real.get(path)}" for path in wrong[:10]]
        raise AssertionError("\n".join([str(problem), f"{len(wrong)} paths differ", *lines])) from None


class Daemon:
    """``filewatchd run`` as a process, its output in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.state_dir = directory / "state"
        self.config = directory / "filewatchd.yaml"
        self.log_path = directory / "daemon.log"
        self.recorder = Recorder(directory / "recorded")
        self.process: subprocess.Popen[bytes] | Born | None = None
        self.through: Sequence[str] = ()  # a program, with its arguments, that becomes the daemon
        self.quickly = False  # born by a nursery, unless it goes through a program
        self.first = ""  # code that it runs before anything else
        self.root.mkdir(parents=True, exist_ok=True)

    # ---- its configuration

    def rule(self, name: str = "recorded", **keys: Any) -> str:
        """One rule over ``self.root`` in YAML; ``actions`` is the recorder unless given."""
        actions = keys.pop("actions", self.recorder.action())
        return rule(name, str(self.root), actions, **keys)

    def configure(self, *rules: str) -> None:
        """Write the configuration; short waits, so that tests are quick."""
        head = "version: 1\ndaemon: {shutdown_timeout: 20s}\ndefaults: {settle: 50ms}\nrules:\n"
        self.config.write_text(head + "\n".join(rules) + "\n")

    # ---- its life

    def launch(self) -> subprocess.Popen[bytes] | Born:
        """Start the process and don't wait for anything."""
        words = ["run", "--config", str(self.config)]
        words += ["--state-dir", str(self.state_dir), "--runtime-dir", str(self.directory / "run")]
        command = [*self.through, sys.executable, "-c", f"{self.first}\n{RUN}", *words]
        with self.log_path.open("ab") as log:
            if self.quickly and not self.through:
                return bear(words, self.directory, log.fileno(), self.first)
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)

    def start(self) -> Daemon:
        """Start, and wait for the line that says every root is live."""
        offset = len(self.log())
        self.process = self.launch()
        eventually(lambda: "ready:" in self.log()[offset:] or self.running().poll() is not None, "the daemon is ready")
        assert self.running().poll() is None, self.log()
        return self

    def running(self) -> subprocess.Popen[bytes] | Born:
        """The process; it was started."""
        assert self.process is not None, "the daemon was not started"
        return self.process

    @property
    def pid(self) -> int:
        return self.running().pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.running().send_signal(number)

    def wait(self, within: float = 30.0) -> int:
        """Its exit status, once it ends."""
        status = self.running().wait(within)
        self.process = None
        return status

    def stop(self) -> None:
        """End it with TERM as an operator would: it drains and exits 0."""
        if self.process is not None:
            self.signal(signal.SIGTERM)
            assert self.wait() == 0, self.log()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # ---- what it says and what the system says of it

    def log(self) -> str:
        """Everything it printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def says(self, text: str, after: int = 0) -> None:
        """Wait until it printed ``text`` beyond the first ``after`` characters."""
        eventually(lambda: text in self.log()[after:], f"the daemon prints {text!r}")

    def finished(self) -> int:
        """How many jobs it said it has finished."""
        return len(re.findall(r"job \d+: [^\n]* in [0-9.]+ s$", self.log(), re.MULTILINE))

    def statistics(self) -> dict[str, Any]:
        """``state.json`` as it is now; empty before there is one."""
        path = self.state_dir / "state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def sees_the_disk(self, *, skip: str | None = None) -> None:
        """Wait until the jobs' last view equals what is on the disk."""
        agree(self.recorder.view, lambda: on_disk(self.root, skip=skip))

    def sees_the_disk_of(self, name: str) -> None:
        """Assert that the jobs' last view of one file equals the disk."""
        path = str(self.root / name)
        assert self.recorder.view()[path] == on_disk(self.root)[path]
