"""What one polling pass found, turned into a backend's events. For polling.

Findings are told together at a pass's end, because only then is it known what belongs together: a directory that is
gone from one place and has come to another was renamed, and of a tree that is gone only the top is told. A place's
vanishing may be found twice, by the look at its parent and by the look at itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from filewatchd.watch.backends.base import DirtyNames, Event, GoneDirectory, NewDirectory, TopGone
from filewatchd.watch.backends.snapshot import Child, Differences, Gone, Wanted
from filewatchd.watch.table import WatchTable


class _Place(NamedTuple):
    """A directory's place when it was found to come or go."""

    parent: int  # its token; 0: a top, which is in no directory that we know
    directory: str
    child: Child

    @property
    def at(self) -> tuple[str, str]:
        return self.directory, self.child.name

    @property
    def identity(self) -> tuple[int, int]:
        return self.child.dev, self.child.ino


class Findings:
    """Gathers what the looks of one pass found. Loop only."""

    def __init__(self, table: WatchTable, find: Callable[[int, int], int]) -> None:
        """``find(dev, ino)``: a directory's token, or 0."""
        self._table = table
        self._find = find
        self._dirty: list[DirtyNames] = []
        self._came: list[_Place] = []
        self._went: list[_Place] = []
        self._altered: list[_Place] = []
        self._gone: dict[int, tuple[Wanted, Gone]] = {}
        self.doomed: set[int] = set()  # after `events`: directories to be forgotten

    @property
    def any(self) -> bool:
        """True if something was found."""
        return bool(self._dirty or self._came or self._went or self._gone)

    def differ(self, token: int, path: str, differences: Differences) -> None:
        """A directory isn't what it was."""
        if differences.files:
            self._dirty.append(DirtyNames(path, differences.files))
        self._came += [_Place(token, path, child) for child in differences.came]
        self._went += [_Place(token, path, child) for child in differences.went]
        self._altered += [_Place(token, path, child) for child in differences.altered]

    def gone(self, wanted: Wanted, gone: Gone) -> None:
        """A directory isn't where it was."""
        self._gone[wanted.token] = (wanted, gone)

    def events(self) -> list[Event]:
        """All of it, in an order that makes sense: what went, what came, what is dirty."""
        tops = self._doom()
        went, came = self._places_gone(), self._places_new()
        sources = {place.identity: place for place in went}
        renamed = {place.identity for place in came} & sources.keys()
        events: list[Event] = [TopGone(path) for path in tops]
        for place in went:
            both = place.identity in renamed
            events.append(GoneDirectory(place.directory, place.child.name, both, both))
        for place in came:
            source = sources.get(place.identity)
            old = (source.directory, source.child.name) if source is not None else None
            events.append(NewDirectory(place.parent, place.directory, place.child.name, source=old))
        unwatched = (place for place in self._altered if self._find(*place.identity) not in self._table)
        events += [NewDirectory(place.parent, place.directory, place.child.name, fresh=False) for place in unwatched]
        return [*events, *self._dirty]

    def _doom(self) -> list[str]:
        """Find what is to be forgotten; returns the tops that are gone."""
        self._gone = {t: found for t, found in self._gone.items() if self._table.path(t) == found[0].path}
        roots = self._gone.keys() | {token for token in map(self._at_its_place, self._went) if token}
        self.doomed = set(self._table.beneath(roots)) if roots else set()
        return [wanted.path for token, (wanted, _) in self._gone.items() if not self._parent(token)]

    def _parent(self, token: int) -> int:
        entry = self._table.entry(token)
        return entry[0] if entry is not None else 0

    def _at_its_place(self, place: _Place) -> int:
        """The token of the directory at this place, 0 if another, or none that is known, is there."""
        token = self._find(*place.identity)
        return token if self._table.entry(token) == (place.parent, os.fsencode(place.child.name)) else 0

    def _places_gone(self) -> list[_Place]:
        """The topmost of them, each once."""
        places = {place.at: place for place in self._went}
        for wanted, _ in self._gone.values():
            place = self._place(wanted, (wanted.old.dev, wanted.old.ino))
            places.setdefault(place.at, place)
        return [place for place in places.values() if place.parent and place.parent not in self.doomed]

    def _places_new(self) -> list[_Place]:
        """Each once, without those that a scan has found already or that are in a directory that is gone."""
        places = {place.at: place for place in self._came}
        for wanted, gone in self._gone.values():
            if gone.instead is not None:
                place = self._place(wanted, gone.instead)
                places.setdefault(place.at, place)
        reachable = [place for place in places.values() if place.parent and place.parent not in self.doomed]
        unknown = self.doomed | {0}
        return [place for place in reachable if self._at_its_place(place) in unknown]

    def _place(self, wanted: Wanted, identity: tuple[int, int]) -> _Place:
        directory, _, name = wanted.path.rpartition("/")
        return _Place(self._parent(wanted.token), directory or "/", Child(name, *identity))
