"""The wall clock is set far ahead and far back under a daemon that runs, and over a kill: no change is lost."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
from contextlib import closing
from pathlib import Path

from tests.e2e.running import Daemon
from tests.e2e.steps import CONTENT, quiet

FAR = 400 * 86_400  # seconds: beyond every retention and schedule here
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead;

__attribute__((constructor)) static void start(void) {
    int fd = open(getenv("CLOCK_AHEAD"), O_RDONLY);
    ahead = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return failed;
}
"""


class Clock:
    """A daemon's wall clock, some seconds away from ours. Files keep the kernel's stamps."""

    def __init__(self, directory: Path) -> None:
        self._library, self._ahead = directory / "clock.so", directory / "ahead"
        self.set(0)
        words = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(self._library)]
        subprocess.run(words, input=SOURCE.encode(), check=True)

    def set(self, ahead: int) -> None:
        """Set it, at once, for who goes by it."""
        fd = os.open(self._ahead, os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, struct.pack("l", ahead), 0)
        os.close(fd)

    def words(self) -> tuple[str, ...]:
        """What starts a daemon that goes by it."""
        return ("env", f"LD_PRELOAD={self._library}", f"CLOCK_AHEAD={self._ahead}")


def test_a_clock_set_far_ahead_and_back_loses_nothing(daemon: Daemon, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    daemon.through = clock.words()
    daemon.configure(daemon.rule(changes=CONTENT, expect={"every": "1d", "by": "06:00"}))
    daemon.start()
    for turn, ahead in enumerate((FAR, -FAR, 0, -2 * FAR, 2 * FAR, 0)):
        clock.set(ahead)
        for number in range(20):
            (daemon.root / f"{turn}-{number}").write_text("x")
        if turn:
            (daemon.root / f"{turn - 1}-0").write_text("changed")
            (daemon.root / f"{turn - 1}-1").unlink()
        if turn % 2:
            daemon.kill()
            (daemon.root / f"{turn}-while-down").write_text("x")
            clock.set(-ahead)
            daemon.start()
        daemon.sees_the_disk()
    quiet(daemon)
    with closing(sqlite3.connect(daemon.state_dir / "journal.db")) as database:
        (jobs,) = database.execute("SELECT count(*) FROM jobs").fetchone()
        (oldest,) = database.execute("SELECT min(id) FROM jobs").fetchone()
    assert jobs >= 6
    assert oldest == 1, "the history forgot what is young"
    assert "Traceback" not in daemon.log()
