"""Who may run: one rule's slots under its busy policy, and the daemon's slots over all rules. Pure.

Rules that find no free slot stand in line; who waits longest is asked first.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from filewatchd.model import Busy, Retry

P = TypeVar("P", bound=Hashable)


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
