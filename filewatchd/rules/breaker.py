"""Loops and masses: when a rule must be held instead of run again. Pure.

A rule that writes what it watches triggers itself. The sign of that, as against a busy writer, is that *all*
events since the last job came while that job ran. Many such rounds in a short time make a path suspect. A busy
writer may look the same by chance, so a suspect is left alone for a second: a loop is quiet then, a writer isn't.
What can't be told from a loop is a program that answers each job by writing the same path again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from filewatchd.model import Limit

_ROUNDS = 20
_WITHIN = 600.0  # seconds
_AFTER = 0.05  # a job's last event may be read a little after its end
_MOST = 4096  # paths remembered
PROBATION = 1.0  # seconds a suspect is left alone


class Loop(Enum):
    """What a changed path looks like."""

    NO = "no loop"
    SUSPECT = "leave it alone, and ask again when the probation is over"
    YES = "nothing happened to it while it was left alone"


class LoopBreaker:
    """Counts the rounds in which a path was changed only while its own job ran."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[float, float]] = {}  # path -> its last job's start and end
        self._rounds: dict[str, deque[float]] = {}
        self._probation: dict[str, float] = {}  # since when

    def ran(self, paths: Iterable[str], start: float, end: float) -> None:
        """A job over these paths ended."""
        if len(self.known) >= _MOST:
            self.reset()
        self.known.update(dict.fromkeys(paths, (start, end)))

    def changed(self, path: str, first: float, last: float, now: float) -> Loop:
        """A known path changed again, by events between ``first`` and ``last``."""
        since = self._probation.get(path)
        if since is not None:
            return self._after_probation(path, since, last, now)
        job = self.known[path]
        if first < job[0] or last > job[1] + _AFTER:
            self._rounds.pop(path, None)
            return Loop.NO
        rounds = self._rounds.setdefault(path, deque(maxlen=_ROUNDS))
        rounds.append(last)
        if len(rounds) < _ROUNDS or last - rounds[0] > _WITHIN:
            return Loop.NO
        self._probation[path] = now
        return Loop.SUSPECT

    def _after_probation(self, path: str, since: float, last: float, now: float) -> Loop:
        if now < since + PROBATION:
            return Loop.SUSPECT
        del self._probation[path]
        self._rounds.pop(path, None)
        return Loop.NO if last > since else Loop.YES

    def reset(self) -> None:
        """Begin anew: the rule was resumed, or so many paths are known that none of them loops."""
        self.known.clear()
        self._rounds.clear()
        self._probation.clear()


class MassLimit:
    """Counts changed paths in a sliding period; off without a limit."""

    def __init__(self, limit: Limit | None) -> None:
        self.limit = limit
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0
        self._forgiven = 0

    def exceeded(self, paths: int, now: float) -> bool:
        """Add so many changed paths; True if the period now holds more than the limit."""
        if self.limit is None:
            return False
        forgiven = min(paths, self._forgiven)
        self._forgiven -= forgiven
        paths -= forgiven
        while self._seen and self._seen[0][0] <= now - self.limit.per:
            self._total -= self._seen.popleft()[1]
        self._seen.append((now, paths))
        self._total += paths
        return self._total > self.limit.paths

    def reset(self, forgiven: int = 0) -> None:
        """Begin anew: the rule was resumed. The ``forgiven`` paths dirty by now don't count: a person said go on."""
        self._seen.clear()
        self._total = 0
        self._forgiven = forgiven
