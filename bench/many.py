"""10,000 logs, of which 100 are due: the processor time of a pass of logrotate's, and of the daemon's."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.logs import MIB, SCALE, access_log, rules, until
from bench.measure import Spread, processor_time, wait_idle
from bench.places import REPEATS, Table, place, ratio
from bench.watchers import Filewatchd, Job

LOGS, DUE = int(10_000 * min(1, SCALE * 4)), int(100 * min(1, SCALE * 4))


def many() -> Table:
    """10,000 logs, of which 100 are due; left as they are, and compressed by gzip."""
    rows, ratios = [], []
    for compressed in (False, True):
        theirs = Spread.of([_logrotate(compressed) for _ in range(REPEATS)])
        mine, idle = zip(*(_ours(compressed) for _ in range(REPEATS)), strict=True)
        ours, resting = Spread.of(mine), Spread.of(idle)
        how = "gzip" if compressed else "no compression"
        rows.append((f"logrotate, {how}", theirs.text(3), "in each pass"))
        rows.append((f"filewatchd, {how}", ours.text(3), resting.text(3)))
        ratios.append(ratio(f"filewatchd to logrotate, {how}", ours, theirs))
    return Table(
        f"{LOGS:,} logs, {DUE} due",
        "Processor time: of logrotate's whole pass (size 1M), the gzip that it starts for each log included; of"
        " filewatchd (all its threads and processes, verify off) from the first write until all due logs are rotated"
        " and it is idle. A due log has 1 MiB of a web server's log. Those not due: of filewatchd in ten seconds"
        " without a write.",
        ("who", "seconds of processor for those due", "for those not due"),
        rows,
        ratios,
    )


def _lay_out(job: Job) -> Iterator[Path]:
    for number in range(LOGS):
        folder = job.tree / str(number % 100)
        folder.mkdir(exist_ok=True)
        path = folder / f"app{number}.log"
        path.write_bytes(b"a line\n")
        if number < DUE:
            yield path


def _content(job: Job) -> bytes:
    source = job.work / "content"
    access_log(source, MIB)
    return source.read_bytes()[: MIB + 100]


def _logrotate(compressed: bool) -> float:
    with place() as job:
        content = _content(job)
        for path in list(_lay_out(job)):
            path.write_bytes(content)
        config = job.work / "logrotate.conf"
        compress = "compress" if compressed else "nocompress"
        config.write_text(f"{job.tree}/*/*.log {{\nrotate 9\nsize 1M\ncreate\n{compress}\n}}\n")
        config.chmod(0o600)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["/usr/sbin/logrotate", "-s", str(job.work / "status"), str(config)]
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _ours(compressed: bool) -> tuple[float, float]:
    with place() as job:
        content = _content(job)
        due = list(_lay_out(job))
        compress = {"codec": "gzip", "verify": False} if compressed else "none"
        job = rules(job, when={"size": "1MiB"}, compress=compress)
        with Filewatchd().running(job) as running:
            wait_idle(running.pid)
            began = processor_time(running.pid)
            time.sleep(10)
            idle = processor_time(running.pid) - began
            began = processor_time(running.pid)
            for path in due:
                path.write_bytes(content)
            until(lambda: sum(1 for path in due if path.stat().st_size < MIB) == len(due))
            wait_idle(running.pid)
            return processor_time(running.pid) - began, idle
