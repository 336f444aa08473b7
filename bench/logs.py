"""What the scenarios of rotation share: how large they are, a web server's log, a rule, and what the ledger says.

``FILEWATCHD_BENCH_SCALE`` (1) shrinks the data for a first try.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bench.measure import Spread
from bench.places import REPEATS
from bench.watchers import Job
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.reader import Reader
from filewatchd.errors import StateError

SCALE = float(os.environ.get("FILEWATCHD_BENCH_SCALE", "1"))
MIB = 1 << 20
ROTATIONS = max(2, int(20 * min(1, SCALE * 4)))
_BLOCK = min(64 * MIB, int(1024 * SCALE) * MIB)

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605",
    "curl/8.1.2",
)  # fmt: skip


def access_log(path: Path, size: int) -> None:
    """A web server's log: 64 MiB of it, as often as it takes (no codec here looks back so far)."""
    chance = random.Random(7)
    lines, length = [], 0
    while length < min(_BLOCK, size):
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


def spread(once: Callable[[], tuple[float, float]]) -> tuple[Spread, Spread]:
    """Seconds and shares of some runs."""
    seconds, shares = zip(*(once() for _ in range(REPEATS)), strict=True)
    return Spread.of(seconds), Spread.of(shares)
