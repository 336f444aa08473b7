"""Writers of a log that is rotated: lines lost, writes held up, and by how much a size is overshot."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.logs import MIB, ROTATIONS, SCALE, archives, rules, until
from bench.measure import Spread
from bench.places import Table, place
from bench.watchers import Filewatchd

SPEED = 100_000_000  # bytes a second

# A writer: lines of 100 bytes as fast as it can, or at a rate, until its standard input ends; then how many, and the
# longest that one write took.
_WRITER = """
import os, select, sys, time
path, name, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
count, longest, clock, write = 0, 0.0, time.perf_counter, os.write
lines = 1 if rate == 0 else 1000
began = clock()
while not (count % (500 * lines) == 0 and select.select([0], [], [], 0)[0]):
    data = b"".join(b"%s %010d %s\\n" % (name.encode(), count + n, 84 * b"x") for n in range(lines))
    before = clock()
    write(fd, data)
    longest = max(longest, clock() - before)
    count += lines
    if rate:
        time.sleep(max(0.0, began + count * 100 / rate - clock()))
print(count, longest)
"""


class Writing(NamedTuple):
    """Lines that a writer wrote, and the longest time that one write took."""

    lines: int
    longest: float


class Writers:
    """Some writers of one log."""

    def __init__(self, log: Path, count: int, rate: float = 0) -> None:
        words = [sys.executable, "-c", _WRITER, str(log)]
        self._all = [
            subprocess.Popen([*words, f"w{number}", str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for number in range(count)
        ]

    def end(self) -> list[Writing]:
        """End them."""
        ended = []
        for process in self._all:
            out, _ = process.communicate()
            lines, longest = out.split()
            ended.append(Writing(int(lines), float(longest)))
        return ended


def losing() -> Table:
    """Three writers at full speed, rotated 20 times."""
    rows = [("nobody", *_figures(*_undisturbed())), ("logrotate copytruncate", *_figures(*_copytruncate()))]
    methods = ("collapse", "punch", "copy", "copytruncate")
    rows += [(f"filewatchd {method}", *_figures(*_losing(method))) for method in methods]
    return Table(
        f"Three appending writers at full speed, {ROTATIONS} rotations",
        "Lines of 100 bytes. Lost: written lines that neither the archives nor the log have. Held up: the longest time"
        " that one write took, in any writer. Nobody: the same writers for ten seconds, with no rotation.",
        ("who rotates", "written", "lost", "lost, %", "longest write, ms"),
        rows,
        [],
    )


def _figures(written: list[Writing], read: int) -> tuple[str, str, str, str]:
    lines = sum(each.lines for each in written)
    lost = lines - read
    return f"{lines:,}", f"{lost:,}", f"{lost / lines:.2%}", f"{max(each.longest for each in written) * 1000:.1f}"


def _undisturbed() -> tuple[list[Writing], int]:
    with place() as job:
        writers = Writers(job.tree / "app.log", 3)
        time.sleep(10 * min(1, SCALE * 4))
        return (ended := writers.end()), sum(each.lines for each in ended)


def _losing(method: str) -> tuple[list[Writing], int]:
    with place() as job:
        job = rules(job, when={"size": "20MiB", "min_age": "200ms"}, method=method, readers_wait="1s")
        log = job.tree / "app.log"
        log.touch()
        with Filewatchd().running(job):
            writers = Writers(log, 3)
            until(lambda: len(archives(job, log)) >= ROTATIONS)
            ended = writers.end()
            words = [sys.executable, "-m", "filewatchd.cli.control", "archive", "grep", "-c", "^w"]
            words += ["--state-dir", str(job.work / "state"), str(log)]
            return ended, int(subprocess.run(words, capture_output=True, check=True).stdout)


def _copytruncate() -> tuple[list[Writing], int]:
    with place() as job:
        log, config = job.tree / "app.log", job.work / "logrotate.conf"
        config.write_text(f"{log} {{\nrotate 1000\ncopytruncate\n}}\n")
        config.chmod(0o600)
        writers = Writers(log, 3)
        for _ in range(ROTATIONS):
            time.sleep(0.2)
            words = ["/usr/sbin/logrotate", "-f", "-s", str(job.work / "status"), str(config)]
            subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        ended = writers.end()
        read = sum(1 for path in job.tree.iterdir() for line in path.open("rb") if line.lstrip(b"\0").startswith(b"w"))
        return ended, read


def overshooting() -> Table:
    """A log that grows by 100 MB a second, with `size: 10MiB`."""
    with place() as job:
        job = rules(job, when={"size": "10MiB"}, method="collapse", compress={"codec": "gzip", "verify": False})
        log = job.tree / "app.log"
        log.touch()
        with Filewatchd().running(job):
            writers = Writers(log, 1, SPEED)
            until(lambda: len(archives(job, log)) >= ROTATIONS)
            writers.end()
            over = [max(0, row.end - row.begin - 10 * MIB) / SPEED for row in archives(job, log)[:ROTATIONS]]
    found = Spread.of(over)
    return Table(
        "Overshoot of `size: 10MiB` at 100 MB/s",
        "How much more than 10 MiB each archive has, as seconds of growth. A peer rotates when cron calls it.",
        ("archives", "seconds of growth: median (least-greatest)"),
        [(str(len(over)), found.text(2))],
        [],
    )
