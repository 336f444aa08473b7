"""What a scenario reads from the system: processor time, memory, and the moment a program is started.

The moment of a start is an inotify IN_OPEN event on the program itself (a private copy of ``cat``): execve opens
it, whoever calls execve. So every watcher is measured alike, to some ten microseconds. The program's first own act,
after the dynamic linker, is to open a marker, which is seen in the same way.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import statistics
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

TICK = 1 / os.sysconf("SC_CLK_TCK")
IN_OPEN = 0x20


def processor_time(pid: int) -> float:
    """Seconds of processor time of a process and its descendants, living and reaped."""
    own = time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of that process, in nanoseconds (posix-timers)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = own + (int(fields[13]) + int(fields[14])) * TICK
    for child in children(pid):
        with suppress(OSError):  # it ended while we looked, and is in its parent's figure next time
            total += processor_time(child)
    return total


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone while we looked
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found


class Memory(NamedTuple):
    """Resident and proportional memory in MiB, of a process and its descendants together."""

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """What a process and its descendants hold now."""
    kilobytes = {"Rss:": 0, "Pss:": 0}
    for one in (pid, *children(pid)):
        with suppress(ProcessLookupError, FileNotFoundError):  # a command that just ended holds nothing
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, *rest = line.split()
                if name in kilobytes:
                    kilobytes[name] += int(rest[0])
    return Memory(kilobytes["Rss:"] / 1024, kilobytes["Pss:"] / 1024)


def wait_idle(pid: int, quiet: float = 2.0, within: float = 300.0) -> None:
    """Wait until a process and its descendants used no more than 1 % of a processor for ``quiet`` seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        before = processor_time(pid)
        time.sleep(quiet)
        if processor_time(pid) - before < quiet / 100:
            return
    raise TimeoutError(f"process {pid} was still busy after {within:.0f} s")


class Start(NamedTuple):
    """One start of the probe, as ``time.perf_counter`` read: execve, and the program's first act."""

    execve: float
    act: float


class Probe:
    """A command that opens a file and does nothing else, and the moments it is started. ``words`` start it."""

    def __init__(self, directory: Path) -> None:
        program, marker = directory / "probe", directory / "marker"
        shutil.copy(shutil.which("cat") or "/bin/cat", program)
        marker.touch()
        self.words = (str(program), str(marker))
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watches = [libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_OPEN) for path in self.words]
        if min(self._watches) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(directory))

    def forget(self) -> None:
        """Drop the starts seen so far."""
        while self._next(0) is not None:
            pass

    def started(self, within: float) -> Start | None:
        """Wait for the next start, at most so many seconds."""
        execve = 0.0
        deadline = time.perf_counter() + within
        while (watch := self._next(deadline - time.perf_counter())) is not None:
            if watch == self._watches[0]:
                execve = time.perf_counter()
            elif execve:
                return Start(execve, time.perf_counter())
        return None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def _next(self, within: float) -> int | None:
        """The watch of the next event; one event is read at a time, so that its moment is its own."""
        if not select.select([self._descriptor], [], [], max(within, 0))[0]:
            return None
        watch: int = struct.unpack("iIII", os.read(self._descriptor, struct.calcsize("iIII")))[0]
        return watch


@contextmanager
def woken_at_once() -> Iterator[None]:
    """Where allowed, let this process (not its children) preempt the measured ones, so that it reads the clock in time.

    Otherwise the scheduler may let a command run for a millisecond before the one who waits for its start.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Spread(NamedTuple):
    """Median, least and greatest of the runs of one scenario."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1) -> str:
        """``median (least-greatest)``."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}-{self.greatest:.{digits}f})"
