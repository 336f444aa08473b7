"""watchdog's events -> what they say of names and directories. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
)

from filewatchd.model import Hint
from filewatchd.watch.backends.base import AnchorMoved, DirtyNames, Event, GoneDirectory, NewDirectory, Renamed
from filewatchd.watch.dirty import (
    HINTS,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
)

_HINTS: Mapping[type[FileSystemEvent], int] = {
    FileCreatedEvent: HINTS[IN_CREATE],
    FileModifiedEvent: HINTS[IN_MODIFY],
    FileClosedEvent: HINTS[IN_CLOSE_WRITE],
    FileAttribEvent: HINTS[IN_ATTRIB],
    FileDeletedEvent: HINTS[IN_DELETE],
}
FILTER = [*_HINTS, FileMovedEvent, DirCreatedEvent, DirDeletedEvent, DirMovedEvent, DirAttribEvent]
_CAME_OR_WENT = frozenset({FileCreatedEvent, FileDeletedEvent, DirCreatedEvent, DirDeletedEvent})


class Telling:
    """One drain's events: watchdog's become ours."""

    def __init__(self, anchored: Callable[[str, str, bool], bool]) -> None:
        """``anchored(directory, name, moved)``: something happened to this name; True if it is an anchor."""
        self._anchored = anchored
        self.events: list[Event] = []
        self._names: dict[str, dict[str, int]] = {}
        self._anchors: dict[tuple[str, str], bool] = {}

    def take(self, event: FileSystemEvent) -> None:
        """Add one."""
        kind = type(event)
        at = split(event.src_path)
        hint = _HINTS.get(kind)
        if hint is not None:
            self._mark(at, hint, reopened=kind is FileModifiedEvent)
        elif kind is FileMovedEvent:
            to = split(event.dest_path)
            self._mark(at, HINTS[IN_MOVED_FROM])
            self._mark(to, HINTS[IN_MOVED_TO])
            if Renamed(at, to) not in self.events[-8:]:  # two emitters may see it
                self.events.append(Renamed(at, to))
            self.name(to, moved=True)
        elif at[1]:
            self._directory(kind, at, event)
        self.name(at, moved=kind in _CAME_OR_WENT or bool(event.dest_path))

    def _directory(self, kind: type[FileSystemEvent], at: tuple[str, str], event: FileSystemEvent) -> None:
        if kind is DirMovedEvent:
            to = split(event.dest_path)
            self.events.append(GoneDirectory(*at, moved=True, renamed=True))
            self.events.append(NewDirectory(0, *to, source=at))
            self.name(to, moved=True)
        elif kind is DirDeletedEvent:
            self.events.append(GoneDirectory(*at, moved=True))  # or deleted: watchdog doesn't say
        else:
            self.events.append(NewDirectory(0, *at, fresh=kind is DirCreatedEvent))

    def _mark(self, at: tuple[str, str], hint: int, *, reopened: bool = False) -> None:
        directory, name = at
        names = self._names.setdefault(directory, {})
        known = names.get(name, 0)
        names[name] = (known & ~Hint.CLOSED if reopened else known) | hint

    def name(self, at: tuple[str, str], *, moved: bool) -> None:
        """Something happened to a name that may be an anchor."""
        if self._anchored(*at, moved):
            self._anchors[at] = self._anchors.get(at, False) or moved

    def all(self) -> list[Event]:
        """What it comes to."""
        told: list[Event] = [*self.events, *(AnchorMoved(*at, moved) for at, moved in self._anchors.items())]
        told.extend(DirtyNames(directory, names) for directory, names in self._names.items())
        return told


def split(path: bytes | str) -> tuple[str, str]:
    """(directory, name)."""
    directory, _, name = os.fsdecode(path).rpartition("/")
    return directory or "/", name
