"""Paths that may have been away while an attempt looked for them, though they are the same before and after.

A directory that is renamed away and back leaves no trace in the files below it: not even their ctime tells. Whoever
ran meanwhile may have found nothing, and the manifest would call the file handled. So what is told of a directory
(`Hint.AWAY`) while an attempt runs leaves its paths open, and the next job sees them again. Such news may come a little
later than the attempt's end, so attempts are remembered for a moment: their paths, if they are there, are modified.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from filewatchd.jobs.runner import Item, Key
from filewatchd.model import Kind

_FOR = 1.0  # seconds: an event is read within a few milliseconds, unless the loop is held up


class Absences:
    """The attempts of one rule that have just ended."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, int, frozenset[Key]]] = deque()

    def ended(self, handled: Sequence[Item], now: float, mounts: int) -> None:
        """An attempt is over. ``mounts``: the number of the mount table when it started."""
        self._forget(now)
        keys = frozenset(item.key for item in handled if item.change.kind is not Kind.DELETED)
        self._ended.append((now, mounts, keys))

    def was_handled(self, key: Key, now: float, mounts: Callable[[], int]) -> bool:
        """Whether it was handled just now, and nothing was mounted or unmounted since, which tells of no change."""
        self._forget(now)
        return any(key in keys and mounts() == number for _, number, keys in self._ended)

    def handled(self, now: float) -> Iterator[Key]:
        """All paths that were handled just now."""
        self._forget(now)
        for _, _, keys in self._ended:
            yield from keys

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][0] < now - _FOR:
            self._ended.popleft()
