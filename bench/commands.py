"""How long `filewatchctl` takes to answer, from fork to exit, with its output read through a pipe."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Spread, percentile, wait_idle
from bench.places import REPEATS, Table, make_directories, place, write_files
from bench.watchers import Filewatchd

FILEWATCHCTL = Path(sys.executable).parent / "filewatchctl"
RUNS = 20
FILES = 2_000
GOAL = 200  # milliseconds


def commands() -> Table:
    """What a person waits for."""
    rows = []
    with place() as job:
        make_directories(job.tree, 20)
        with Filewatchd().running(job) as running:
            write_files(job.tree, FILES, 20)
            wait_idle(running.pid)
            control = [str(FILEWATCHCTL), "--socket", str(job.work / "run/control.sock")]
            asked = (["status"], ["jobs"], ["explain", str(job.tree / "0/file-0")])
            rows += [(f"`filewatchctl {words[0]}`", _median([*control, *words]).text(0)) for words in asked]
    rows.append(("the interpreter alone: `python -c pass`", _median([sys.executable, "-c", "pass"]).text(0)))
    return Table(
        f"The commands (goal: under {GOAL} ms)",
        f"filewatchctl, from fork to exit, of a daemon with a rule that has handled {FILES:,} files. Each figure is the"
        f" median of {RUNS} runs in a row; then of {REPEATS} such medians.",
        ("command", "ms"),
        rows,
        [],
    )


def _median(words: Sequence[str]) -> Spread:
    return Spread.of([percentile([_once(words) for _ in range(RUNS)], 0.5) * 1000 for _ in range(REPEATS)])


def _once(words: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begun
