"""What all scenarios share: a place to work in, and how their results are put."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.measure import Probe, Spread
from bench.watchers import Job

REPEATS = 3
_WRITER = """
import os, sys
tree, count, directories, suffixes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
for number in range(count):
    path = f"{tree}/{number % directories}/file-{number}{suffixes[number % len(suffixes)]}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, b"content")
    os.close(descriptor)
"""


class Table(NamedTuple):
    """One scenario's part of the report."""

    title: str
    how: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    ratios: list[str]


@contextmanager
def place() -> Iterator[Job]:
    """A fresh tree and work directory beside each other, removed afterwards."""
    base = Path(tempfile.mkdtemp(prefix="filewatchd-bench-"))
    try:
        for name in ("tree", "work"):
            (base / name).mkdir()
        yield Job(base / "tree", base / "work")
    finally:
        shutil.rmtree(base)


def ratio(what: str, ours: Spread, theirs: Spread) -> str:
    """A ratio of two medians of this run, with the widest it could be."""
    widest = ours.least / theirs.greatest, ours.greatest / theirs.least
    return f"{what}: {ours.median / theirs.median:.2f} ({widest[0]:.2f}-{widest[1]:.2f})"


def until_started(probe: Probe, tree: Path) -> None:
    """Write a file again and again until its command is started: from then on the watcher sees changes."""
    for _ in range(100):
        (tree / "first").write_bytes(b"")
        if probe.started(0.2):
            return
    raise TimeoutError("no command was started")


def write_files(tree: Path, count: int, directories: int, suffixes: Sequence[str] = ("",)) -> float:
    """Write files from a process of its own as fast as it can; returns the seconds it took."""
    start = time.monotonic()
    words = [sys.executable, "-c", _WRITER, str(tree), str(count), str(directories), ",".join(suffixes)]
    subprocess.run(words, check=True)
    return time.monotonic() - start


def make_directories(tree: Path, count: int) -> None:
    """Make ``count`` empty directories directly in the tree."""
    for number in range(count):
        (tree / str(number)).mkdir()
