"""Who may run, how a job ends, and how a rule drains: tables, and the daemon's slots over all rules. Pure.

Rules that find no free slot stand in line; who waits longest is asked first.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from enum import Enum, StrEnum
from typing import Generic, TypeVar

from filewatchd.model import Busy, Outcome, Retry, Verdict

P = TypeVar("P", bound=Hashable)


# ---- a job and its attempts


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    BACKOFF = "backoff"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Turn(Enum):
    """What moves a job on."""

    HANDLED = "every path is handled"
    RETRIED = "paths failed, and attempts are left"
    EXHAUSTED = "paths failed for good"
    CUT_OFF = "it is cancelled, or the daemon ended"
    DUE = "its pause is over, or somebody asks"
    TAKEN = "newer jobs took all its paths over"


_J, _T = JobState, Turn
JOBS: dict[tuple[JobState, Turn], JobState] = {
    (_J.RUNNING, _T.HANDLED): _J.OK,
    (_J.RUNNING, _T.RETRIED): _J.BACKOFF,
    (_J.RUNNING, _T.EXHAUSTED): _J.FAILED,
    (_J.RUNNING, _T.CUT_OFF): _J.CANCELLED,
    (_J.BACKOFF, _T.DUE): _J.RUNNING,
    (_J.BACKOFF, _T.TAKEN): _J.CANCELLED,
    (_J.BACKOFF, _T.CUT_OFF): _J.CANCELLED,
}


def last_turn(outcomes: Iterable[Outcome | None]) -> Turn:
    """How an attempt ends that isn't retried, by its paths' outcomes; None where a path was cut off."""
    verdicts = {outcome.verdict if outcome else Verdict.CANCELLED for outcome in outcomes}
    if Verdict.FAILED in verdicts:
        return Turn.EXHAUSTED
    return Turn.CUT_OFF if Verdict.CANCELLED in verdicts else Turn.HANDLED


# ---- a rule's slots under its busy policy


class Slot(Enum):
    """How busy a rule is."""

    IDLE = "idle"
    ROOM = "room"
    FULL = "full"


class Move(Enum):
    """What happens to due paths."""

    START = "a job starts with them"
    WAIT = "they stay dirty and wait"
    CANCEL = "what runs is cancelled, and begins anew with them"
    LEAVE = "they stay dirty, are counted, and join the next job"


BUSY: dict[tuple[Busy, Slot], Move] = {
    **{(busy, Slot.IDLE): Move.START for busy in Busy},
    (Busy.QUEUE, Slot.FULL): Move.WAIT,
    (Busy.RESTART, Slot.FULL): Move.CANCEL,
    (Busy.SKIP, Slot.FULL): Move.LEAVE,
    (Busy.PARALLEL, Slot.ROOM): Move.START,
    (Busy.PARALLEL, Slot.FULL): Move.WAIT,
}


def slot(running: int, most: int) -> Slot:
    """How busy a rule is with so many jobs, of so many that may run."""
    if running >= most:
        return Slot.FULL
    return Slot.ROOM if running else Slot.IDLE


# ---- the end of a rule


class Drain(Enum):
    """How far a rule that ends has come."""

    INTAKE = "intake"
    FINISHING = "finishing"
    CUTTING = "cutting off"
    ENDED = "ended"


class Ebb(Enum):
    """What moves a rule to its end."""

    ASKED = "the daemon stops, or a reload replaces the rule"
    EMPTY = "no job of it runs"
    LATE = "the grace is over, and what runs is cancelled"
    STUCK = "cancelled jobs don't end within 5 s"


DRAINS: dict[tuple[Drain, Ebb], Drain] = {
    (Drain.INTAKE, Ebb.ASKED): Drain.FINISHING,
    (Drain.FINISHING, Ebb.LATE): Drain.CUTTING,
    (Drain.FINISHING, Ebb.EMPTY): Drain.ENDED,
    (Drain.CUTTING, Ebb.EMPTY): Drain.ENDED,
    (Drain.CUTTING, Ebb.STUCK): Drain.ENDED,
}


# ---- slots of all rules


class Slots(Generic[P]):
    """``daemon.max_running`` slots, shared by all rules."""

    def __init__(self, most: int) -> None:
        """``most``: how many jobs may run at once."""
        self.most = most
        self.running = 0
        self._line: OrderedDict[P, None] = OrderedDict()

    def take(self, who: P) -> bool:
        """Take a slot, or stand in line for one."""
        if self.running >= self.most:
            self._line.setdefault(who)
            return False
        self.running += 1
        self._line.pop(who, None)
        return True

    def give(self) -> P | None:
        """Return a slot; who should ask next, if anybody waits."""
        self.running -= 1
        return self._line.popitem(last=False)[0] if self._line else None

    def leave(self, who: P) -> None:
        """Stop waiting."""
        self._line.pop(who, None)


def width(busy: Busy, concurrency: int) -> int:
    """How many jobs of one rule may run at once."""
    return max(1, concurrency) if busy is Busy.PARALLEL else 1


def share(due: int, free: int, most: int) -> int:
    """How many due paths one job gets, so that parallel slots share the work evenly."""
    return min(most, max(1, -(-due // max(1, free))))


def backoff(retry: Retry, attempt: int, rng: random.Random) -> float:
    """Seconds to wait after this attempt (counted from 1): exponential, with up to a quarter taken off at random."""
    pause = min(retry.max_backoff, retry.backoff * 2.0 ** min(attempt - 1, 30))
    return pause * (1.0 - rng.random() / 4)
