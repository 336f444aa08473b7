"""Which of a set of files go, given limits; pure, so that a plan shows exactly what a pass would do.

Files go oldest first, as long as any one limit is exceeded; the newest ``min_count`` stay, whatever the limits say.
As every limit takes the oldest, what goes is a beginning of the files in the order of their times (their names, where
these are equal). So it is enough to look at the oldest of them, together with how many there are in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be kept; None is no limit.

    ``age`` in seconds, ``total`` in bytes, ``min_free`` in bytes (int) or as a share of the filesystem (float).
    """

    count: int | None = None
    age: float | None = None
    total: int | None = None
    min_free: int | float | None = None
    min_count: int = 0

    @property
    def any(self) -> bool:
        """Whether anything could ever go."""
        return not (self.count is self.age is self.total is self.min_free is None)


class Kept(NamedTuple):
    """A file. ``time`` in seconds since the epoch, ``size`` in bytes, ``frees`` what its blocks take on disk."""

    time: float
    name: str
    size: int
    frees: int


class Space(NamedTuple):
    """A filesystem, in bytes: free for who isn't root, and in all."""

    free: int
    total: int


class Going(NamedTuple):
    """A file that goes, and the limit that it exceeds, in words."""

    file: Kept
    limit: str
    why: str


def going(kept: Iterable[Kept], limits: Limits, now: float, space: Space | None = None) -> list[Going]:
    """Which of all these files go, oldest first; ``now`` in seconds since the epoch."""
    files = sorted(kept)
    return oldest_going(files, limits, now, len(files), sum(file.size for file in files), space)


def oldest_going(
    oldest: Sequence[Kept], limits: Limits, now: float, count: int, total: int, space: Space | None = None
) -> list[Going]:
    """`going` where only the oldest are at hand, in order; ``count`` and ``total`` are those of all."""
    found: list[Going] = []
    free = space.free if space is not None else 0
    for file in oldest:
        if count <= limits.min_count:
            break
        exceeded = (
            over_count(limits, count)
            or over_age(limits, now - file.time)
            or over_total(limits, total)
            or short_of_space(limits, free, space)
        )
        if exceeded is None:
            break
        found.append(Going(file, *exceeded))
        count, total, free = count - 1, total - file.size, free + file.frees
    return found


def over_count(limits: Limits, count: int) -> tuple[str, str] | None:
    """More files than may be."""
    if limits.count is None or count <= limits.count:
        return None
    return "count", f"there are {count}, and {limits.count} are kept"


def over_age(limits: Limits, age: float) -> tuple[str, str] | None:
    """Older than may be."""
    if limits.age is None or age <= limits.age:
        return None
    return "age", f"it is {span(age)} old, and {span(limits.age)} are kept"


def over_total(limits: Limits, total: int) -> tuple[str, str] | None:
    """Larger together than may be."""
    if limits.total is None or total <= limits.total:
        return None
    return "total", f"together they have {total:,} bytes, and {limits.total:,} are kept"


def short_of_space(limits: Limits, free: int, space: Space | None) -> tuple[str, str] | None:
    """Less room on the filesystem than shall be."""
    if limits.min_free is None or space is None:
        return None
    wanted = limits.min_free if isinstance(limits.min_free, int) else int(limits.min_free * space.total)
    if free >= wanted:
        return None
    return "min_free", f"{free:,} bytes are free, and {wanted:,} shall be"


def span(seconds: float) -> str:
    """A time as people say it, in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + unit
    return f"{seconds:.0f}s"
