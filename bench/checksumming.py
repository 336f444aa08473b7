"""The index of checksums against AIDE, sha256sum, openssl and b3sum.

``FILEWATCHD_BENCH_SCALE`` (1) shrinks the data for a first try. Files are in the page cache before anybody reads them.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import Spread, memory, wait_idle
from bench.places import REPEATS, Table, place, ratio
from bench.watchers import Filewatchd, Job, Running
from filewatchd.control import client
from filewatchd.control.api import socket_in
from filewatchd.control.places import action_place
from filewatchd.state.index.reading import Reader

SCALE = float(os.environ.get("FILEWATCHD_BENCH_SCALE", "1"))
SMALL = int(100_000 * SCALE)
MILLION = int(1_000_000 * SCALE)
LARGE, EACH = max(2, int(32 * SCALE)), 256 << 20 if SCALE >= 0.1 else 16 << 20
IN_ONE = 1000  # files of a directory

_AIDE = """
database_in=file:{work}/aide.db
database_out=file:{work}/aide.db
gzip_dbout=no
{tree} p+u+g+n+s+m+c+i+sha256
"""


# ---- trees


def small_files(tree: Path, count: int, size: int) -> None:
    """Files in directories of a thousand, with paths of some 60 bytes below the tree."""
    for number in range(count):
        directory = tree / f"directory-of-some-length-{number // IN_ONE:06}"
        if number % IN_ONE == 0:
            directory.mkdir()
        with (directory / f"file-with-a-name-{number:09}.bin").open("wb") as file:
            if size:
                file.write(os.urandom(size))


def warm(tree: Path) -> None:
    """Have all of it in the page cache."""
    subprocess.run(f"find '{tree}' -type f -print0 | xargs -0 cat > /dev/null", shell=True, check=True)


# ---- ours


class Index:
    """A daemon that keeps an index of the tree."""

    def __init__(self, job: Job, running: Running) -> None:
        self._job, self.pid = job, running.pid
        self._socket = socket_in(str(job.work / "run"))

    def ask(self, endpoint: str, *, acts: bool = False, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = client.ask(self._socket, action_place("checksum", endpoint, acts=acts), arguments)
        return answer

    def seconds(self, kind: str, within: float = 900.0) -> float:
        """Wait for the last run of a kind; how long it took."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            run = next((run for run in self.ask("runs")["runs"] if run["kind"] == kind), None)
            if run is not None and run["ended"] is not None:
                began, ended = (datetime.fromisoformat(run[name]) for name in ("began", "ended"))
                return float((ended - began).total_seconds())
            time.sleep(0.1)
        raise TimeoutError(f"the {kind} did not end within {within:.0f} s")

    def verify(self, mode: str) -> float:
        self.ask("verify", acts=True, mode=mode)
        return self.seconds("verify")

    def per_file(self) -> float:
        """Bytes of the index for each file, after a checkpoint."""
        path = self._job.work / "state/index.db"
        files = self.ask("status")["roots"][0]["files"]
        return path.stat().st_size / int(files)


@contextmanager
def indexing(job: Job, **options: Any) -> Iterator[Index]:
    """The daemon, once its roots are live."""
    rules = f"version: 1\nrules:\n  - name: measured\n    roots: ['{job.tree}']\n    actions:\n      - checksum: "
    with Filewatchd().running(job._replace(rules=rules + json.dumps(options) + "\n")) as running:
        yield Index(job, running)


