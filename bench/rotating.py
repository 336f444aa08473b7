"""A large log rotated and compressed, against logrotate with several compressors; and memory meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.logs import MIB, SCALE, access_log, archives, rules, spread, until
from bench.measure import Spread, memory, wait_idle
from bench.places import Table, place, ratio
from bench.watchers import Filewatchd, Job
from filewatchd import codecs
from filewatchd.actions.rotate.machine import State

SIZE = int(1024 * SCALE) * MIB
LARGE = int(10240 * SCALE) * MIB
# xz and bz2 need minutes for a tenth of it
HELD = [(codec, threads, LARGE) for codec in ("gzip", "zstd", "lz4") for threads in (1, 2)]
HELD += [(codec, 2, LARGE // 10) for codec in ("xz", "bz2")]


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
