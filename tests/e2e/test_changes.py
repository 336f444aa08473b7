"""The changes over the socket: resumed without a gap, replayed into a copy, followed by many."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control import client
from filewatchd.control.api import RequestError, socket_in
from tests.amounts import amount
from tests.e2e import replaying
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ALL, ask, configure, small_queue

_READERS = Path(__file__).parents[2] / "bench" / "readers.py"
_LOG = "log: {}"


def control(daemon: Daemon) -> str:
    return socket_in(str(daemon.directory / "run"))


def flush(daemon: Daemon) -> None:
    assert ask(daemon, "flush")["done"]


def changes(daemon: Daemon, **asked: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.lines(control(daemon), "changes", asked)]


def told(daemon: Daemon, **asked: Any) -> list[tuple[str, ...]]:
    found = changes(daemon, **asked)
    return [(line["kind"], os.path.relpath(line["path"], daemon.root), line["source"]) for line in found]


def test_changes_are_told_with_where_they_are_from(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions=_LOG, changes=ALL))
    daemon.start()
    (daemon.root / "a").write_text("x")
    flush(daemon)
    (daemon.root / "a").rename(daemon.root / "c")
    flush(daemon)
    daemon.stop()
    (daemon.root / "b").write_text("x")
    daemon.start()
    flush(daemon)
    assert told(daemon) == [("created", "a", "live"), ("moved", "c", "live"), ("created", "b", "scan")]
    assert told(daemon, path=str(daemon.root / "c")) == [("moved", "c", "live")]
    assert told(daemon, path=str(daemon.root / "a")) == [("created", "a", "live"), ("moved", "c", "live")]
    (line,) = changes(daemon, limit=1)
    assert (line["rules"], line["root"], line["is_dir"]) == (["recorded"], str(daemon.root), False)
    assert (line["host"], line["instance"]) == (os.uname().nodename, "main")


def test_a_polling_backends_changes_are_polled(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions=_LOG, backend="poll"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    flush(daemon)
    assert told(daemon) == [("created", "a", "poll")]


def test_a_name_of_any_bytes_is_told_and_found(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions=_LOG))
    daemon.start()
    path = os.fsencode(daemon.root) + b"/\xff"
    Path(os.fsdecode(path)).write_text("x")
    (daemon.root / "a").write_text("x")
    flush(daemon)
    encoded = base64.b64encode(path).decode()
    for asked in ({"path_b64": encoded}, {"path": os.fsdecode(path)}):
        (line,) = changes(daemon, **asked)
        assert line["path_b64"] == encoded


def test_since_goes_on_without_a_gap_over_kills_and_restarts(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions=_LOG, settle="10ms"))
    daemon.start()
    got: list[dict[str, Any]] = []
    for life in range(4):
        for number in range(300):
            (daemon.root / f"{life}-{number}").write_text("x")
        following = client.lines(
            control(daemon), "changes", {"since": got[-1]["cursor"] if got else "0", "follow": True}
        )
        got += [json.loads(next(following)) for _ in range(100)]
        daemon.kill() if life % 2 else daemon.stop()
        daemon.start()
    flush(daemon)
    got += changes(daemon, since=got[-1]["cursor"])
    assert got == changes(daemon, since="0")
    assert {line["path"] for line in got} == {str(path) for path in daemon.root.iterdir()}
    assert "Traceback" not in daemon.log()


def test_the_history_is_bounded_and_says_where_it_begins(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(actions=_LOG, settle="10ms"))
    daemon.start()
    (daemon.root / "first").write_text("x")
    flush(daemon)
    (first,) = changes(daemon)
    for number in range(20):
        (daemon.root / f"{number}").write_text("x")
        flush(daemon)
    configure(daemon, daemon.rule(actions=_LOG), daemon={"history": {"changes": 5}})
    daemon.signal(signal.SIGHUP)
    eventually(lambda: ask(daemon, "status")["journal"]["changes"] == 5, "all but five are forgotten", 20)
    with pytest.raises(RequestError, match="forgotten") as caught:
        changes(daemon, since=first["cursor"])
    assert caught.value.status == 410
    kept = [f"{number}" for number in range(15, 20)]
    for asked in ({}, {"since": "0"}, {"since": caught.value.more["oldest"]}):
        assert [name for _, name, _ in told(daemon, **asked)] == kept


# ---- a copy


class Churn:
    """Does this and that to a tree; each seed something else."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._random.choices((self._write, self._delete, self._rename, self._rename_directory), (8, 2, 2, 0.2))[0]()

    def _place(self) -> Path:
        depth = self._random.randrange(3)
        return self._root.joinpath(*(f"d{self._random.randrange(4)}" for _ in range(depth)), self._name())

    def _name(self) -> str:
        return f"f{self._random.randrange(150)}"

    def _some(self, wanted: Callable[[Path], bool]) -> Path | None:
        found = sorted(path for path in self._root.rglob("*") if wanted(path))
        return self._random.choice(found) if found else None

    def _write(self) -> None:
        path = self._place()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{self._random.random()}" * self._random.randrange(20))

    def _delete(self) -> None:
        if path := self._some(Path.is_file):
            path.unlink()

    def _rename(self) -> None:
        if path := self._some(Path.is_file):
            target = self._place()
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    def _rename_directory(self) -> None:
        if path := self._some(Path.is_dir):
            target = self._root / f"d{self._random.randrange(4)}"
            if target.exists() and target not in (path, *path.parents):
                shutil.rmtree(target)
            if not target.exists() and path not in target.parents:
                path.rename(target)


