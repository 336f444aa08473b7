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


class Suspicion(Enum):
    """How much a path looks like a loop."""

    NONE = "none"
    ROUNDS = "rounds"
    PROBATION = "probation"
    LOOPS = "loops"


class Sign(Enum):
    """What a changed path's events say."""

    OTHERS = "something happened outside its own job"
    OWN = "all that happened came while its own job ran"
    OFTEN = "the same, for the 20th time in 10 min"
    EARLY = "it is due, and its probation isn't over"
    DISTURBED = "its probation is over, and something happened in it"
    QUIET = "its probation is over, and nothing happened in it"


_S = Suspicion
SUSPICIONS: dict[tuple[Suspicion, Sign], Suspicion] = {
    **{(state, Sign.OTHERS): _S.NONE for state in (_S.NONE, _S.ROUNDS)},
    **{(state, Sign.OWN): _S.ROUNDS for state in (_S.NONE, _S.ROUNDS)},
    (_S.ROUNDS, Sign.OFTEN): _S.PROBATION,
    (_S.PROBATION, Sign.EARLY): _S.PROBATION,
    (_S.PROBATION, Sign.DISTURBED): _S.NONE,
    (_S.PROBATION, Sign.QUIET): _S.LOOPS,
}


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

    def changed(self, path: str, first: float, last: float, now: float) -> Suspicion:
        """A known path changed again, by events between ``first`` and ``last``. Suspects aren't to be taken now."""
        since = self._probation.get(path)
        if since is not None:
            before, sign = Suspicion.PROBATION, _after(since, last, now)
        else:
            before = Suspicion.ROUNDS if path in self._rounds else Suspicion.NONE
            sign = self._round(path, first, last)
        suspicion = SUSPICIONS[before, sign]
        self._enter(path, suspicion, last, now)
        return suspicion

    def _round(self, path: str, first: float, last: float) -> Sign:
        start, end = self.known[path]
        if first < start or last > end + _AFTER:
            return Sign.OTHERS
        rounds = self._rounds.get(path) or deque[float]()
        return Sign.OFTEN if len(rounds) == _ROUNDS - 1 and last - rounds[0] <= _WITHIN else Sign.OWN

    def _enter(self, path: str, suspicion: Suspicion, last: float, now: float) -> None:
        if suspicion is Suspicion.ROUNDS:
            self._rounds.setdefault(path, deque(maxlen=_ROUNDS - 1)).append(last)
            return
        if suspicion is Suspicion.PROBATION:
            self._probation.setdefault(path, now)
            return
        self._rounds.pop(path, None)
        self._probation.pop(path, None)

    def reset(self) -> None:
        """Begin anew: the rule was resumed, or so many paths are known that none of them loops."""
        self.known.clear()
        self._rounds.clear()
        self._probation.clear()


def _after(since: float, last: float, now: float) -> Sign:
    """What a probation that began at ``since`` says by now."""
    if now < since + PROBATION:
        return Sign.EARLY
    return Sign.DISTURBED if last > since else Sign.QUIET


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
