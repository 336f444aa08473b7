"""Who makes room for whom when no watch is left, and when it is tried again. Pure.

A root gives way to one that has less than half of what it has, and never until they would change places: so two large
roots leave each other alone, and what was given isn't asked back. A few watches stay free, for directories that come
to be in small roots and for the directories above roots: who has no claim to make room for leaves them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

_TIMES = 2  # what a root has left of what it gives to another
_LEAST_RESERVE, _MOST_RESERVE = 4, 64
_RESERVE_SHARE = 32
MOST_AT_ONCE = 1024  # watches that change hands in one go
_FIRST, _LAST = 1.0, 60.0  # seconds


def reserve(held: Mapping[K, int]) -> int:
    """How many watches stay free: a small part of what the largest root has."""
    return max(_LEAST_RESERVE, min(_MOST_RESERVE, max(held.values(), default=0) // _RESERVE_SHARE))


def gives(rich: int, poor: int) -> bool:
    """Whether a root with so many watches gives one to another."""
    return rich - 1 >= _TIMES * (poor + 1)


def ways(held: Mapping[K, int], poor: int, wanted: int) -> dict[K, int]:
    """How many each of these roots gives to one that has ``poor`` and needs ``wanted``; always the largest."""
    left, given = dict(held), Counter[K]()
    for more in range(min(wanted, MOST_AT_ONCE)):
        rich = max(left, key=left.__getitem__, default=None)
        if rich is None or not gives(left[rich], poor + more):
            break
        left[rich] -= 1
        given[rich] += 1
    return dict(given)


class BackOff:
    """How long to wait until the next try, in seconds: longer each time, as long as nothing changes."""

    def __init__(self) -> None:
        self._next = _FIRST

    def after(self, gained: bool) -> float:
        """The wait after a try."""
        wait = _FIRST if gained else self._next
        self._next = min(2 * wait, _LAST)
        return wait
