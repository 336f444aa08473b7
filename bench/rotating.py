"""Rotation against logrotate: time, lost lines, writes held up, many logs, overshoot, memory.

``FILEWATCHD_BENCH_SCALE`` (1) shrinks the data for a first try.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.measure import Spread, memory, processor_time, wait_idle
from bench.places import REPEATS, Table, place, ratio
from bench.watchers import Filewatchd, Job
from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.reader import Reader
from filewatchd.errors import StateError

SCALE = float(os.environ.get("FILEWATCHD_BENCH_SCALE", "1"))
MIB = 1 << 20
SIZE = int(1024 * SCALE) * MIB
LARGE = int(10240 * SCALE) * MIB
# xz and bz2 need minutes for a tenth of it
HELD = [(codec, threads, LARGE) for codec in ("gzip", "zstd", "lz4") for threads in (1, 2)]
HELD += [(codec, 2, LARGE // 10) for codec in ("xz", "bz2")]
BLOCK = min(64 * MIB, SIZE)
ROTATIONS = max(2, int(20 * min(1, SCALE * 4)))
LOGS, DUE = int(10_000 * min(1, SCALE * 4)), int(100 * min(1, SCALE * 4))
SPEED = 100_000_000  # bytes a second

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605",
    "curl/8.1.2",
)  # fmt: skip

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


def access_log(path: Path, size: int) -> None:
    """A web server's log: 64 MiB of it, as often as it takes (no codec here looks back so far)."""
    chance = random.Random(7)
    lines, length = [], 0
    while length < BLOCK:
        address = ".".join(str(chance.randrange(256)) for _ in range(4))
        target = chance.choice(
            ("/", f"/api/v1/users/{chance.randrange(10**6)}", f"/static/{chance.getrandbits(48):x}.js")
        )
        second = length // 20000
        lines.append(
            f"{address} - - [27/Nov/2026:{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02} +0000] "
            f'"GET {target} HTTP/1.1" {chance.choice((200, 200, 200, 304, 404))} {chance.randrange(10**5)} "-" '
            f'"{chance.choice(_AGENTS)}"\n'
        )
        length += len(lines[-1])
    block = "".join(lines).encode()
    with path.open("wb") as file:
        for _ in range(max(1, size // len(block))):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())  # or the archive's fsync would pay for it


def rules(job: Job, **options: object) -> Job:
    """One rule that rotates the tree's logs."""
    text = f"version: 1\nrules:\n  - name: logs\n    roots: ['{job.tree}']\n    include: ['*.log']\n    settle: 0s\n"
    return job._replace(rules=f"{text}    max_wait: 50ms\n    actions: [rotate: {json.dumps(options)}]\n")


def archives(job: Job, live: Path) -> Sequence[Archive]:
    """What the ledger has."""
    with suppress(StateError), Reader(str(job.work / "state")) as reader:
        return reader.archives(str(live))
    return ()


def until(what: Callable[[], bool], within: float = 600.0) -> None:
    """Wait for it."""
    ends = time.monotonic() + within
    while not what():
        if time.monotonic() > ends:
            raise TimeoutError("it didn't come to that")
        time.sleep(0.005)


# ---- one large log


class Peer(NamedTuple):
    """logrotate with a compressor."""

    name: str
    options: tuple[str, ...]


PEERS = (
    Peer("logrotate, gzip", ()),
    Peer("logrotate, pigz -6 -p2", ("compresscmd /usr/bin/pigz", "compressoptions -6 -p2")),
    Peer("logrotate, zstd -T2", ("compresscmd /usr/bin/zstd", "compressoptions -T2 --rm -q", "compressext .zst")),
)


def rotating() -> Table:
    """A large log, rotated and compressed."""
    figures: dict[str, tuple[Spread, Spread]] = {}
    with place() as job:
        source = job.work / "source"
        access_log(source, SIZE)
        for peer in PEERS:
            figures[peer.name] = spread(lambda each=peer: _logrotate(job, source, each))  # type: ignore[misc]
        figures["the bare codec, 2 threads"] = spread(lambda: _bare(job, source, 2))
        figures["the bare codec, 1 thread"] = spread(lambda: _bare(job, source, 1))
    for threads, verify in ((2, False), (2, True), (1, False)):
        name = f"filewatchd, gzip level 2, threads {threads}, verify {'on' if verify else 'off'}"
        figures[name] = spread(lambda how=(threads, verify): _ours(*how))  # type: ignore[misc]
    rows = [(name, seconds.text(2), share.text(1)) for name, (seconds, share) in figures.items()]
    ours = figures["filewatchd, gzip level 2, threads 2, verify off"][0]
    return Table(
        f"A log of {SIZE // MIB:,} MiB, rotated and compressed",
        "From the start of logrotate to its end; for filewatchd, which runs, from the rename that puts the log into its"
        " directory until the archive has its name and the log is free of it. Content is a web server's access log.",
        ("what", "seconds", "content to archive"),
        rows,
        [
            ratio("logrotate with gzip to filewatchd, verify off", figures["logrotate, gzip"][0], ours),
            ratio(
                "filewatchd, verify off, to the bare codec, 2 threads", ours, figures["the bare codec, 2 threads"][0]
            ),
        ],
    )


def spread(once: Callable[[], tuple[float, float]]) -> tuple[Spread, Spread]:
    """Seconds and shares of some runs."""
    seconds, shares = zip(*(once() for _ in range(REPEATS)), strict=True)
    return Spread.of(seconds), Spread.of(shares)


def _logrotate(job: Job, source: Path, peer: Peer) -> tuple[float, float]:
    log, config = job.tree / "app.log", job.work / "logrotate.conf"
    shutil.copyfile(source, log)
    os.sync()
    more = "\n".join(("rotate 9", "compress", "create", *peer.options))
    config.write_text(f"{log} {{\n{more}\n}}\n")
    config.chmod(0o600)
    began = time.perf_counter()
    subprocess.run(
        ["/usr/sbin/logrotate", "-f", "-s", job.work / "status", config], check=True, stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    packed = [path for path in job.tree.iterdir() if path.suffix in (".gz", ".zst")]
    share = source.stat().st_size / packed[0].stat().st_size
    for path in job.tree.iterdir():
        path.unlink()
    return seconds, share


def _bare(job: Job, source: Path, threads: int) -> tuple[float, float]:
    target = job.tree / "bare.gz"
    began = time.perf_counter()
    with source.open("rb") as content, target.open("w+b") as archive:
        made = codecs.compress(content.fileno(), archive.fileno(), codecs.codec("gzip"), threads=threads, digest=False)
        *_, last = made
        os.fsync(archive.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds, last.stop / last.end


def _ours(threads: int, verify: bool) -> tuple[float, float]:
    with place() as job:
        compress = {"codec": "gzip", "level": 2, "threads": threads, "verify": verify}
        job = rules(job, when={"size": "1MiB"}, compress=compress)
        source, log = job.work / "source", job.tree / "app.log"
        access_log(source, SIZE)
        with Filewatchd().running(job):
            began = time.perf_counter()
            source.rename(log)
            until(lambda: any(row.state is State.DONE for row in archives(job, log)))
            seconds = time.perf_counter() - began
        (archive,) = (path for path in job.tree.iterdir() if path.suffix == ".gz")
        return seconds, SIZE / archive.stat().st_size


# ---- lines lost, writes held up


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


# ---- many logs


def many() -> Table:
    """10,000 logs, of which 100 are due."""
    theirs = Spread.of([_many_logrotate() for _ in range(REPEATS)])
    mine, idle = zip(*(_many_ours() for _ in range(REPEATS)), strict=True)
    ours, resting = Spread.of(mine), Spread.of(idle)
    return Table(
        f"{LOGS:,} logs, {DUE} due",
        "Processor time: of logrotate's whole pass (size 1M, no compression); of filewatchd from the first write until"
        " all due logs are rotated and it is idle. Those not due: of filewatchd in ten seconds without a write.",
        ("who", "seconds of processor for those due", "for those not due"),
        [("logrotate", theirs.text(3), "in each pass"), ("filewatchd", ours.text(3), resting.text(3))],
        [ratio("filewatchd to logrotate", ours, theirs)],
    )


def _lay_out(job: Job) -> Iterator[Path]:
    for number in range(LOGS):
        folder = job.tree / str(number % 100)
        folder.mkdir(exist_ok=True)
        path = folder / f"app{number}.log"
        path.write_bytes(b"a line\n")
        if number < DUE:
            yield path


def _many_logrotate() -> float:
    with place() as job:
        for path in list(_lay_out(job)):
            path.write_bytes(b"x" * 99 + b"\n" + b"y" * MIB)
        config = job.work / "logrotate.conf"
        config.write_text(f"{job.tree}/*/*.log {{\nrotate 9\nsize 1M\ncreate\n}}\n")
        config.chmod(0o600)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["/usr/sbin/logrotate", "-s", str(job.work / "status"), str(config)]
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _many_ours() -> tuple[float, float]:
    with place() as job:
        due = list(_lay_out(job))
        job = rules(job, when={"size": "1MiB"}, compress="none")
        with Filewatchd().running(job) as running:
            wait_idle(running.pid)
            began = processor_time(running.pid)
            time.sleep(10)
            idle = processor_time(running.pid) - began
            began = processor_time(running.pid)
            for path in due:
                path.write_bytes(b"x" * 99 + b"\n" + b"y" * MIB)
            until(lambda: sum(1 for path in due if path.stat().st_size < MIB) == len(due))
            wait_idle(running.pid)
            return processor_time(running.pid) - began, idle


# ---- overshoot, memory


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


def holding() -> Table:
    """Memory while a very large log is compressed and verified, under ``keep``, by every codec."""
    rows = [_held(codec, threads, size) for codec, threads, size in HELD]
    return Table(
        "Memory while a very large log is compressed and verified",
        "Resident memory of the daemon and its processes, in MiB, looked at fifty times a second. First half: the most"
        " until half of the time was over.",
        ("codec", "threads", "MiB of log", "idle", "at most", "first half", "above idle"),
        rows,
        [],
    )


def _held(codec: str, threads: int, size: int) -> tuple[str, ...]:
    with place() as job:
        options = {"compress": {"codec": codec, "threads": threads, "verify": True}, "keep": {"total": "5GiB"}}
        job = rules(job, when={"size": "1MiB"}, **options)
        source, log = job.work / "source", job.tree / "app.log"
        access_log(source, size)
        seen = []
        with Filewatchd().running(job) as running:
            wait_idle(running.pid)
            idle = memory(running.pid).rss
            source.rename(log)
            while not any(row.state is State.DONE for row in archives(job, log)):
                seen.append(memory(running.pid).rss)
                time.sleep(0.02)
    most, first = max(seen), max(seen[: len(seen) // 2 + 1])
    figures = (f"{figure:.1f}" for figure in (idle, most, first, most - idle))
    return (codec, str(threads), f"{size // MIB:,}", *figures)
