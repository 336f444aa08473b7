"""What watchdog's inotify emitter keeps to itself and we can't do without, reached with care.

watchdog gives every scheduled path an emitter, and on Linux each emitter has an ``InotifyWatchGroup``: two tables
(path <-> watch number) and a queue in which a MOVED_FROM waits 0.5 s for its other half. None of this is public. So
everything that touches it stands here; a version of watchdog without these names has no `Group`, which only loses what
this module offers: knowing what isn't covered, giving back what moved away, and an exact barrier.

Its two tables disagree after a directory left the tree, came back elsewhere, or was renamed while a new one took its
name: a watch keeps its old path beside the new one. The next rename above the old path then takes the watch with it, so
that all that happens there is told of a wrong place for good; and the end of one of two watches with one path raises
KeyError in the thread that reads for all emitters (7.1.0). So the tables are replaced by two that can't disagree
(`mend`): a watch has one path and a path one watch, and whoever loses its path gets one that no directory can have.

So watchdog isn't asked to go down by itself: each directory that a walk arms is added here (`cover`). A watch that is
there already stays, and the number that the kernel gives says where it really is. What moved out of the tree is found
(`beneath`) and given back (`drop`). watchdog's own going down would also be slow: it walks all that is below a new
directory again for each level of it, and writes both tables into a warning for each directory it meets twice (while a
tree of 200 levels is made and renamed: 6 to more than 60 s with it, 1 to 4 s so).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Container, Iterable
from typing import Any

from watchdog.observers.api import EventEmitter

_KEPT = (
    "_lock",
    "_id",
    "event_mask",
    "_inotify_fd",
    "_active_callbacks_by_path",
    "_active_callbacks_by_watch",
    "_remove_callbacks",
)
_IN_CREATE = 0x100
_REFUSED = -1  # the "watch number" under which watchdog files a directory that may not be read


class _ByWatch(dict[int, bytes]):
    """Watch -> path; forgets a watch's former path in the other table."""

    by_path: _ByPath

    def __setitem__(self, watch: int, path: bytes) -> None:
        before = self.get(watch)
        super().__setitem__(watch, path)
        if before is not None and before != path and self.by_path.get(before) == watch:
            del self.by_path[before]


class _ByPath(dict[bytes, int]):
    """Path -> watch; gives the watch that had the path before one that no directory can have."""

    by_watch: _ByWatch

    def __setitem__(self, path: bytes, watch: int) -> None:
        before = self.get(path)
        super().__setitem__(path, watch)
        if before is not None and before != watch and self.by_watch.get(before) == path:
            nowhere = b"\0%d" % before
            super().__setitem__(nowhere, before)
            dict.__setitem__(self.by_watch, before, nowhere)


class Group:
    """One emitter's watches."""

    def __init__(self, inotify: Any) -> None:
        """``inotify``: an ``InotifyWatchGroup``."""
        self._inotify = inotify

    @staticmethod
    def of(emitter: EventEmitter) -> Group | None:
        """The emitter's; None if it has ended, or if this system's or version's emitters have none."""
        inotify = getattr(emitter, "_inotify", None)
        if inotify is None or not all(hasattr(inotify, name) for name in _KEPT):
            return None
        return Group(inotify) if hasattr(inotify._inotify_fd, "_get_or_create_watch") else None

    def mend(self) -> None:
        """Give it tables that can't disagree; once, after it was made."""
        kept = self._inotify
        by_watch, by_path = _ByWatch(), _ByPath()
        by_watch.by_path, by_path.by_watch = by_path, by_watch
        with kept._lock:
            for path, watch in kept._active_callbacks_by_path.items():
                by_path[path] = watch
                by_watch[watch] = path
            kept._active_callbacks_by_path, kept._active_callbacks_by_watch = by_path, by_watch

    def cover(self, path: str) -> None:
        """Watch the directory under this path, whatever its tables say of either.

        Raises:
            OSError: it can't be watched; ENOSPC if no watch is left.
        """
        raw = os.fsencode(path)
        kept = self._inotify
        with kept._lock:
            with kept._inotify_fd._lock:
                # not its add_callback: that warns of a second adding, with both tables written out in the warning
                entry = kept._inotify_fd._get_or_create_watch(raw, kept.event_mask)
                entry.callbacks[kept._id] = kept
            watch = entry.wd
            if watch == _REFUSED:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            kept._active_callbacks_by_path[raw] = watch
            kept._active_callbacks_by_watch[watch] = raw

    def holds(self, path: str) -> bool:
        """True if the directory has a watch."""
        return os.fsencode(path) in self._inotify._active_callbacks_by_path

    @property
    def count(self) -> int:
        """How many watches it holds."""
        return len(self._inotify._active_callbacks_by_watch)

    def paths(self) -> list[str]:
        """Every directory watched."""
        return [os.fsdecode(path) for path in list(self._inotify._active_callbacks_by_path)]

    def beneath(self, gone: Container[str]) -> list[tuple[int, str]]:
        """(watch number, path) of the watches at or below these paths. One pass over the table."""
        watches = ((watch, os.fsdecode(path)) for watch, path in list(self._inotify._active_callbacks_by_watch.items()))
        return [(watch, path) for watch, path in watches if any(above in gone for above in _up(path))]

    def stands(self, watch: int, path: str) -> bool:
        """True if this watch is the one of the directory at the path."""
        return self._inotify._active_callbacks_by_path.get(os.fsencode(path)) == watch and os.path.isdir(path)

    def drop(self, watches: Iterable[tuple[int, str]]) -> None:
        """Give these watches back, if they haven't got another path since."""
        with self._inotify._lock:
            paths = self._inotify._active_callbacks_by_watch
            for watch, path in watches:
                if paths.get(watch) == os.fsencode(path):
                    self._inotify._remove_callbacks([watch])

    def mark(self, path: str) -> bool:
        """Queue the creation of ``path`` behind all that the emitter has yet to tell; False if it has no queue."""
        try:
            from watchdog.observers.inotify_c import InotifyEvent, Mask, WatchDescriptor
            from watchdog.observers.inotify_move_event_grouper import PathedInotifyEvent

            event = InotifyEvent(WatchDescriptor(0), Mask(_IN_CREATE), 0, os.fsencode(os.path.basename(path)))
            self._inotify._move_event_grouper.put_event(PathedInotifyEvent(event, os.fsencode(path)))
        except (ImportError, AttributeError, TypeError):
            return False
        return True


def _up(path: str) -> Iterable[str]:
    yield path
    while len(path) > 1:
        path = os.path.dirname(path)
        yield path
