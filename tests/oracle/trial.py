"""One trial: a plan carried out by several processes beside a real daemon, and what must be true after a flush.

What the jobs saw must amount to the tree: each file with its content, and no file that is gone. The manifest must have
each file's identity, and nothing else. Nothing may have run for a path that never matched, nothing may be left to
do, and the promise must be said to be kept. A restart on the quiet tree has nothing more to tell.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from filewatchd.jobs.flush import MOST
from tests.e2e.running import eventually
from tests.oracle.operations import PHASES, WORKERS, Operation, Plan
from tests.oracle.subject import Row, Subject
from tests.oracle.tree import Tree, matches

_PATIENCE = 30.0  # seconds; only a failing trial waits so long
_BAD = ("internal error", "Traceback", " is held:", "damaged", "failed by a bug")
_LEFT = ("held", "backoff", "failed", "skipped", "stalled")
_NOTHING = "nothing"
_DEATHS = ("kill", "start_to_die")
_WORKER = Path(__file__).with_name("tree.py")


class Trial:
    """A plan at work in a directory of its own."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        # A directory that is moved away and back leaves no trace (decision 0015): where it may do so between two polls,
        # or news of it may die with the daemon, only the command can notice.
        killed = any(operation.name in _DEATHS for _, operation in plan.flat())
        strict = killed or plan.settings.keys["backend"] == "poll"
        self.subject = Subject(directory, plan.seed, plan.settings, strict=strict)
        self.tree = Tree(self.subject.daemon.root)
        self.patience = _PATIENCE
        self._known: dict[str, str] = {}  # what was there before the rule, and isn't told
        self._workers: list[subprocess.Popen[bytes]] = []
        (directory / "away").mkdir()

    def run(self) -> list[str]:
        """Carry it out; returns what is wrong in the end, nothing if all is well."""
        try:
            self._work()
            return list(self._judge())
        except AssertionError as problem:
            return [str(problem)]
        finally:
            self._end()

    # ---- work

    def _work(self) -> None:
        for operation in self.plan.lists["before"]:
            self.tree.do(*operation)
        self.tree.let_go()
        ignored = self.plan.settings.keys["initial"] == "ignore"
        if ignored:
            self._known = self.tree.contents()
        self.subject.start()
        if ignored:  # what changes before the rule's time begins is nothing new either
            eventually(self.subject.listens, "the daemon is ready")
        self._workers = [self._worker() for _ in range(WORKERS)]
        for phase in range(PHASES):
            self._phase(phase)
        for worker in self._workers:
            worker.communicate(timeout=self.patience * 2)
            assert worker.returncode == 0, "a worker failed: the trial itself is at fault"

    def _worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", str(_WORKER), str(self.tree.root)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _phase(self, phase: int) -> None:
        for number, worker in enumerate(self._workers):
            self._feed(worker, self.plan.lists[f"{phase} worker {number}"])
        for operation in self.plan.lists[f"{phase} daemon"]:
            self._live(operation)

    def _feed(self, worker: subprocess.Popen[bytes], operations: Sequence[Operation]) -> None:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(operations).encode() + b"\n")
        worker.stdin.flush()

    def _live(self, operation: Operation) -> None:
        if operation.name == "pause":
            time.sleep(float(operation.arguments[0]))
        else:
            getattr(self.subject, operation.name)(*operation.arguments)

    def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.communicate()
        self.subject.end()

    # ---- judgement

    def _judge(self) -> Iterator[str]:
        self.subject.go_on()
        self.subject.start()
        yield from self._flushed()
        yield from self._at_rest()
        yield from self._left_behind()
        yield from self._told_again()
        log = self.subject.daemon.log()
        yield from (line for line in log.splitlines() if any(word in line for word in _BAD))

    def _flushed(self) -> Iterator[str]:
        """After one flush only what it lists may be unknown; then that gets done, too."""
        answer = self._flush()
        listed = {self.subject.inside(entry["path"]) for kind in _LEFT for entry in answer[kind]}
        if all(len(answer[kind]) < MOST for kind in _LEFT):  # else it can't list them all
            yield from (f"right after a flush: {line}" for line in self._differences(besides=listed))
        deadline = time.monotonic() + self.patience
        while any(answer[kind] for kind in (*_LEFT, "paused")) and time.monotonic() < deadline:
            time.sleep(0.02)
            answer = self._flush()
        yield from (f"flush leaves {kind}: {answer[kind]}" for kind in (*_LEFT, "paused") if answer[kind])

    def _flush(self) -> Any:
        answer = self.subject.flush(self.patience)
        assert answer["done"], f"a flush doesn't end: {answer}, {self.subject.unrest()}"
        return answer

    def _at_rest(self) -> Iterator[str]:
        """Second looks come by themselves; then nothing is left to do."""
        deadline = time.monotonic() + self.patience
        while (unrest := self.subject.unrest()) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield from unrest
        yield from self._differences()
        yield from self._strangers()

    def _view(self) -> dict[str, str | None]:
        """What the records say: each path as it was last seen, until it was told to be gone."""
        view: dict[str, str | None] = dict(self._known)
        for change in self.subject.told():
            if change["kind"] == "moved":
                view.pop(change["old_path"], None)
            if change["kind"] == "deleted":
                view.pop(change["path"], None)
            else:
                view[change["path"]] = change["seen"]
        return view

    def _differences(self, besides: Collection[str] = ()) -> list[str]:
        view, disk = self._view(), self.tree.contents()
        return [
            f"{path}: the jobs know {view.get(path, _NOTHING)!r}, the disk has {disk.get(path, _NOTHING)!r}"
            for path in sorted((view.keys() | disk.keys()) - set(besides))
            if view.get(path, _NOTHING) != disk.get(path, _NOTHING)
        ]

    def _strangers(self) -> Iterator[str]:
        for change in self.subject.told():
            if not all(matches(change[key]) for key in ("path", "old_path") if change.get(key)):
                yield f"run for a path that never matched: {change}"

    def _left_behind(self) -> Iterator[str]:
        """The manifest, the job journal and the state file, once the daemon has ended."""
        self.subject.daemon.stop()
        rows, disk = self.subject.manifest(), self.tree.files()
        files = {path: Row(found.st_ino, found.st_size, found.st_mtime_ns) for path, found in disk.items()}
        for path in sorted(rows.keys() | files.keys()):
            if rows.get(path) != files.get(path):
                yield f"{path}: the manifest has {rows.get(path)}, the disk has {files.get(path)}"
        yield from self.subject.unfinished()
        broken = self.subject.daemon.statistics()["promise_broken_since_ns"]
        if broken is not None:
            yield f"the promise is said to be broken since {broken}"

    def _told_again(self) -> Iterator[str]:
        told = len(self.subject.told())
        self.subject.start()
        self._flush()
        yield from (f"told again after a restart: {change}" for change in self.subject.told()[told:])
