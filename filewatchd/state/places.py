"""Places: which filesystems a rule has met where below a root. A manifest row says on which of them its file is.

A path below a root may lead to one filesystem today and to another tomorrow: something is mounted over it, a disk
isn't there at start, a bind mount is taken away. The manifest has one row for a path, what was last handled there, with
the number of its place. A file that isn't found is gone only if the path leads to that filesystem now; else nobody
knows.

Each place has a start and is closed like a baseline: what its first scan finds is as it was when the rule met it. What
is beneath a mount point is a place, too: it comes to light at the unmount, and was there all the time. If it was
scanned before something was mounted over it, it is known already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from filewatchd.model import Region
from filewatchd.state.database import Database
from filewatchd.state.rows import PLACE, decode, encode

_NONE: Set[int] = frozenset((-1,))  # of a filesystem that is met only now
_ANY: Set[int] = frozenset()
_COLUMNS = "number, inside, filesystem, started_ns, closed_ns IS NOT NULL"


class Place(NamedTuple):
    """A filesystem at a path relative to a root ("": the root itself)."""

    number: int  # from 1; in the manifest's rows 0 is any place
    inside: str
    filesystem: str
    started_ns: int
    closed: bool


class Standing:
    """Where the paths of a root lead now: to which of its places. Without any, nothing is told apart.

    ``open``: the numbers of those whose first scan isn't complete. ``away``: the places whose filesystem isn't there.
    """

    def __init__(self, now: Sequence[Place] = (), known: Sequence[Place] = ()) -> None:
        """``now``: those that paths lead to. ``known``: all."""
        self._now = sorted(now, key=lambda place: -len(place.inside))
        self._numbers: dict[str, set[int]] = {}  # of each filesystem
        for place in known:
            self._numbers.setdefault(place.filesystem, set()).add(place.number)
        there = {place.filesystem for place in now}
        self.open = [place.number for place in now if not place.closed]
        self.away = [place for place in known if place.filesystem not in there]
        self._unmounted = {place.number for place in self.away}

    def place(self, path: str) -> Place | None:
        """The place that a path relative to the root is on."""
        if len(self._now) == 1:
            return self._now[0]
        return next((place for place in self._now if _is_in(path, place.inside)), None)

    def number(self, path: str) -> int:
        """The place's number; 0 if there is none."""
        place = self.place(path)
        return place.number if place is not None else 0

    def numbers(self, path: str) -> Set[int]:
        """The numbers of all places of the filesystem that a path is on; empty if nothing is told apart."""
        place = self.place(path)
        return self._numbers.get(place.filesystem, _NONE) if place is not None else _ANY

    def is_elsewhere(self, path: str, flags: int) -> bool:
        """Whether the row of a path, with these flags, is of another filesystem than its path leads to now."""
        number = flags // PLACE
        return number != 0 and bool(same := self.numbers(path)) and number not in same

    def is_unmounted(self, flags: int) -> bool:
        """Whether a row with these flags is of a filesystem that isn't there, rather than hidden by another."""
        return flags // PLACE in self._unmounted

    def may_be_elsewhere(self, path: str) -> bool:
        """Whether a path without a row may be on a filesystem that isn't there now."""
        return any(_is_in(path, place.inside) for place in self.away)


def _is_in(path: str, directory: str) -> bool:
    return not directory or path == directory or path.startswith(directory + "/")


def _around(inside: str, regions: Iterable[Region]) -> Region | None:
    """The region that a mount point is in, which isn't the one that begins there."""
    above = [region for region in regions if region.inside != inside and _is_in(inside, region.inside)]
    return max(above, key=lambda region: len(region.inside), default=None)


def _whole(mounted: Sequence[Region], known: Iterable[Place]) -> list[Region]:
    """The regions with nothing mounted at mount points of before: what is beneath these belongs to what is around."""
    here = {region.inside for region in mounted}
    bare = {place.inside for place in known} - here
    around = [(inside, _around(inside, mounted)) for inside in sorted(bare)]
    return [*mounted, *(Region(inside, region.filesystem) for inside, region in around if region is not None)]


class Places:
    """The table of them. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, baseline: int) -> list[Place]:
        """All that a baseline knows."""
        return [
            Place(number, decode(inside), filesystem, started, bool(closed))
            for number, inside, filesystem, started, closed in self._database.execute(
                f"SELECT {_COLUMNS} FROM places WHERE baseline = ? ORDER BY number", (baseline,)
            )
        ]

    def standing(self, baseline: int, mounted: Sequence[Region]) -> Standing:
        """Where paths lead with these filesystems mounted. A place that isn't known yet has the number -1."""
        known = self.of(baseline)
        by_region = {Region(place.inside, place.filesystem): place for place in known}
        now = [by_region.get(region) or Place(-1, *region, 0, False) for region in _whole(mounted, known)]
        return Standing(now, known)

    def enter(self, baseline: int, mounted: Sequence[Region], started_ns: int, *, closed: bool) -> None:
        """Get to know the places that are new. ``closed``: what is on them is known already. Syncs if there are any.

        If a power loss took a place, what changes on it from now on would be what was always there.
        """
        known = self.of(baseline)
        by_region = {Region(place.inside, place.filesystem) for place in known}
        if by_region.issuperset(_whole(mounted, known)):
            return
        with self._database.durable():
            self._enter_new(baseline, mounted, known, started_ns, closed=closed)

    def _enter_new(
        self, baseline: int, mounted: Sequence[Region], known: Sequence[Place], started_ns: int, *, closed: bool
    ) -> None:
        scanned = {Region(place.inside, place.filesystem) for place in known if place.closed}
        for inside in {region.inside for region in mounted} - {place.inside for place in known}:
            around = _around(inside, mounted)
            if around in scanned:  # when nothing was mounted here yet
                self._enter(baseline, Region(inside, around.filesystem), started_ns, started_ns)
        for region in _whole(mounted, known):
            self._enter(baseline, region, started_ns, started_ns if closed else None)

    def _enter(self, baseline: int, region: Region, started_ns: int, closed_ns: int | None) -> None:
        self._database.execute(
            "INSERT INTO places SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3, ?4, ?5 FROM places"
            " WHERE baseline = ?1 ON CONFLICT DO NOTHING",
            (baseline, encode(region.inside), region.filesystem, started_ns, closed_ns),
        )

    def close(self, baseline: int, numbers: Iterable[int], closed_ns: int) -> None:
        """Their first scan is complete."""
        statement = "UPDATE places SET closed_ns = ? WHERE baseline = ? AND number = ? AND closed_ns IS NULL"
        self._database.execute_many(statement, ((closed_ns, baseline, number) for number in numbers))

    def forget(self, baseline: int, numbers: Iterable[int]) -> None:
        """Places that nothing is known of, and whose mount points are gone."""
        statement = "DELETE FROM places WHERE baseline = ? AND number = ?"
        self._database.execute_many(statement, ((baseline, number) for number in numbers))
