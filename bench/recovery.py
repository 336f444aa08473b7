"""The scenarios of what is kept: an overflow, a baseline, changes while the daemon was down, and what keeping costs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.measure import Probe, Spread, percentile, processor_time, wait_idle, woken_at_once
from bench.places import REPEATS, Table, make_directories, place, ratio, until_started, write_files
from bench.watchers import Filewatchd, Job, Watchman
from filewatchd.control.api import socket_in
from filewatchd.control.client import ask

OVERFLOWN = 30_000
KEPT_FILES = 350_000
KEPT_IN = 3_500  # directories
CHANGED = 100
FRESH_FILES = 200_000
FRESH_DIRECTORIES = 2_000
_START_LIMIT = 300.0  # seconds
_EVERY = 0.05  # seconds between two live writes
_MAKE = """
import os, sys
tree, files, directories = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(directories):
    directory = f"{tree}/directory-{number:05}"
    os.mkdir(directory)
    for each in range(number, files, directories):
        os.close(os.open(f"{directory}/{each:0>43}", os.O_WRONLY | os.O_CREAT, 0o644))
"""


def make_files(tree: Path, files: int, directories: int) -> None:
    """Fresh directories, each filled as soon as it is there; the files' paths have 60 bytes in the tree."""
    subprocess.run([sys.executable, "-c", _MAKE, str(tree), str(files), str(directories)], check=True)


@contextmanager
def _kept() -> Iterator[Job]:
    """A tree of 350,000 files whose metadata is in memory."""
    with place() as job:
        make_files(job.tree, KEPT_FILES, KEPT_IN)
        yield job


# ---- an overflow


def overflow() -> Table:
    """30,000 files written while the watcher is stopped: how long after it goes on it knows all of them."""
    seconds, cost, walks = zip(*(_overflow_once() for _ in range(REPEATS)), strict=True)
    theirs = Spread.of([_watchman_once() for _ in range(REPEATS)])
    ours, spent = Spread.of(seconds), Spread.of([value / OVERFLOWN * 1e6 for value in cost])
    return Table(
        f"An overflow: {OVERFLOWN:,} files written into 100 directories while the watcher is stopped (SIGSTOP)",
        "The kernel's queue holds some 5,000 of the files; the rest is found by comparing with the disk. filewatchd:"
        " from SIGCONT to the answer of a flush, when a finished job has seen each file. watchman: from SIGCONT to the"
        " answer of a query that names all files; it runs nothing. The processor time is filewatchd's alone. One walk"
        " of the same tree in Python that only looks at each file takes"
        f" {Spread.of(walks).text(2)} s.",
        ("watcher", "seconds until exact", "µs of processor a file"),
        [("filewatchd", ours.text(2), spent.text()), ("watchman", theirs.text(2), "-")],
        [
            ratio("Seconds until exact, filewatchd to watchman", ours, theirs),
            ratio("Seconds until exact, filewatchd to one walk", ours, Spread.of(walks)),
        ],
    )


def _overflow_once() -> tuple[float, float, float]:
    watcher = Filewatchd()
    with place() as job:
        make_directories(job.tree, 100)
        with watcher.running(job) as running:
            wait_idle(running.pid)
            before = processor_time(running.pid)
            running.process.send_signal(signal.SIGSTOP)
            write_files(job.tree, OVERFLOWN, 100)
            walk = _walk(job.tree)
            begun = time.monotonic()
            running.process.send_signal(signal.SIGCONT)
            answer = ask(socket_in(str(job.work / "run")), "flush")
            seconds = time.monotonic() - begun
            spent = processor_time(running.pid) - before
            status = ask(socket_in(str(job.work / "run")), "status")
        told = watcher.told(running)
        if not answer["done"] or told != OVERFLOWN or not status["watch"]["backends"]["inotify"]["overflows"]:
            raise RuntimeError(f"{told} of {OVERFLOWN} files were told of: {answer}")
        return seconds, spent, walk


