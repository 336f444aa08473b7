"""The walks of one filesystem, one at a time in a thread: new directories first, long scans when there is room."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from filewatchd.watch.scan import Portion, Walk
from filewatchd.work.pool import alive

_REST = 0.05  # seconds between looks for urgent walks while resting
_ALIVE = 16  # directories between two signs of life

Inspect = Callable[[Portion, bool], None]


class Scanner:
    """The walks of one filesystem, one thread at a time; new directories first."""

    def __init__(self, deliver: Callable[[Any, Portion, bool], None], room: threading.Event) -> None:
        """``deliver(token, batch, done)`` is called in the scan thread. Long walks rest while ``room`` is clear."""
        self._deliver = deliver
        self._room = room
        self._urgent: deque[tuple[Any, Walk, Inspect | None]] = deque()
        self._long: deque[tuple[Any, Walk, Inspect | None]] = deque()
        self.running = False

    def add(self, token: Any, walk: Walk, *, urgent: bool, inspect: Inspect | None = None) -> None:
        """Queue a walk. ``inspect`` runs in the thread over each batch before it is delivered."""
        (self._urgent if urgent else self._long).append((token, walk, inspect))

    @property
    def pending(self) -> bool:
        """True if walks wait."""
        return bool(self._urgent or self._long)

    def work(self) -> None:
        """Walk until nothing is left. Blocking: runs in the pool."""
        while self._urgent or self._long:
            self._drain_urgent()
            if self._long:
                token, walk, inspect = self._long.popleft()
                for step, _ in enumerate(walk.steps()):
                    if not step % _ALIVE:
                        alive()
                    if walk.full:
                        self._hand_over(token, walk, inspect, False)
                    if self._urgent or not self._room.is_set():
                        self._hand_over(token, walk, inspect, False)
                        self._rest()
                self._hand_over(token, walk, inspect, True)

    def _rest(self) -> None:
        """Let urgent walks pass, and wait while too much is dirty."""
        self._drain_urgent()
        while not self._room.wait(_REST):
            alive()
            self._drain_urgent()

    def _drain_urgent(self) -> None:
        while self._urgent:
            token, walk, inspect = self._urgent.popleft()
            for step, _ in enumerate(walk.steps()):
                if not step % _ALIVE:
                    alive()
                if walk.full:
                    self._hand_over(token, walk, inspect, False)
            self._hand_over(token, walk, inspect, True)

    def _hand_over(self, token: Any, walk: Walk, inspect: Inspect | None, done: bool) -> None:
        batch = walk.flush()
        if inspect is not None:
            with contextlib.suppress(OSError):
                inspect(batch, done)
        self._deliver(token, batch, done)
