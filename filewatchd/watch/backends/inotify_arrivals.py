"""Watches that a scan thread has armed and the loop hasn't adopted yet: what is kept for them until it has.

Their events are parked, those of a directory that the table knows already, too: it is armed again because it was
renamed, and until its adoption the table has it under a name of the past. What happened in it after the walk had
listed it would be looked for there, and nowhere else. A directory that moves on is armed more than once, and only the
last adoption knows its place.

And watches can end meanwhile: a directory that is deleted at once takes its watch with it, and
if the next one under its name has the same inode, as it often does, nothing but the end of the watch tells them apart.
So that is remembered, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from filewatchd.model import RawEvent
from filewatchd.watch.dirty import HEADER, IN_CREATE, IN_ISDIR, IN_MOVED_TO

_MOST_PARKED = 100_000


class Arrivals:
    """`arm` is called in scan threads, everything else on the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beginning = 0  # calls of `arm` that haven't returned
        self._armed: dict[int, int] = {}  # watch -> adoptions to come
        self._ended: set[int] = set()
        self._parked: dict[int, list[RawEvent]] = {}
        self._count = 0
        self._replay: list[RawEvent] = []
        self._inherited: set[int] = set()  # those of an earlier process' watches that have some there
        self.inherited: set[int] = set()  # whose events `replay` handed out the last time, of an earlier process'
        self.parked = 0  # since the start
        self.spilled = False  # too many were parked, and all were thrown away

    def __contains__(self, watch: int) -> bool:
        return watch in self._armed

    def arm(self, add: Callable[[], int]) -> int:
        """``add`` a watch, and expect its adoption. Not done under the lock: a filesystem may not answer."""
        with self._lock:
            self._beginning += 1
        try:
            watch = add()
            with self._lock:
                self._armed[watch] = self._armed.get(watch, 0) + 1
            return watch
        finally:
            with self._lock:
                self._beginning -= 1

    def ended(self, watch: int) -> None:
        """The kernel has ended a watch."""
        if self._beginning or self._armed:
            self._ended.add(watch)
        self._count -= len(self._parked.pop(watch, ()))

    def adopt(self, watch: int) -> bool:
        """The loop takes it over; False if it has ended already."""
        with self._lock:
            left = self._armed.pop(watch, 0) - 1
            if left > 0:
                self._armed[watch] = left
        alive = watch not in self._ended
        if not self._armed and not self._beginning:
            self._ended.clear()
        return alive

    def park(self, events: list[RawEvent]) -> None:
        """Keep events of one watch that the loop doesn't know yet."""
        if self._count > _MOST_PARKED:
            self._parked.clear()
            self._count = 0
            self.spilled = True
        self._parked.setdefault(events[0].watch, []).extend(events)
        self._count += len(events)
        self.parked += len(events)

    def names_come(self, watch: int) -> int:
        """How many files came into a directory, by the events parked for it."""
        come = IN_CREATE | IN_MOVED_TO
        parked = self._parked.get(watch, ())
        return len({event.name for event in parked if event.mask & come and not event.mask & IN_ISDIR})

    def unpark(self, watch: int, *, inherited: bool = False) -> bool:
        """Hand out a watch's events with the next `replay`; True if there are any. Not before its last adoption.

        ``inherited``: the watch is an earlier process'.
        """
        if watch in self._armed:
            return False
        events = self._parked.pop(watch, [])
        self._count -= len(events)
        self._replay.extend(events)
        if events and inherited:
            self._inherited.add(watch)
        return bool(events)

    def replay(self) -> bytes:
        """What was unparked, as the kernel writes it."""
        replayed, self._replay = self._replay, []
        self.inherited, self._inherited = self._inherited, set()
        return b"".join(HEADER.pack(*event[:3], len(event.name)) + event.name for event in replayed)
