"""The scenario of those who follow: what 500 followers of the changes, of which half never read, cost the jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.measure import Probe, Spread, percentile, wait_idle, woken_at_once
from bench.places import REPEATS, Table, make_directories, place, ratio, until_started, write_files
from bench.recovery import live_change
from bench.watchers import Filewatchd, Job
from filewatchd.control.api import socket_in
from filewatchd.control.client import ask, lines

FILES = 50_000
READERS = 250
IDLERS = 250
_READERS = Path(__file__).parent / "readers.py"


class _Run(NamedTuple):
    latency: list[float]  # seconds from close to execve of another rule's command, during the burst
    status: list[float]  # seconds that a status took meanwhile
    burst: float  # seconds from the first file to the end of the last one's job
    lost: int  # changes that some reader didn't get
    memory: float  # MiB more than before the burst


def followers() -> Table:
    """A burst of 50,000 files, with and without followers."""
    alone, followed = [], []
    for _ in range(REPEATS):
        alone.append(_once(0, 0))
        followed.append(_once(READERS, IDLERS))
    before, after = (Spread.of([percentile(run.latency, 0.5) * 1000 for run in runs]) for runs in (alone, followed))
    return Table(
        f"{READERS + IDLERS} followers of the changes, of which {IDLERS} never read, during a burst of {FILES:,} files",
        "The burst goes into 100 directories, for a rule at default settings. Meanwhile a file is written for another"
        " rule (`settle: 0`) again and again, 50 ms after the last one's command began: its latency is from close to"
        " execve. After each of these the status is asked for, on a connection of its own. The readers are one process,"
        " which reads as fast as it can; lost are changes that one of them didn't get, or got in another order.",
        (
            "followers",
            "close to execve p50, ms",
            "p99, ms",
            "status p50, ms",
            "status, greatest, ms",
            "burst, s",
            "lost",
            "MiB more",
        ),
        [_row("none", alone), _row(f"{READERS + IDLERS}", followed)],
        [ratio("close to execve p50 during the burst, with followers to without", after, before)],
    )


def _row(name: str, runs: Sequence[_Run]) -> tuple[str, ...]:
    return (
        name,
        *(Spread.of([percentile(run.latency, share) * 1000 for run in runs]).text(2) for share in (0.5, 0.99)),
        Spread.of([percentile(run.status, 0.5) * 1000 for run in runs]).text(),
        Spread.of([max(run.status) * 1000 for run in runs]).text(),
        Spread.of([run.burst for run in runs]).text(),
        Spread.of([run.lost for run in runs]).text(0),
        Spread.of([run.memory for run in runs]).text(0),
    )


def _once(readers: int, idlers: int) -> _Run:
    """One burst with so many followers."""
    with place() as job:
        probe, live = Probe(job.work), job.work / "live"
        live.mkdir()
        make_directories(job.tree, 100)
        try:
            watcher = Filewatchd()
            with watcher.running(job._replace(rules=_rules(watcher, job, live, probe))) as running, woken_at_once():
                until_started(probe, live)
                wait_idle(running.pid)
                return _measured(job, probe, live, readers, idlers)
        finally:
            probe.close()


def _rules(watcher: Filewatchd, job: Job, live: Path, probe: Probe) -> str:
    words = json.dumps([*probe.words, "{path}"])
    return (
        f"{watcher.configuration(job)}"
        f"  - name: live\n    roots: ['{live}']\n    settle: 0s\n    actions:\n      - exec: {{command: {words}}}\n"
    )


def _measured(job: Job, probe: Probe, live: Path, readers: int, idlers: int) -> _Run:
    socket = socket_in(str(job.work / "run"))
    run = _Run([], [], 0.0, 0, 0.0)
    with _followed(socket, readers, idlers) as count:
        before = ask(socket, "status")["process"]["memory"]
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as other:
            writing = other.submit(write_files, job.tree, FILES, 100)
            while not writing.done() or not _worked(socket, run.status):
                run.latency.append(live_change(probe, live / f"{len(run.latency)}"))
        burst = time.monotonic() - begun
        memory = (ask(socket, "status")["process"]["memory"] - before) / 2**20
        told = sum(1 for _ in lines(socket, "changes", {"since": "0", "rule": "measured"}))
        if told < FILES:
            raise RuntimeError(f"{told} changes of {FILES} files are in the history")
        return run._replace(burst=burst, lost=told - count(told), memory=memory)


def _worked(socket: str, status: list[float]) -> bool:
    """Whether the rule has worked all, asked by a status whose time is noted."""
    begun = time.monotonic()
    rule = ask(socket, "status")["rules"]["measured"]
    status.append(time.monotonic() - begun)
    return not rule["dirty"] and not rule["running"]


@contextmanager
def _followed(socket: str, readers: int, idlers: int) -> Iterator[Callable[[int], int]]:
    """Followers, if there are any; gives what tells how many of so many changes each reader got, at least."""
    if not readers:
        yield lambda told: told
        return
    words = [sys.executable, "-I", str(_READERS), socket, "measured", str(readers), str(idlers)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("the followers can't connect")
            yield lambda told: _least(process, told)
        finally:
            process.kill()


def _least(process: subprocess.Popen[str], told: int) -> int:
    answer = json.loads(process.communicate(f"{told}\n")[0])
    if not answer["same"] and answer["least"] == answer["most"]:
        raise RuntimeError("the readers got the changes in different orders")
    return int(answer["least"])
