"""One try: a log with a writer (and perhaps a reader) under a daemon that rotates it, and what came of its lines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from filewatchd.actions.rotate.reader import Reader as Ledger
from filewatchd.errors import StateError
from tests.e2e.running import Daemon
from tests.e2e.steps import configure, rule
from tests.programs.programs import NUMBER, SECONDS, Reader, Writer

METHODS = ("auto", "exchange", "collapse", "punch", "copy", "copytruncate")
PEERS = ("logrotate create", "logrotate copytruncate")


class Count(NamedTuple):
    """Lines that are missing and that come more than once, bytes that are no line, and whether the order is kept."""

    lost: int
    repeated: int
    torn: int
    ordered: bool


class Tried(NamedTuple):
    """What a try came to. ``methods``: those that were used; ``archive`` and ``reader``: what they have."""

    written: int
    rotations: int
    methods: str
    archive: Count
    reader: Count | None
    log: str


def attempt(
    where: Path,
    method: str,
    writer: type[Writer],
    reader: type[Reader] | None,
    seconds: float,
    quiet: float = 1.0,
) -> Tried:
    """Write, rotate by size all the while, and count."""
    daemon = Daemon(where)
    log = daemon.root / "app.log"
    log.touch()
    source = writer(where, log)
    follower = reader(where, log) if reader is not None else None
    options: dict[str, Any] = {"when": {"size": "64KiB", "min_age": "300ms"}, "method": method, "readers_wait": "2s"}
    if source.reopen is not None and method in ("auto", "exchange"):
        options["reopen"] = source.reopen
    actions = "rotate: " + json.dumps(options)
    configure(daemon, rule("logs", actions, roots=[str(daemon.root)], include=["*.log"], max_wait="100ms"))
    try:
        with source.running(), follower.running() if follower else nullcontext():
            daemon.start()
            written = source.work(seconds)
            settle(log, follower, quiet)
            read = archive_cat(daemon.state_dir, log)
            told = follower.lines() if follower is not None else None
    finally:
        daemon.stop()
    rows = []
    with suppress(StateError), Ledger(str(daemon.state_dir)) as ledger:
        rows = ledger.archives(str(log))
    methods = ", ".join(dict.fromkeys(row.method for row in rows))
    reading = count(told, written) if told is not None else None
    return Tried(written, len(rows), methods, count(read, written), reading, daemon.log())


def attempt_peer(where: Path, method: str, writer: type[Writer], reader: type[Reader] | None, seconds: float) -> Tried:
    """The same with Debian's logrotate, called as often as it can be."""
    root = where / "root"
    root.mkdir(parents=True)
    log = root / "app.log"
    log.touch()
    source = writer(where, log)
    follower = reader(where, log) if reader is not None else None
    how = "create" if method.endswith("create") else "copytruncate"
    told = source.reopen if how == "create" else None
    lines = ["rotate 1000", "compress", how]
    if told is not None:
        lines += ["postrotate", f"kill -{told['signal']} $(cat {told['pidfile']})", "endscript"]
    config = where / "logrotate.conf"
    config.write_text(f"su root root\n{log} {{\n" + "\n".join(lines) + "\n}\n")
    config.chmod(0o600)
    turns = 0
    with source.running(), follower.running() if follower else nullcontext():
        ends, written = time.monotonic() + seconds, 0
        peer: subprocess.Popen[bytes] | None = None
        while time.monotonic() < ends:
            if peer is None or peer.poll() is not None:
                peer = subprocess.Popen(["logrotate", "-f", "-s", where / "status", config], stderr=subprocess.DEVNULL)
                turns += 1
            written += source.work(0.4, written)
        if peer is not None:
            peer.wait()
        settle(log, follower)
        read = archive_cat(where / "state", log)
        seen = follower.lines() if follower is not None else None
    return Tried(written, turns, how, count(read, written), count(seen, written) if seen is not None else None, "")


def settle(log: Path, follower: Reader | None, quiet: float = 1.0) -> None:
    """Wait until nothing comes any more: writers and readers have buffers."""
    last, ends = None, time.monotonic() + 15
    while time.monotonic() < ends:
        seen = (log.stat().st_size, len(follower.lines()) if follower else 0)
        if seen == last:
            return
        last = seen
        time.sleep(quiet)


def archive_cat(state: Path, log: Path) -> bytes:
    """What filewatchd says the log is."""
    words = ["archive", "cat", "--state-dir", str(state), str(log)]
    return subprocess.run(
        [sys.executable, "-m", "filewatchd.cli.control", *words], capture_output=True, check=True
    ).stdout


def count(text: bytes, written: int) -> Count:
    """What there is of the lines from 0 on."""
    numbers = [int(number) for number in NUMBER.findall(text)]
    often = Counter(numbers)
    torn = sum(1 for line in text.split(b"\n") if line.strip(b"\0\n") != line or (line and not NUMBER.search(line)))
    firsts = list(dict.fromkeys(numbers))
    return Count(
        lost=written - len(often),
        repeated=sum(times - 1 for times in often.values()),
        torn=torn,
        ordered=firsts == sorted(firsts),
    )


__all__ = ["METHODS", "PEERS", "SECONDS", "Count", "Tried", "attempt", "attempt_peer"]