def _watchman_once() -> float:
    """Seconds from SIGCONT until watchman names all files."""
    with place() as job:
        make_directories(job.tree, 100)
        with Watchman().running(job) as running:
            words = Watchman.client(job)
            clock = json.loads(subprocess.check_output([*words, "clock", str(job.tree)]))["clock"]
            running.process.send_signal(signal.SIGSTOP)
            write_files(job.tree, OVERFLOWN, 100)
            begun = time.monotonic()
            running.process.send_signal(signal.SIGCONT)
            asked = {"since": clock, "fields": ["name"], "expression": ["type", "f"]}
            query = json.dumps(["query", str(job.tree), asked])
            answer = json.loads(subprocess.check_output([*words, "-j"], input=query.encode()))
            seconds = time.monotonic() - begun
        if len(answer["files"]) != OVERFLOWN:
            raise RuntimeError(f"watchman names {len(answer['files'])} of {OVERFLOWN} files")
        return seconds


def _walk(tree: Path) -> float:
    """Seconds to look at every file of a tree once."""
    begun = time.monotonic()
    for directory, _, names in os.walk(tree):
        for name in names:
            os.lstat(f"{directory}/{name}")
    return time.monotonic() - begun


# ---- a baseline


class _Baseline(NamedTuple):
    ready: float  # seconds from execve
    live: list[float]  # seconds from close to execve of another rule's command, while it was made
    rest: list[float]  # the same, at rest
    size: float  # bytes of journal.db a file


def baseline() -> Table:
    """350,000 files that the daemon has never seen, and another rule's live changes meanwhile."""
    with _kept() as job:
        runs = [_baseline_once(job) for _ in range(REPEATS)]
    ready = Spread.of([run.ready for run in runs])
    busy, rest = (
        Spread.of([percentile(found, 0.5) * 1000 for found in each])
        for each in zip(*((run.live, run.rest) for run in runs), strict=True)
    )
    rows = [
        ("execve to ready, s", ready.text(2)),
        ("bytes of journal.db a file (60-byte paths)", Spread.of([run.size for run in runs]).text(0)),
        ("close to execve p50, baseline under way, ms", busy.text(2)),
        ("close to execve p50, at rest, ms", rest.text(2)),
    ]
    return Table(
        f"A baseline of {KEPT_FILES:,} files in {KEPT_IN:,} directories",
        "One rule on the tree, `initial: ignore`; the database is measured after a clean end. Then a daemon with a rule"
        " on another directory gets the rule on the tree by a reload, and a file is written for the first one every"
        " 50 ms (`settle: 0`), at rest and from the reload until the tree's root is live.",
        ("what", "filewatchd"),
        rows,
        [ratio("live change while the baseline is made, to at rest", busy, rest)],
    )


def _baseline_once(job: Job) -> _Baseline:
    work = Path(tempfile.mkdtemp(dir=job.work))
    probe, live = Probe(work), work / "live"
    live.mkdir()
    try:
        ready, size = _started(job._replace(work=work))
        words = ", ".join(f"'{word}'" for word in (*probe.words, "{path}"))
        rules = (
            f"version: 1\nrules:\n  - name: live\n    roots: ['{live}']\n    settle: 0s\n"
            f"    actions:\n      - exec: {{command: [{words}]}}\n"
        )
        shutil.rmtree(work / "state")
        return _Baseline(ready, *_beside(job._replace(work=work, rules=rules), live, probe), size)
    finally:
        probe.close()
        shutil.rmtree(work)


def _started(job: Job) -> tuple[float, float]:
    begun = time.monotonic()
    with Filewatchd().running(job, _START_LIMIT):
        ready = time.monotonic() - begun
    return ready, (job.work / "state/journal.db").stat().st_size / KEPT_FILES


def _beside(job: Job, live: Path, probe: Probe) -> tuple[list[float], list[float]]:
    """Live changes while the tree's baseline is made, and before that."""
    watcher = Filewatchd()
    with watcher.running(job, _START_LIMIT) as running, woken_at_once():
        until_started(probe, live)
        rest = [live_change(probe, live / f"rest{number}") for number in range(50)]
        more = f"  - {{name: kept, roots: ['{job.tree}'], actions: [log: {{}}]}}\n"
        (job.work / "filewatchd.yaml").write_text(f"{job.rules}{more}")
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("generation 2", _START_LIMIT)
        busy: list[float] = []
        while not _live(job):
            busy.append(live_change(probe, live / f"busy{len(busy)}"))
        return busy, rest


