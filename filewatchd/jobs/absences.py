"""Paths that may have been away while an attempt looked for them, though they are the same before and after.

A directory that is renamed away and back leaves no trace in the files below it: not even their ctime tells. Whoever
ran meanwhile may have found nothing, and the manifest would call the file handled. So what is told of a directory
(`Hint.AWAY`) while an attempt runs leaves its paths open, and the next job sees them again. Such news may come a little
later than the attempt's end, so attempts are remembered for a moment: their paths, if they are there, are modified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from filewatchd.jobs.runner import Item, Key
from filewatchd.model import Kind

_FOR = 1.0  # seconds: an event is read within a few milliseconds, unless the loop is held up

_NEVER = -math.inf, 0


class Absences:
    """The paths of one rule's attempts that have just ended."""

    def __init__(self) -> None:
        self._ended: dict[Key, tuple[float, int]] = {}  # when, and the mount table's number; in that order

    def ended(self, handled: Sequence[Item], now: float, mounts: int) -> None:
        """An attempt is over. ``mounts``: the number of the mount table when it started."""
        self._forget(now)
        for item in handled:
            self._ended.pop(item.key, None)
            if item.change.kind is not Kind.DELETED:
                self._ended[item.key] = now, mounts

    def was_handled(self, key: Key, now: float, mounts: Callable[[], int]) -> bool:
        """Whether it was handled just now, and nothing was mounted or unmounted since, which tells of no change."""
        ended, number = self._ended.get(key, _NEVER)
        return now - ended <= _FOR and mounts() == number

    def _forget(self, now: float) -> None:
        while self._ended and now - self._ended[first := next(iter(self._ended))][0] > _FOR:
            del self._ended[first]