class Replayer:
    """The program of `replaying`, which may be killed."""

    def __init__(self, daemon: Daemon) -> None:
        self.copy = daemon.directory / "copy"
        self._words = [sys.executable, "-I", replaying.__file__, control(daemon), str(daemon.root), str(self.copy)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._words)

    def kill(self) -> None:
        if self.process is not None:
            assert self.process.poll() is None, "it ended by itself"
            self.process.kill()
            self.process.wait()
            self.process = None

    def once(self) -> None:
        assert subprocess.run([*self._words, "once"], check=False).returncode == 0

    def moved(self) -> None:
        """Wait until it goes on by at least one change."""
        place = Path(f"{self.copy}.cursor")
        before = place.read_text() if place.exists() else ""
        eventually(lambda: place.exists() and place.read_text() != before, "the copy goes on")


def overflows(daemon: Daemon) -> int:
    return int(ask(daemon, "status")["watch"]["backends"]["inotify"]["overflows"])


@pytest.mark.parametrize("seed", range(1, amount(1, 10) + 1))
def test_replayed_changes_make_a_copy_over_overflows_kills_and_restarts(
    daemon: Daemon, program: Callable[[str], str], seed: int
) -> None:
    rsync = program("rsync")
    churn, replayer = Churn(daemon.root, seed), Replayer(daemon)
    daemon.configure(daemon.rule(actions=_LOG, changes=ALL, settle="10ms"))
    churn.run(100)
    with small_queue():
        daemon.start()
        for path in daemon.root.rglob("*"):  # what was there before the rule is no change
            path.touch()
    replayer.start()
    try:
        for _ in range(2):
            churn.run(100)
            daemon.signal(signal.SIGSTOP)
            churn.run(400)
            daemon.signal(signal.SIGCONT)
            replayer.moved()
            eventually(lambda: overflows(daemon) > 0, "it was an overflow", 20)
            churn.run(100)
            daemon.kill()
            churn.run(100)
            with small_queue():
                daemon.start()
            churn.run(100)
            replayer.kill()
            churn.run(100)
            replayer.start()
            daemon.stop()
            churn.run(100)
            with small_queue():
                daemon.start()
        flush(daemon)
    finally:
        replayer.kill()
    replayer.once()
    words = [rsync, "-n", "-rtcmO", "--delete", "--itemize-changes", f"{daemon.root}/", f"{replayer.copy}/"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == ""
    assert sum(path.is_file() for path in replayer.copy.rglob("*")) > 50
    sources = {line["source"] for line in changes(daemon, since="0")}
    assert sources >= {"live", "scan", "rescan"}


# ---- many followers


def burst(daemon: Daemon, name: str, files: int) -> float:
    """What it costs the daemon, in seconds of CPU, from the first file to the end of the last one's job."""
    before: float = ask(daemon, "status")["process"]["cpu_seconds"]
    directory = daemon.root / name
    directory.mkdir()
    for number in range(files):
        (directory / f"{number}").write_text("x")
    flush(daemon)
    after: float = ask(daemon, "status")["process"]["cpu_seconds"]
    return after - before


def test_five_hundred_followers_of_which_half_never_read(daemon: Daemon) -> None:
    """Who reads loses nothing, who doesn't costs nothing, and neither holds up the jobs, or who asks meanwhile."""
    files = amount(1500, 3000)
    daemon.configure(daemon.rule(actions=_LOG, settle="1s"))
    daemon.start()
    alone = max(burst(daemon, f"alone{number}", files) for number in range(2))
    since = changes(daemon, limit=1)[0]["cursor"]
    words = [sys.executable, "-I", str(_READERS), control(daemon), "recorded", "250", "250"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as readers:
        assert readers.stdout is not None
        assert readers.stdout.readline() == "ready\n"
        memory = ask(daemon, "status")["process"]["memory"]
        followed = burst(daemon, "followed0", files)
        with asking(daemon) as waits:
            burst(daemon, "followed1", files)
        found = changes(daemon, since=since)
        told = json.loads(readers.communicate(f"{len(found)}\n")[0])
        grown = ask(daemon, "status")["process"]["memory"] - memory
    assert told == {"least": len(found), "most": len(found), "same": True, "idle": 250}
    assert len({line["path"] for line in found}) == 2 * files
    assert followed < 12 * alone, "a change is told all who follow at once: made anew for each it would be 50 times"
    assert sorted(waits)[len(waits) // 2] < sum(waits) / 3, "who asks isn't held up until the burst is over"
    assert grown < 64 * 2**20


@contextmanager
def asking(daemon: Daemon) -> Iterator[list[float]]:
    """Ask for the status again and again, from a thread; how long each answer took."""
    waits: list[float] = []
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set():
            begun = time.monotonic()
            ask(daemon, "status")
            waits.append(time.monotonic() - begun)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()