def timed(command: str | Sequence[str]) -> float:
    """Seconds of a command; AIDE exits with what it found."""
    began = time.perf_counter()
    subprocess.run(command, shell=isinstance(command, str), check=False, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


# ---- scenarios


def building() -> Table:
    """Small files: a build and both verifies."""
    found: dict[str, list[float]] = {}

    def add(name: str, seconds: float) -> None:
        found.setdefault(name, []).append(SMALL / seconds)

    for _ in range(REPEATS):
        with place() as job:
            small_files(job.tree, SMALL, 1024)
            warm(job.tree)
            with indexing(job) as index:
                add("filewatchd build", index.seconds("build"))
                add("filewatchd verify --full", index.verify("full"))
                add("filewatchd verify --quick", index.verify("quick"))
            sums = f"find '{job.tree}' -type f -print0 | xargs -0 sha256sum > '{job.work}/sums'"
            add("sha256sum", timed(sums))
            add("sha256sum -c", timed(f"sha256sum --quiet -c '{job.work}/sums'"))
            config = job.work / "aide.conf"
            config.write_text(_AIDE.format(tree=job.tree, work=job.work))
            add("aide --init", timed(["aide", "--init", "-c", str(config)]))
            add("aide --check", timed(["aide", "--check", "-c", str(config)]))
    spreads = {name: Spread.of(speeds) for name, speeds in found.items()}
    return Table(
        f"An index of {SMALL:,} files of 1 KiB",
        "Files in directories of a thousand, all in the page cache. filewatchd with the defaults of `checksum`: all"
        " attributes are tracked; the times are its runs'. AIDE with SHA-256, permissions, owner, links, size, times"
        " and inode.",
        ("what", "files a second"),
        [(name, spread.text(0)) for name, spread in spreads.items()],
        [
            ratio("build, filewatchd to sha256sum", spreads["filewatchd build"], spreads["sha256sum"]),
            ratio("build, filewatchd to AIDE", spreads["filewatchd build"], spreads["aide --init"]),
            ratio("full verify, filewatchd to AIDE", spreads["filewatchd verify --full"], spreads["aide --check"]),
        ],
    )


def hashing() -> Table:
    """Large files: how near to the hash's own speed."""
    rows, ratios = [], []
    peers = {"sha256": ("openssl", "openssl dgst -sha256"), "blake3": ("b3sum", "b3sum --num-threads 1")}
    with place() as job:
        for number in range(LARGE):
            with (job.tree / f"large-{number:03}").open("wb") as file:
                for _ in range(EACH >> 20):
                    file.write(os.urandom(1 << 20))
        warm(job.tree)
        total = LARGE * EACH
        for algorithm, (name, command) in peers.items():
            spread = _speeds(total, partial(_build_again, job, algorithm))
            files = f"find '{job.tree}' -type f -print0 | xargs -0 -n1 -P2 {command}"
            theirs = _speeds(total, partial(timed, files))
            rows += [(f"filewatchd, {algorithm}", spread.text(0)), (f"{name}, two at once", theirs.text(0))]
            ratios.append(ratio(f"{algorithm}, filewatchd to {name}", spread, theirs))
    return Table(
        f"Hashing {total >> 20:,} MiB in files of {EACH >> 20} MiB",
        "A build of filewatchd's, with two threads; the peers as two processes at once. All in the page cache.",
        ("what", "MB a second"),
        rows,
        ratios,
    )


def _speeds(total: int, once: Callable[[], float]) -> Spread:
    return Spread.of([total / 1e6 / once() for _ in range(REPEATS)])


def _build_again(job: Job, algorithm: str) -> float:
    subprocess.run(["rm", "-rf", str(job.work / "state")], check=True)
    with indexing(job, algorithm=algorithm) as index:
        return index.seconds("build")


def indexed() -> Table:
    """A million files: bytes of the index, memory, and one change."""
    with place() as job:
        small_files(job.tree, MILLION, 0)
        (job.work / "idle").mkdir()
        with indexing(job._replace(tree=job.work / "idle"), track=["content"]) as index:
            index.seconds("build")
            wait_idle(index.pid)
            idle = memory(index.pid)
        subprocess.run(["rm", "-rf", str(job.work / "state")], check=True)
        with indexing(job, track=["content"]) as index:
            index.seconds("build", 3600)
            wait_idle(index.pid)
            held = memory(index.pid)
            latencies = Spread.of([_one_change(job, index, number) for number in range(10)])
            quick = index.verify("quick")
        size = (job.work / "state/index.db").stat().st_size / MILLION
    rows = [
        ("index, bytes a file", f"{size:.0f}"),
        ("memory over idle, MiB (proportional)", f"{held.pss - idle.pss:.1f}"),
        ("one changed file: write to row, ms (settle is 200)", latencies.text(0)),
        ("verify --quick, files a second", f"{MILLION / quick:.0f}"),
    ]
    return Table(
        f"An index of {MILLION:,} files",
        "Content only, paths of 60 bytes below the root, empty files. Memory is of the daemon and its processes when it"
        " is idle again, over what they hold with an empty root.",
        ("what", "found"),
        rows,
        [],
    )


def _one_change(job: Job, index: Index, number: int) -> float:
    """Milliseconds from the write to the row that has its size."""
    path = job.tree / "directory-of-some-length-000000" / f"file-with-a-name-{number:09}.bin"
    with Reader(str(job.work / "state/index.db")) as reader:
        root = reader.roots()[0].id
        relative = str(path.relative_to(job.tree))
        path.write_bytes(b"changed")
        began = time.perf_counter()
        while (row := reader.row(root, relative)) is None or row.identity.size != 7:
            if time.perf_counter() - began > 60:
                raise TimeoutError(f"{path} is not in the index")
            time.sleep(0.001)
        return (time.perf_counter() - began) * 1000
