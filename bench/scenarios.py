"""The scenarios: what is done to a tree, and what is read from each watcher. Each returns its part of the results."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench import checksumming, following, losing, many, recovery, reloading, rotating
from bench.commands import commands
from bench.measure import Memory, Probe, Spread, Start, memory, percentile, processor_time, wait_idle, woken_at_once
from bench.places import REPEATS, Table, make_directories, place, ratio, until_started, write_files
from bench.watchers import (
    Filewatchd,
    Incron,
    Inotifywait,
    InotifywaitAlone,
    Job,
    Running,
    Watchdog,
    Watcher,
    Watchfiles,
)

BURST = 50_000
LATENCY_WRITES = 500
ROUTED = 20_000
DIRECTORIES = 52_000
START_LIMIT = 180.0  # seconds; a watcher that takes longer is reported as such and tried once

# ---- a burst


def burst() -> Table:
    """50,000 files into 100 directories, every watcher at its defaults."""
    rows, costs = [], {}
    for watcher in (Watchdog(), Watchfiles(), Filewatchd()):
        told, cost = zip(*(_burst_once(watcher) for _ in range(REPEATS)), strict=True)
        lost = Spread.of([BURST - count for count in told])
        costs[watcher.name] = Spread.of([seconds / count * 1e6 for seconds, count in zip(cost, told, strict=True)])
        rows.append((watcher.name, Spread.of(told).text(0), lost.text(0), costs[watcher.name].text()))
    return Table(
        "A burst: 50,000 files written into 100 directories",
        "All at default settings. Told are distinct paths: for watchdog and watchfiles those their handler"
        " got (it only remembers them; neither knows files nor jobs), for filewatchd those in finished jobs,"
        " appended to a file by the job's own `dd`; manifest and journal are on. The processor time is user"
        " and system of the watching process and all it started, from the moment its watches stood.",
        ("watcher", "told", "lost", "µs of processor a file told"),
        rows,
        [
            ratio("CPU per file told, filewatchd to watchdog", costs["filewatchd"], costs["watchdog"]),
            ratio("CPU per file told, filewatchd to watchfiles", costs["filewatchd"], costs["watchfiles"]),
        ],
    )


def _burst_once(watcher: Watcher) -> tuple[int, float]:
    with place() as job:
        make_directories(job.tree, 100)
        with watcher.running(job) as running:
            wait_idle(running.pid)
            before = processor_time(running.pid)
            write_files(job.tree, BURST, 100)
            wait_idle(running.pid)
            seconds = processor_time(running.pid) - before
        return watcher.told(running), seconds


# ---- from close to the command's start


def latency() -> Table:
    """Single writes, one at a time: from close() to execve of the command and to its first act."""
    rows, found = [], {}
    for watcher in (Inotifywait("bash"), Inotifywait("sh"), Incron(), Filewatchd()):
        runs = [_latency_once(watcher) for _ in range(REPEATS)]
        found[watcher.name] = {
            (moment, share): Spread.of(
                [percentile([getattr(write, moment) for write in run], share) * 1000 for run in runs]
            )
            for moment in Start._fields
            for share in (0.5, 0.99)
        }
        rows.append((watcher.name, *(spread.text(2) for spread in found[watcher.name].values())))
    ours = found.pop("filewatchd")
    return Table(
        f"From close to the command started ({LATENCY_WRITES} writes a run, one at a time)",
        "filewatchd with `settle: 0`. execve is the kernel's IN_OPEN on the command's program, a private copy of"
        " `cat`, whoever starts it; first act is the IN_OPEN on the first file that the command opens, so with the"
        " command's own loading."
        " The next write comes 20 ms after the last command's.",
        ("watcher", "execve p50, ms", "execve p99, ms", "first act p50, ms", "first act p99, ms"),
        rows,
        [
            ratio(
                f"{moment.replace('act', 'first act')} p{share * 100:.0f}, filewatchd to {peer}",
                ours[moment, share],
                theirs[moment, share],
            )
            for peer, theirs in found.items()
            for moment, share in theirs
        ],
    )


def _latency_once(watcher: Watcher) -> list[Start]:
    """The seconds from close to both moments, for each write of a run."""
    with place() as job:
        probe = Probe(job.work)
        job = job._replace(probe=probe.words, settle="0s")
        try:
            with watcher.running(job):
                if isinstance(watcher, Incron):
                    until_started(probe, job.tree)  # it doesn't say when it is ready
                with woken_at_once():
                    return [_one_write(probe, job.tree / f"file{number}") for number in range(LATENCY_WRITES)]
        finally:
            probe.close()


def _one_write(probe: Probe, path: Path) -> Start:
    time.sleep(0.02)
    probe.forget()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.close(descriptor)
    closed = time.perf_counter()
    start = probe.started(5)
    if start is None:
        raise TimeoutError(f"no command was started for {path.name}")
    return Start(start.execve - closed, start.act - closed)


# ---- many rules


def rules() -> Table:
    """10, 100 and 1,000 rules on one root, each with a pattern of its own."""
    few, spread, rows = {}, {}, []
    for count in (10, 100, 1_000):
        few[count] = Spread.of([_rules_once(count, 10) for _ in range(REPEATS)])
        spread[count] = Spread.of([_rules_once(count, count) for _ in range(REPEATS)])
        rows.append((f"{count:,}", few[count].text(), spread[count].text()))
    return Table(
        f"Many rules on one root ({ROUTED:,} files written into 20 directories)",
        "Rule N includes `*.rN` and runs the `log` action. In the first figure all files end in `.r0` to"
        " `.r9`, so that the jobs are the same and only the routing differs; in the second they are spread"
        " evenly over all rules, whose jobs then are many and small.",
        ("rules", "µs of processor a file, ten rules concerned", "µs of processor a file, all rules concerned"),
        rows,
        [
            ratio("1,000 rules to 10, ten concerned", few[1_000], few[10]),
            ratio("1,000 rules to 10, all concerned", spread[1_000], spread[10]),
        ],
    )


def _rules_once(count: int, concerned: int) -> float:
    with place() as job:
        make_directories(job.tree, 20)
        each = "  - {{name: r{0}, roots: ['{1}'], include: ['*.r{0}'], actions: [log: {{}}]}}\n"
        text = "version: 1\nrules:\n" + "".join(each.format(number, job.tree) for number in range(count))
        watcher = Filewatchd()
        with watcher.running(job._replace(rules=text)) as running:
            wait_idle(running.pid)
            before = processor_time(running.pid)
            write_files(job.tree, ROUTED, 20, [f".r{number}" for number in range(concerned)])
            wait_idle(running.pid)
            return (processor_time(running.pid) - before) / ROUTED * 1e6


# ---- a large tree


def start() -> Table:
    """52,000 directories: from execve to the first job, and memory at rest."""
    rows, firsts, residents = [], {}, {}
    with place() as job:
        make_directories(job.tree, 40)
        for number in range(DIRECTORIES - 40):
            (job.tree / str(number % 40) / f"directory-{number}").mkdir()
        for watcher in (InotifywaitAlone(), Watchfiles(), Filewatchd(), Watchdog()):
            try:
                runs = [_start_once(watcher, job) for _ in range(1 if watcher.name == "watchdog" else REPEATS)]
            except TimeoutError:
                rows.append((watcher.name, f"> {START_LIMIT:.0f}", "-", "-", "-"))
                continue
            firsts[watcher.name] = Spread.of([run.first for run in runs])
            residents[watcher.name] = Spread.of([run.memory.rss for run in runs])
            ready, shared = Spread.of([run.ready for run in runs]), Spread.of([run.memory.pss for run in runs])
            rows.append(
                (
                    watcher.name,
                    ready.text(2),
                    firsts[watcher.name].text(2),
                    residents[watcher.name].text(),
                    shared.text(),
                )
            )
    ratios = [ratio("start to first job, filewatchd to inotifywait", firsts["filewatchd"], firsts["inotifywait"])]
    if "watchdog" in residents:
        ratios.append(ratio("resident memory, filewatchd to watchdog", residents["filewatchd"], residents["watchdog"]))
    return Table(
        f"A tree of {DIRECTORIES:,} directories",
        "Watches stand: from execve to the line that says so. First: from execve to the first job's command"
        " (filewatchd, `settle: 0`, execve of the command), line (inotifywait) or command (watchdog,"
        " watchfiles) for a file written to a random directory as soon as that line is there, "
        "and again every half second until it is told. The tree's"
        " metadata is in memory. Memory two seconds after, of the process and all it started. A watcher that"
        f" isn't ready after {START_LIMIT:.0f} s is tried once.",
        ("watcher", "watches stand, s", "first, s", "resident MiB", "proportional MiB"),
        rows,
        ratios,
    )


class Started(NamedTuple):
    """One start: seconds to ready and to the first job, memory at rest."""

    ready: float
    first: float
    memory: Memory


def _start_once(watcher: Watcher, job: Job) -> Started:
    work = Path(tempfile.mkdtemp(dir=job.work))
    probe = Probe(work)
    job = job._replace(work=work, probe=probe.words, settle="0s")
    sum(1 for _ in os.walk(job.tree))  # every watcher finds the same warm tree
    begun = time.monotonic()
    running = watcher.start(job)
    try:
        running.wait_for(watcher.ready, START_LIMIT)
        ready = time.monotonic() - begun
        _write_until_told(watcher, running, probe, job.tree)
        first = time.monotonic() - begun
        wait_idle(running.pid)
        return Started(ready, first, memory(running.pid))
    finally:
        running.stop()
        probe.close()


def _write_until_told(watcher: Watcher, running: Running, probe: Probe, tree: Path) -> None:
    """Write a file into a random directory, and another one each time it isn't told of soon."""
    directory = tree / str(random.randrange(40))
    directory /= random.choice(os.listdir(directory))
    deadline = time.monotonic() + START_LIMIT
    try:
        for number in itertools.count():
            path = directory / f"written-{number}"
            path.touch()
            with suppress(TimeoutError):
                if isinstance(watcher, InotifywaitAlone):
                    running.wait_for(str(path), 0.5)
                    return
                if probe.started(0.5):
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{watcher.name} told of nothing")
    finally:
        for path in directory.iterdir():
            path.unlink()


SCENARIOS: dict[str, Callable[[], Table]] = {
    "burst": burst,
    "overflow": recovery.overflow,
    "latency": latency,
    "rules": rules,
    "start": start,
    "baseline": recovery.baseline,
    "downtime": recovery.downtime,
    "fresh": recovery.fresh,
    "followers": following.followers,
    "commands": commands,
    "rotating": rotating.rotating,
    "losing": losing.losing,
    "many": many.many,
    "overshooting": losing.overshooting,
    "holding": rotating.holding,
    "reloads": reloading.reloads,
    "sets": reloading.sets,
    "building": checksumming.building,
    "hashing": checksumming.hashing,
    "indexed": checksumming.indexed,
}