def _live(job: Job) -> bool:
    roots = ask(socket_in(str(job.work / "run")), "status")["watch"]["roots"]
    return len(roots) == 2 and all(root["state"] == "live" for root in roots)


def live_change(probe: Probe, path: Path) -> float:
    """Seconds from a file's close to the execve of its command; begins after a pause of 50 ms."""
    time.sleep(_EVERY)
    probe.forget()
    path.write_bytes(b"")
    closed = time.perf_counter()
    start = probe.started(30)
    if start is None:
        raise TimeoutError(f"no command was started for {path.name}")
    return start.execve - closed


# ---- changes while it was down


def downtime() -> Table:
    """100 of 350,000 files change while the daemon is down."""
    watcher, seconds, told = Filewatchd(), [], []
    with _kept() as job:
        with watcher.running(job, _START_LIMIT):
            pass
        names = [entry.path for directory in os.scandir(job.tree) for entry in os.scandir(directory.path)]
        for number in range(REPEATS):
            for path in random.Random(number).sample(names, CHANGED):
                Path(path).write_text(f"changed {number}")
            watcher.paths(job).write_bytes(b"")
            begun = time.monotonic()
            running = watcher.start(job)
            try:
                while watcher.paths(job).read_bytes().count(b"\0") < CHANGED:
                    time.sleep(0.001)
                    if time.monotonic() - begun > _START_LIMIT:
                        raise TimeoutError("not all changes came")
                seconds.append(time.monotonic() - begun)
                running.wait_for("ready:", _START_LIMIT)
                wait_idle(running.pid)
            finally:
                running.stop()
            told.append(watcher.told(running))
    return Table(
        f"{CHANGED} of {KEPT_FILES:,} files changed while the daemon was down",
        "From execve to the end of the last of their jobs' commands. The tree's metadata is in memory.",
        ("watcher", "seconds", "changes told"),
        [("filewatchd", Spread.of(seconds).text(2), Spread.of(told).text(0))],
        [],
    )


# ---- what manifest and journal cost


class _Stateless(Filewatchd):
    """The daemon that keeps nothing."""

    name = "filewatchd without manifest and journal"

    def command(self, job: Job) -> list[str]:
        return [sys.executable, "-m", "bench.stateless", *super().command(job)[1:]]


def fresh() -> Table:
    """200,000 files in 2,000 fresh directories, with and without manifest and journal."""
    rows, costs = [], {}
    for watcher in (Filewatchd(), _Stateless()):
        told, cost = zip(*(_fresh_once(watcher) for _ in range(REPEATS)), strict=True)
        lost = Spread.of([FRESH_FILES - count for count in told])
        costs[watcher.name] = Spread.of([seconds / FRESH_FILES * 1e6 for seconds in cost])
        rows.append((watcher.name, lost.text(0), costs[watcher.name].text()))
    return Table(
        f"A burst of {FRESH_FILES:,} files over {FRESH_DIRECTORIES:,} fresh directories",
        "Default settings; the job's `dd` appends the paths. The second daemon is the same program with the"
        " journal's and the manifest's reading and writing taken out.",
        ("watcher", "lost", "µs of processor a file"),
        rows,
        [ratio("CPU with manifest and journal, to without", costs["filewatchd"], costs[_Stateless.name])],
    )


def _fresh_once(watcher: Filewatchd) -> tuple[int, float]:
    with place() as job:
        environment = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # for `python -m bench.stateless` elsewhere
        try:
            with watcher.running(job) as running:
                wait_idle(running.pid)
                before = processor_time(running.pid)
                make_files(job.tree, FRESH_FILES, FRESH_DIRECTORIES)
                wait_idle(running.pid)
                seconds = processor_time(running.pid) - before
        finally:
            os.environ["PYTHONPATH"] = environment
        return watcher.told(running), seconds
