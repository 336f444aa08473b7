"""Run the scenarios and write what they found into bench/RESULTS.md.

Where run by root, the inotify limits are raised for the time of the run if they are too small for the scenarios.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.places import REPEATS, Table
from bench.scenarios import DIRECTORIES, SCENARIOS
from bench.watchers import PEERS_PYTHON

RESULTS = Path(__file__).parent / "RESULTS.md"
BEGIN, END = "<!-- generated: {} -->", "<!-- end of {} -->"
LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


@contextmanager
def enough_watches() -> Iterator[None]:
    """Let a user have twice the watches the largest tree needs, for as long as the run lasts."""
    before, wanted = int(LIMIT.read_text()), 2 * DIRECTORIES
    if before >= wanted:
        yield
        return
    if os.geteuid() != 0:
        sys.exit(f"bench: fs.inotify.max_user_watches is {before}; set it to {wanted} or run as root")
    LIMIT.write_text(str(wanted))
    try:
        yield
    finally:
        LIMIT.write_text(str(before))


def machine() -> str:
    """The machine and the versions, without names of hosts or paths."""
    filesystem = subprocess.run(
        ["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = Path("/proc/meminfo").read_text().splitlines()
    gibibytes = round(int(lines[0].split()[1]) / 1024 / 1024)
    ask = "import importlib.metadata as m; print(*(f'{n} {m.version(n)},' for n in ('watchdog', 'watchfiles')))"
    peers = subprocess.run([str(PEERS_PYTHON), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    debian = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "inotify-tools", "incron", "watchman"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip(", ")
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, Linux {platform.release()}, {os.cpu_count()} cores,"
        f" {gibibytes} GiB, {filesystem}, Python {platform.python_version()},"
        f" filewatchd {importlib.metadata.version('filewatchd')}, {peers} {debian}."
        f" Figures are the median of {REPEATS} runs with the least and greatest."
    )


def text(table: Table) -> str:
    """One scenario as Markdown."""
    lines = [f"## {table.title}", "", table.how, "", f"Machine: {machine()}", ""]
    lines += ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join([*lines, "", *(f"- {ratio}" for ratio in table.ratios)])


def store(name: str, section: str) -> None:
    """Put a scenario's section in the place of its former one, or at the end."""
    begin, end = BEGIN.format(name), END.format(name)
    old = RESULTS.read_text()
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    RESULTS.write_text(f"{before.rstrip()}\n\n{begin}\n{section}\n{end}\n{after.rstrip()}".rstrip() + "\n")


def main(wanted: list[str]) -> None:
    """Run the scenarios that were named, or all."""
    unknown = set(wanted) - set(SCENARIOS)
    if unknown:
        sys.exit(f"bench: no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    with enough_watches():
        for name in wanted or SCENARIOS:
            print(f"==> {name}", flush=True)
            section = text(SCENARIOS[name]())
            store(name, section)
            print(section, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
