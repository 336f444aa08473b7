"""One trial: a plan carried out on a real tree beside a real daemon, and what must be true when all is quiet again.

The rule's command reads every path it is given and writes down what it saw; it does so last of all, so that only a
command that succeeds has seen anything. Whoever believes these records must in the end know the tree: each file with
its content, and no file that is gone. A restart on the quiet tree has nothing more to tell.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path

from tests.e2e.running import Daemon, eventually
from tests.oracle.operations import Operation, Plan, Tree

_PATIENCE = 30.0  # seconds for all to become quiet; only a failing trial waits so long
_STATISTICS = re.compile(r"statistics (\{.*\})$", re.MULTILINE)
_BAD = ("internal error", "Traceback", "is held:")

# Whether it fails or dawdles is decided by the job and the attempt, so that the same trial does the same.
_COMMAND = """
import json, os, random, sys, time
record, seed, failing, dawdling = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
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
with open(record, "a") as file:
    file.write(json.dumps(document["changes"]) + chr(10))
"""


class Trial:
    """A plan at work in a directory of its own."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.daemon = Daemon(directory)
        self.tree = Tree(self.daemon.root)
        self.kills = self.stalls = 0
        self.patience = _PATIENCE
        self._began = 0  # where in the log the running daemon begins
        self._known: dict[str, str] = {}  # what was there before the rule, and isn't told
        self._record = directory / "record"

    def run(self) -> list[str]:
        """Carry it out; returns what is wrong in the end, nothing if all is well."""
        try:
            for operation in self.plan.before:
                self.tree.do(operation)
            if self.plan.settings.keys["initial"] == "ignore":
                self._known = self.tree.files()
            self._configure()
            self._start()
            eventually(self._listens, "the daemon is ready")
            for operation in self.plan.operations:
                self._do(operation)
            return self._judge()
        except AssertionError as problem:
            return [str(problem)]
        finally:
            self.tree.let_go()
            self.daemon.kill()

    # ---- operations

    def _configure(self) -> None:
        settings = self.plan.settings
        program = self.daemon.directory / "command.py"
        program.write_text(_COMMAND)
        command = [sys.executable, "-I", "-S", str(program), str(self._record), str(self.plan.seed)]
        command += [str(settings.failing), str(settings.dawdling)]
        action = f"exec: {json.dumps({'command': command, 'stdin': 'json'})}"
        self.daemon.configure(self.daemon.rule("mirror", actions=action, **settings.keys))

    def _do(self, operation: Operation) -> None:
        if operation.name == "pause":
            time.sleep(float(operation.arguments[0]))  # the pace of whoever works on the tree
        elif operation.name in _ON_THE_DAEMON:
            getattr(self, f"_{operation.name}")()
        else:
            self.tree.do(operation)

    def _kill(self) -> None:
        self.kills += self.daemon.process is not None
        self.daemon.kill()

    def _start(self) -> None:
        if self.daemon.process is None:
            self._began = len(self.daemon.log())
            self.daemon.process = self.daemon.launch()

    def _stall(self) -> None:
        if self.daemon.process is not None:
            self.stalls += 1
            self.daemon.signal(signal.SIGSTOP)

    def _go_on(self) -> None:
        if self.daemon.process is not None:
            self.daemon.signal(signal.SIGCONT)

    def _reload(self) -> None:
        if self._listens():
            self.daemon.signal(signal.SIGHUP)

    def _listens(self) -> bool:
        """True once the running daemon takes signals; before that they would end it."""
        return self.daemon.process is not None and "ready:" in self.daemon.log()[self._began :]

    # ---- the end

    def _judge(self) -> list[str]:
        self._start()
        self._go_on()
        self.tree.let_go()
        wrong = self._when_quiet()
        if wrong:
            return wrong
        self.daemon.stop()
        told = len(self._records())
        self._start()
        eventually(self._listens, "the daemon is ready")
        self.tree.create("sentinel", "x")
        wrong = self._when_quiet()
        extra = [f"told again after a restart: {change}" for change in self._records()[told:]]
        extra = [line for line in extra if "sentinel" not in line]
        bad = [line for line in self.daemon.log().splitlines() if any(word in line for word in _BAD)]
        return wrong + extra + bad

    def _when_quiet(self) -> list[str]:
        """What the records get wrong once nothing is left to do."""
        deadline = time.monotonic() + self.patience
        wrong = ["the daemon never became quiet"]
        while time.monotonic() < deadline:
            if self.daemon.running().poll() is not None:
                return [f"the daemon ended: {self.daemon.log()[-2000:]}"]
            before = len(self._records())
            if self._idle():
                wrong = self._differences()
                if not wrong and self._idle() and len(self._records()) == before:
                    return []
            time.sleep(0.05)
        return wrong

    def _idle(self) -> bool:
        """Ask the daemon whether anything is left to do; False until it answers."""
        if not self._listens():
            return False
        offset = len(self.daemon.log())
        self.daemon.signal(signal.SIGUSR1)
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            line = _STATISTICS.search(self.daemon.log(), offset)
            if line:
                rule = json.loads(line[1])["rules"]["mirror"]
                return not any(rule[key] for key in ("dirty", "running", "retrying", "open"))
            time.sleep(0.01)
        return False

    def _records(self) -> list[dict[str, str | None]]:
        text = self._record.read_text() if self._record.exists() else ""
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [change for line in whole for change in json.loads(line)]

    def _view(self) -> dict[str, str | None]:
        """What the records say: each path as it was last seen, until it was told to be gone."""
        view: dict[str, str | None] = dict(self._known)
        prefix = f"{self.daemon.root}/"
        for change in self._records():
            if change["kind"] == "moved":
                view.pop(str(change["old_path"]).removeprefix(prefix), None)
            path = str(change["path"]).removeprefix(prefix)
            if change["kind"] == "deleted":
                view.pop(path, None)
            else:
                view[path] = change["seen"]
        return view

    def _differences(self) -> list[str]:
        view, disk = self._view(), self.tree.files()
        return [
            f"{path}: the jobs know {view.get(path, _NOTHING)!r}, the disk has {disk.get(path, _NOTHING)!r}"
            for path in sorted(view.keys() | disk.keys())
            if view.get(path, _NOTHING) != disk.get(path, _NOTHING)
        ]


_NOTHING = "nothing"
_ON_THE_DAEMON = {"kill", "start", "stall", "go_on", "reload"}
