"""The barrier for watchdog: a file of ours, then a mark behind each emitter's queue. Both are exact.

On Linux all emitters share one thread that reads, so what is read is in the order in which it happened: once a file
that we made is read of, all that was queued before it has been read. Each emitter then holds back a MOVED_FROM for
0.5 s to pair it, with everything that came after it; a mark put behind its queue is told when that has passed.

An overflow ends the same way: what comes after a file made then is not lost any more.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable

from filewatchd.watch.backends.watchdog_group import Group
from filewatchd.watch.backends.watchdog_schedules import Schedule, Schedules

log = logging.getLogger("filewatchd.watch")

_LONGEST = 9.0  # seconds that a barrier waits; below the pool's patience


class Barrier:
    """A directory of ours that is observed too, and what was told of it."""

    def __init__(self, schedules: Schedules, stopped: Callable[[], bool]) -> None:
        """``stopped``: there is nothing left to wait for."""
        self._schedules = schedules
        self._stopped = stopped
        self.directory = _private_directory()
        self.overflows = 0
        self._heard = threading.Condition()
        self._marks: set[str] = set()
        self._numbers = itertools.count(1)
        self._signal = 0  # the last file of ours that was read of
        self._lost_until = 0  # the file of ours after which an overflow is over
        self._epoch = 0  # grows with overflows and new observers

    def begin(self) -> None:
        """Observe our directory, by an observer that is new."""
        self._epoch += 1
        self._schedules.begin(self.directory)

    def end(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- called in watchdog's threads

    def hear(self, name: str) -> bool:
        """A name appeared in our directory, or went; True if that ends an overflow."""
        with self._heard:
            if name.isdecimal():
                self._signal = max(self._signal, int(name))
            else:
                self._marks.add(name)
            over = 0 < self._lost_until <= self._signal
            self._lost_until = 0 if over else self._lost_until
            self._heard.notify_all()
        return over

    def overflowed(self) -> bool:
        """Events are being lost, until `hear` says that it is over; True if that can't be found out."""
        with self._heard:
            self.overflows += not self._lost_until
            self._epoch += 1
            try:
                self._lost_until = self._touch()
            except OSError:
                return True
        return False

    # ---- called in the pool

    def catch_up(self) -> None:
        """Return when watchdog has told all that happened before; after 9 s in any case."""
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline and not self._stopped():
            epoch = self._epoch
            told = self._read(deadline) and self._passed(self._schedules, deadline)
            if told and epoch == self._epoch and not self._lost_until:
                return
        log.debug("watchdog hasn't told everything within %g s", _LONGEST)

    def _read(self, deadline: float) -> bool:
        """Wait until all that is queued in the kernel has been read: a file of ours comes after it."""
        try:
            number = self._touch()
        except OSError:
            self._renew()
            return False
        return self._wait(lambda: self._signal >= number, deadline)

    def _passed(self, schedules: Iterable[Schedule], deadline: float) -> bool:
        """Wait until these emitters have told what they hold: a mark comes after it."""
        marks = {}
        for schedule in schedules:
            group = Group.of(schedule.emitter)
            mark = f"mark{next(self._numbers)}"
            if group is not None and group.mark(f"{self.directory}/{mark}"):
                marks[mark] = schedule.emitter
        passed = self._wait(
            lambda: all(mark in self._marks or not emitter.is_alive() for mark, emitter in marks.items()), deadline
        )
        with self._heard:
            self._marks.difference_update(marks)
        return passed

    def _wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Until the condition holds; False if time ran out, or events were lost so that it may never hold."""
        epoch = self._epoch
        with self._heard:
            while not condition():
                if time.monotonic() > deadline or epoch != self._epoch or self._stopped():
                    return False
                self._heard.wait(0.05)  # an emitter's end isn't told
        return True

    def _touch(self) -> int:
        """Make the next file of ours, in place of the last one."""
        with self._heard:
            number = next(self._numbers)
            os.close(os.open(f"{self.directory}/{number}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            for name in os.listdir(self.directory):
                if name != str(number):
                    os.unlink(f"{self.directory}/{name}")
            return number

    def _renew(self) -> None:
        """Somebody tidied our directory away."""
        with self._schedules.lock:
            for schedule in self._schedules:
                if schedule.path == self.directory:
                    self._schedules.end(schedule)
            self.directory = _private_directory()
            self._schedules.begin(self.directory)


def _private_directory() -> str:
    """A directory of ours, outside people's trees if the service manager made us a place."""
    place = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
    return os.path.realpath(tempfile.mkdtemp(prefix=".filewatchd-", dir=place))
