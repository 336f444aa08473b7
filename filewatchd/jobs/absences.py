"""Paths that may have been away while an attempt looked for them, though they are the same before and after.

A directory that is renamed away and back leaves no trace in the files below it: not even their ctime tells. Whoever
ran meanwhile may have found nothing, and the manifest would call the file handled. So what is told of a directory
(`Hint.AWAY`) while an attempt runs leaves its paths open, and the next job sees them again. Such news may come a little
later than the attempt's end, so attempts are remembered for a moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from filewatchd.jobs.runner import Item, Key
from filewatchd.model import Kind

_FOR = 1.0  # seconds: an event is read within a few milliseconds, unless the loop is held up


class Absences:
    """The attempts of one rule that have just ended."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, int, frozenset[Key]]] = deque()

    def ended(self, job: int, handled: Sequence[Item], now: float) -> None:
        """An attempt is over."""
        self._forget(now)
        self._ended.append((now, job, frozenset(item.key for item in handled if item.change.kind is not Kind.DELETED)))

    def job_of(self, key: Key, now: float) -> int | None:
        """The job that handled a path just now."""
        self._forget(now)
        return next((job for _, job, keys in reversed(self._ended) if key in keys), None)

    def handled(self, now: float) -> Iterator[Key]:
        """All paths that were handled just now."""
        self._forget(now)
        for _, _, keys in self._ended:
            yield from keys

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][0] < now - _FOR:
            self._ended.popleft()
