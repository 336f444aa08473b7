"""A backend that says what the test tells it to: `filewatchd.watch.backends.base.Backend` without a kernel.

It is a `Sharing`, too: a directory has one watch, and the test may change how many there are.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from filewatchd.watch.backends.base import Armed, Event, Given, WatchLimitError
from filewatchd.watch.table import WatchTable


class ScriptedBackend:
    """Drains the events the test fed. ``budget``: how many directories can be armed; None: all.

    ``calls`` counts how often it was asked to arm one.
    """

    name = "scripted"
    limits: Sequence[str] = ()

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.armed: list[Armed] = []
        self.anchors: dict[str, set[str]] = {}
        self.released: list[Callable[[str], bool]] = []
        self.ended = 0
        self.calls = 0
        self.table = WatchTable()
        self._lock = threading.Lock()
        self._of: dict[tuple[int, int], int] = {}  # device and inode -> token
        self._events: deque[Event] = deque()
        self._tokens = 0
        self._anchors = 1 << 20  # their tokens are apart: anchors don't count against the budget
        self._wake: Callable[[], None] = lambda: None

    def feed(self, *events: Event) -> None:
        """Let these events be drained; wakes the watcher."""
        self._events.extend(events)
        self._wake()

    def start(self, wake: Callable[[], None]) -> None:
        """Begin."""
        self._wake = wake

    def stop(self) -> None:
        """End."""

    def arm(self, fd: int) -> int:
        """The directory's token. Raises WatchLimitError if it has none yet and the budget is used up."""
        info = os.fstat(fd)
        with self._lock:
            self.calls += 1
            known = self._of.get((info.st_dev, info.st_ino))
            if known is not None:
                return known
            if self.budget is not None and len(self._of) >= self.budget:
                raise WatchLimitError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._tokens += 1
            self._of[info.st_dev, info.st_ino] = self._tokens
            return self._tokens

    def proves(self, fd: int, token: int) -> bool:
        """Everything is what it was."""
        return True

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """Anchors cost nothing."""
        self._anchors += 1
        return self._anchors

    def adopt(self, armed: list[Armed]) -> None:
        """Remember what was armed."""
        self.armed += armed
        for token, parent, name in armed:
            self.table.put(token, parent, name)

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Remember an anchored name."""
        self.anchors.setdefault(directory, set()).add(name)

    def unanchor(self, directory: str) -> None:
        """Forget a directory's names."""
        self.anchors.pop(directory, None)

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """Remember the question, and forget the directories it is about."""
        self.released.append(unwanted)
        paths = [(token, self.table.path(token)) for token in self.table]
        doomed = [token for token, path in paths if path is None or unwanted(path)]
        self._forget(doomed)
        self.ended += len(doomed)

    def census(self, tops: Collection[str]) -> Mapping[str, int]:
        """How many directories are armed at and below each of these."""
        return self.table.census(tops)

    def give_back(self, number: int, may: Callable[[str], bool]) -> list[Given]:
        """Forget the latest directories."""
        given = self.table.latest(number, lambda token: bool(self._parent(token)) and may(self.table.path(token) or ""))
        told = [Given(self.table.path(token) or "", self._parent(token)) for token in given]
        self._forget(given)
        return told

    def disarm(self, token: int) -> None:
        """Forget a directory that nobody adopted."""
        if token not in self.table:
            self._forget([token])

    def _parent(self, token: int) -> int:
        return (self.table.entry(token) or (0,))[0]

    def _forget(self, tokens: Collection[int]) -> None:
        with self._lock:
            self._of = {key: token for key, token in self._of.items() if token not in tokens}
        for token in tokens:
            self.table.drop(token)

    def suspects(self) -> Mapping[int, str]:
        """Nothing moves."""
        return {}

    def still_there(self, token: int, path: str) -> bool:
        """Everything stays."""
        return True

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Nothing is gone."""

    def drain(self) -> list[Event]:
        """What was fed since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    async def barrier(self) -> None:
        """What was fed can be drained."""

    def statistics(self) -> Mapping[str, Any]:
        """How many directories are armed."""
        return {"watches": self.table.count}
