"""When to look at a log's size next: pure.

No event comes for a write. A quiet log costs nothing: a one-shot watch wakes us with its first write. From then on it
is looked at now and again while it grows: after nine tenths of the time that it needs to its limit at its present
rate, but within a second, whatever the rate, since a log that crawls may start to run. So it is at most one second of
growth over its limit. A log that hasn't grown between two looks is quiet again.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST = 0.9  # seconds between two looks at a log that grows: with the look itself less than one
SHORTEST = 0.02
FIRST = 0.05  # after a write woke us: how fast it grows isn't known, and the time before it says nothing


class Sample(NamedTuple):
    """A size, and the monotonic time at which it was seen."""

    size: int
    time: float


def next_look(limit: int, before: Sample | None, now: Sample) -> float | None:
    """Seconds until the next look; None: it is quiet, so its next write wakes us. 0: it has come to its limit."""
    if now.size >= limit:
        return 0.0
    if before is None:
        return FIRST
    grown = now.size - before.size
    if grown <= 0:
        return None
    rate = grown / max(now.time - before.time, 1e-6)
    return min(LONGEST, max(SHORTEST, (limit - now.size) / rate * 0.9))
