"""Which processes belong to one, and whether they are gone: by number and start, for numbers are given out again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """``started``: in clock ticks since boot."""

    pid: int
    started: int


def _stat(pid: int) -> list[str]:
    """State, parent, group and so on; empty if it is gone."""
    with contextlib.suppress(OSError):  # ProcessLookupError, too: it ended while we looked
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def family(pid: int) -> list[int]:
    """A process and its descendants, zombies too."""
    found = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
    parents = {one: int(stat[1]) for one, stat in found.items() if stat}
    members = [pid]
    for one in members:  # grows while it is walked
        members += [child for child, parent in parents.items() if parent == one]
    return members


def picture(pids: list[int]) -> list[Process]:
    """The same processes, to be known again."""
    return [Process(pid, int(stat[19])) for pid in pids if (stat := _stat(pid))]


def lives(process: Process) -> bool:
    """Whether it is still there, and no zombie."""
    stat = _stat(process.pid)
    return bool(stat) and int(stat[19]) == process.started and stat[0] not in "ZX"
