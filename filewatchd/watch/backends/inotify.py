"""inotify: one descriptor, one watch per directory. Linux, every local filesystem.

What the kernel does: a watch belongs to an inode, not to a path; watching a directory again gives the same
number and moves nothing. Events of one descriptor come in order and are never late: a system call queues its
event before it returns. The queue holds fs.inotify.max_queued_events and then says only IN_Q_OVERFLOW.

So: a reader thread does nothing but empty the queue into memory (`inotify_queue`). Everything else happens on the loop:
watches come and go (`inotify_watches`), and what is read of them becomes events (here).
A directory's path is looked up when its event is read (`WatchTable`), so a rename needs no bookkeeping but for the one
directory. Events of a watch that a scan thread has armed, or armed again, and the loop hasn't adopted yet are parked
until it has (`inotify_arrivals`).

What it can't see: writes by other hosts (network filesystems), writes through mmap before msync or munmap, and
edits through a hard link outside the watched trees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.clock import Clock
from filewatchd.model import Hint, RawEvent
from filewatchd.watch.backends.base import (
    ANY,
    AnchorMoved,
    DirtyNames,
    Event,
    Forgetful,
    GoneDirectory,
    Keeper,
    Lost,
    NewDirectory,
    Renamed,
    TopGone,
)
from filewatchd.watch.backends.inotify_queue import Descriptor
from filewatchd.watch.backends.inotify_watches import Watches, text_of
from filewatchd.watch.dirty import (
    HINTS,
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    Folded,
    fold,
    renames,
)
from filewatchd.work.pool import Pool

_HALF = 0.005  # seconds that a rename's first side waits for the other
_NAMES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO


class InotifyBackend(Watches):
    """The own inotify backend; see the module's theory of operation."""

    name = "inotify"
    limits: Sequence[str] = (
        "writes by other hosts on network filesystems are not seen",
        "writes through mmap are seen when they are synced or unmapped",
        "edits through a hard link outside the roots are not seen before the next scan",
    )

    def __init__(self, descriptor: Descriptor | None = None, keeper: Keeper | None = None) -> None:
        """``keeper``: of the descriptor, for the next process. Raises FatalError if the kernel gives none."""
        super().__init__(descriptor or Descriptor(), keeper or Forgetful())
        self._half: list[RawEvent] = []  # a rename's first side, if the other wasn't read yet
        self._renames: dict[int, tuple[str, str]] = {}  # directories, of the drain under way
        self._over: dict[int, bool] = {}  # ended in the drain under way; True: an earlier process', nobody knows where
        self._deleted: set[int] = set()  # said DELETE_SELF or UNMOUNT; IGNORED follows
        self._counts = {"raw_events": 0, "reads": 0, "overflows": 0}

    # ---- life

    def start(self, wake: Callable[[], None]) -> None:
        """Begin reading; ``wake`` is called from the reader thread."""
        self._wake = wake
        if self._retained:  # before any directory is known: what was kept is parked, and so told apart from what is new
            self.reader.catch_up()
            self._missed = self.drain()
        self.reader.start(wake)

    def stop(self) -> None:
        """End the reader and give the watches back."""
        self.reader.stop()

    async def barrier(self) -> None:
        """Read what the kernel has queued by now."""
        self.reader.catch_up()

    # ---- events

    def drain(self) -> list[Event]:
        """Everything read since the last call."""
        chunks = self.reader.take()
        if replayed := self._arrivals.replay():
            chunks.insert(0, replayed)
        folded = fold(chunks)
        self._counts["raw_events"] += folded.events
        self._counts["reads"] += len(chunks)
        events, self._missed = self._missed, []
        self._over.clear()
        structural = self._whole_renames(folded)
        if structural:
            self._renames = self._directory_renames(structural)
            for event in structural:
                self._structural(event, events)
            self._pair(structural, events)
        for watch, names in folded.dirty.items():
            self._dirty(watch, names, events)
        if self._arrivals.spilled:
            self._arrivals.spilled = False
            events.append(Lost())
        return events

    def _whole_renames(self, folded: Folded) -> list[RawEvent]:
        """The structural events; a rename of which just the first side was read waits a moment for the other."""
        structural, self._half = self._half + folded.structural, []
        if folded.half and structural:
            self._half.append(structural.pop())
            asyncio.get_running_loop().call_later(_HALF, self._wake)
        return structural

    def _dirty(self, watch: int, names: dict[bytes, int], events: list[Event]) -> None:
        anchor = self._anchors.get(watch)
        if anchor is not None:
            self._anchored(anchor, names, events)
        if watch in self._over:  # its directory is gone, with all that was in it
            come = IN_CREATE | IN_MOVED_TO
            self.gone_names += sum(bool(mask & come) for mask in names.values()) if self._over[watch] else 0
            return
        if self._waits(watch):
            self._arrivals.park([RawEvent(watch, mask, 0, name) for name, mask in names.items()])
            return
        directory = self.table.path(watch)
        if directory is not None:
            more = Hint.RETAINED if watch in self._arrivals.inherited else 0
            hints = {text_of(name): HINTS[mask] | more for name, mask in names.items()}
            events.append(DirtyNames(directory, hints))

    def _waits(self, watch: int) -> bool:
        """Whether its events have to wait for its adoption: it isn't known, or not where it is."""
        return watch in self._arrivals or (watch not in self.table and watch not in self._anchors)

    def _place(self, watch: int) -> str | None:
        """A directory's path; None while it isn't sure."""
        return None if watch in self._arrivals else self.table.path(watch)

    def _anchored(self, anchor: tuple[str, set[str]], names: Mapping[bytes, int], events: list[Event]) -> None:
        directory, wanted = anchor
        for name, mask in names.items():
            text = text_of(name)
            if text in wanted or ANY in wanted:
                events.append(AnchorMoved(directory, text, bool(mask & _NAMES)))

    def _structural(self, event: RawEvent, events: list[Event]) -> None:
        watch, mask = event.watch, event.mask
        if mask & IN_Q_OVERFLOW:
            self._counts["overflows"] += 1
            events.append(Lost())
        elif mask & (IN_IGNORED | IN_DELETE_SELF | IN_UNMOUNT):
            self._ended(watch, mask, events)
        elif mask & IN_ISDIR:
            anchor = self._anchors.get(watch)
            if anchor is not None:
                self._anchored(anchor, {event.name: mask}, events)
            if self._waits(watch):
                self._arrivals.park([event])
            else:
                self._directory(event, events)

    def _ended(self, watch: int, mask: int, events: list[Event]) -> None:
        if watch in self._given:
            self._arrivals.ended(watch)  # a scan thread may be arming it again just now
            return
        anchor = self._anchors.get(watch)
        entry = self.table.entry(watch)
        if entry is not None and not entry[0]:
            self._look_again(*entry, events)
        if anchor is not None:
            events.extend(AnchorMoved(anchor[0], name, True) for name in anchor[1])
        if mask & IN_UNMOUNT and entry is not None and entry[0] and (path := self.table.path(watch)) is not None:
            events.append(TopGone(path))  # what stands there now was there before: it is no new directory
        if mask & (IN_DELETE_SELF | IN_UNMOUNT):
            self._deleted.add(watch)
        if mask & IN_IGNORED:
            if watch not in self._deleted and entry is not None and entry[0]:
                self._look_again(*entry, events)
            self._forget_ended(watch)

    def _forget_ended(self, watch: int) -> None:
        self._over[watch] = bool(self._retained) and not self._known(watch)
        if self._over[watch]:
            self.gone_names += self._arrivals.names_come(watch)
        self.ended += watch in self.table or watch in self._anchors
        self._deleted.discard(watch)
        self._arrivals.ended(watch)
        self.table.drop(watch)
        if watch in self._anchors:
            directory, _ = self._anchors.pop(watch)
            self._anchor_of.pop(directory, None)

    def _directory(self, event: RawEvent, events: list[Event]) -> None:
        parent = self.table.path(event.watch)
        if parent is None or not event.name:
            return
        name = text_of(event.name)
        if event.mask & (IN_CREATE | IN_MOVED_TO):
            events.append(NewDirectory(event.watch, parent, name, source=self._renames.get(event.cookie)))
        elif event.mask & IN_ATTRIB:
            events.append(NewDirectory(event.watch, parent, name, fresh=False))
        else:
            moved = bool(event.mask & IN_MOVED_FROM)
            if moved:
                self._moved_out.add((event.watch, event.name.rstrip(b"\0")))
            events.append(GoneDirectory(parent, name, moved, renamed=event.cookie in self._renames))

    def _directory_renames(self, structural: list[RawEvent]) -> dict[int, tuple[str, str]]:
        """Cookie -> old (directory, name) of the directories of which both places are watched."""
        moved = [event for event in structural if event.mask & IN_ISDIR and event.mask & (IN_MOVED_FROM | IN_MOVED_TO)]
        arrived = {e.cookie for e in moved if e.mask & IN_MOVED_TO and self._place(e.watch) is not None}
        left = [(e.cookie, self._place(e.watch), e.name) for e in moved if e.mask & IN_MOVED_FROM]
        return {cookie: (at, text_of(name)) for cookie, at, name in left if at is not None and cookie in arrived}

    def _pair(self, structural: list[RawEvent], events: list[Event]) -> None:
        for source, target, directory in renames(structural):
            if directory or source is None or target is None:
                continue
            old, new = self._place(source[0]), self._place(target[0])
            if old is not None and new is not None:
                events.append(Renamed((old, text_of(source[1])), (new, text_of(target[1]))))

    def statistics(self) -> Mapping[str, Any]:
        """Counters since the start, and how many watches are held."""
        return {
            **self._counts,
            "parked": self._arrivals.parked,
            "gone_names": self.gone_names,
            "watches": self.table.count,
            "anchors": len(self._anchors),
        }


def build(pool: Pool, clock: Clock, keeper: Keeper) -> InotifyBackend:
    """The backend, on the descriptor of an earlier process if there is one."""
    return InotifyBackend(Descriptor(keeper.take(InotifyBackend.name)), keeper)
