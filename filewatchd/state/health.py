"""Whether a database can be written, or why not and since when.

The first failure of a write closes the database for writing: until `mended` every other write fails at once, with the
same words, and without asking SQLite. So a disk that is full, or another program that holds the write lock for minutes,
costs the loop one failure and not one for each path. Reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filewatchd.clock import Clock
from filewatchd.errors import StateError


class Health:
    """``trouble``: why nothing is written now. ``since_ns``: when that began, by the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.trouble: StateError | None = None
        self.since_ns: int | None = None
        self.failed_times = 0
        self.changed: Callable[[], None] = lambda: None  # called when it begins and when it is over

    def failed(self, error: StateError) -> None:
        """A write failed. The newest reason stands, the first time stays."""
        begins = self.trouble is None
        self.trouble = error
        if begins:
            self.since_ns = self._clock.wall_ns()
            self.failed_times += 1
            self.changed()

    def mended(self) -> None:
        """A write has succeeded that wasn't held back."""
        if self.trouble is not None:
            self.trouble = self.since_ns = None
            self.changed()

    def check(self) -> None:
        """Let a write pass, or not.

        Raises:
            StateError: what the last write that was tried failed of.
        """
        if self.trouble is not None:
            old = self.trouble
            raise StateError(str(old), path=old.path, errno=old.errno, corrupt=old.corrupt)

    def statistics(self) -> dict[str, Any]:
        """``failed``: how many times writing had to stop so far."""
        why = str(self.trouble) if self.trouble is not None else None
        return {"writable": self.trouble is None, "why": why, "since_ns": self.since_ns, "failed": self.failed_times}
