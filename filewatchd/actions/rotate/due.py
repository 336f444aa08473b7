"""Whether a log is due, and if not, when to ask again: pure."""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.actions.rotate.options import When
from filewatchd.measures import format_duration, format_size

_NS = 1_000_000_000


class Due(NamedTuple):
    """``why``: it is due; "" if not. Ask again once it has ``grown`` to this, or at ``at_ns``, whichever is first."""

    why: str
    grown: int | None = None
    at_ns: int | None = None


def due(when: When, size: int, since_ns: int, asked: bool, now_ns: int) -> Due:
    """``size``: bytes that no archive has; ``since_ns``: its last rotation; ``asked``: its schedule's time has come."""
    age_ns = now_ns - since_ns
    reasons = list(_reasons(when, size, age_ns, asked))
    old_enough = age_ns >= when.min_age * _NS
    least = max(when.min_size, 1)
    if reasons and size >= least and old_enough:
        return Due(reasons[0])
    grown = least if reasons and size < least else None
    if not reasons and when.size is not None:
        grown = max(when.size, least)
    times = [since_ns + int(when.age * _NS)] if when.age is not None and age_ns < when.age * _NS else []
    if reasons and not old_enough:
        times.append(since_ns + int(when.min_age * _NS))
    return Due("", grown, min(times, default=None))


def _reasons(when: When, size: int, age_ns: int, asked: bool) -> list[str]:
    found = []
    if when.size is not None and size >= when.size:
        found.append(f"it has grown to {format_size(when.size)}")
    if when.age is not None and age_ns >= when.age * _NS:
        found.append(f"it is {format_duration(when.age)} old")
    if asked:
        found.append("its time has come")
    return found
