"""inotify: one descriptor, one watch per directory. Linux, every local filesystem.

What the kernel does: a watch belongs to an inode, not to a path; watching a directory again gives the same
number and moves nothing. Events of one descriptor come in order and are never late: a system call queues its
event before it returns. The queue holds fs.inotify.max_queued_events and then says only IN_Q_OVERFLOW.

So: a reader thread does nothing but empty the queue into memory (`inotify_queue`). Everything else happens on the loop.
A directory's path is looked up when its event is read (`WatchTable`), so a rename needs no bookkeeping but for the one
directory. Events of a watch that a scan thread has armed but the loop hasn't adopted yet are parked until it has
(`inotify_arrivals`).

What it can't see: writes by other hosts (network filesystems), writes through mmap before msync or munmap, and
edits through a hard link outside the watched trees.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from filewatchd.clock import Clock
from filewatchd.watch.backends.base import (
    ANY,
    AnchorMoved,
    Armed,
    DirtyNames,
    Event,
    Given,
    GoneDirectory,
    Lost,
    NewDirectory,
    Renamed,
    TopGone,
    WatchLimitError,
)
from filewatchd.watch.backends.inotify_arrivals import Arrivals
from filewatchd.watch.backends.inotify_queue import Descriptor, Reader
from filewatchd.watch.dirty import (
    ANCHOR_MASK,
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
    TREE_MASK,
    Folded,
    RawEvent,
    fold,
    renames,
)
from filewatchd.watch.table import WatchTable
from filewatchd.work.pool import Pool

_IN_ONLYDIR = 0x01000000
_IN_EXCL_UNLINK = 0x04000000
_IN_MASK_ADD = 0x20000000
_LATELY = 4096  # watches given back that are remembered until whoever is arming one has anchored it
_HALF = 0.005  # seconds that a rename's first side waits for the other
_TREE = TREE_MASK | _IN_ONLYDIR | _IN_EXCL_UNLINK
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NAMES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO


class InotifyBackend:
    """The own inotify backend; see the module's theory of operation."""

    name = "inotify"
    limits: Sequence[str] = (
        "writes by other hosts on network filesystems are not seen",
        "writes through mmap are seen when they are synced or unmapped",
        "edits through a hard link outside the roots are not seen before the next scan",
    )

    def __init__(self, descriptor: Descriptor | None = None) -> None:
        """Raises FatalError if the kernel gives no descriptor."""
        self._kernel = descriptor or Descriptor()
        self.table = WatchTable()
        self._anchors: dict[int, tuple[str, set[str]]] = {}
        self._anchor_of: dict[str, int] = {}
        self._arrivals = Arrivals()
        self._half: list[RawEvent] = []  # a rename's first side, if the other wasn't read yet
        self._missed: list[Event] = []  # names that may have changed before they were listened for
        self._moved_out: set[tuple[int, bytes]] = set()
        self._renames: dict[int, tuple[str, str]] = {}  # directories, of the drain under way
        self._suspects: set[int] = set()
        self._deleted: set[int] = set()  # said DELETE_SELF; IGNORED follows
        self._given: set[int] = set()  # given back just now; IGNORED follows
        self._lately: deque[int] = deque(maxlen=_LATELY)  # given back
        self.ended = 0
        self._wake: Callable[[], None] = lambda: None
        self.reader = Reader(self._kernel.fd)
        self._counts = {"raw_events": 0, "reads": 0, "overflows": 0}

    # ---- life

    def start(self, wake: Callable[[], None]) -> None:
        """Begin reading; ``wake`` is called from the reader thread."""
        self._wake = wake
        self.reader.start(wake)

    def stop(self) -> None:
        """End the reader and give the watches back."""
        self.reader.stop()

    async def barrier(self) -> None:
        """Read what the kernel has queued by now."""
        self.reader.catch_up()

    # ---- watches (arm and arm_anchor run in scan threads)

    def arm(self, fd: int) -> int:
        """Watch an open directory with all that is in it; returns its watch number."""
        return self._arrivals.arm(lambda: self._add(fd, _TREE))

    def proves(self, fd: int, token: int) -> bool:
        """The kernel gives a directory that is watched the same number again, and that even if no other is left."""
        try:
            watch = self._add(fd, _TREE)
        except WatchLimitError:
            return False
        if watch != token and not self._known(watch):
            self._remove(watch)
        return watch == token

    def _known(self, watch: int) -> bool:
        return watch in self.table or watch in self._anchors or watch in self._arrivals

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """Watch an open directory for names that come and go, or also for what is written to them.

        A watch it has already keeps what it sees.
        """
        return self._add(fd, (TREE_MASK if contents else ANCHOR_MASK) | _IN_ONLYDIR | _IN_MASK_ADD)

    def _add(self, fd: int, mask: int) -> int:
        try:
            return self._kernel.add(f"/proc/self/fd/{fd}", mask)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise WatchLimitError(error.errno, error.strerror) from None
            raise

    def adopt(self, armed: list[Armed]) -> None:
        """Enter what a scan thread armed, and replay the events parked for it."""
        again = False
        for watch, parent, name in armed:
            self._suspects.discard(watch)
            if not self._arrivals.adopt(watch):
                self._look_again(parent, name, self._missed)
                continue
            if parent or watch not in self.table:  # a root inside another's tree stays a child there
                self.table.put(watch, parent, name)
            again = self._arrivals.unpark(watch) or again
        if again or self._missed:
            self._wake()

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Tell of this name in an anchored directory."""
        old = self._anchor_of.get(directory)
        heard = token in self.table or token in self._anchors
        names = self._anchors.pop(old)[1] if old is not None and old in self._anchors else set()
        self._anchor_of[directory] = token
        lost = token in self._lately and not heard  # it was given back after it was armed for this
        if lost or (heard and name not in names):  # since it was looked at, its events went to others, unparked
            self._missed.append(AnchorMoved(directory, name, True))
            self._wake()
        names.add(name)
        self._anchors[token] = (directory, names)
        if self._arrivals.unpark(token):
            self._wake()

    def unanchor(self, directory: str) -> None:
        """Tell no more of names in this directory."""
        watch = self._anchor_of.pop(directory, None)
        if watch is not None:
            self._anchors.pop(watch, None)
            if watch not in self.table and watch not in self._arrivals:
                self._remove(watch)
                self.ended += 1

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """Give back the watches of every directory that ``unwanted`` says yes to."""
        doomed = []
        for watch in self.table:
            path = self.table.path(watch)
            if path is None or unwanted(path):
                doomed.append(watch)
        for watch in self.table.orphans(set(doomed)):
            self.table.put(watch, 0, os.fsencode(self.table.path(watch) or ""))
        self._forget(doomed)

    def suspects(self) -> dict[int, str]:
        """Directories that moved away from where the table has them, if they weren't found again since."""
        found = self.table.children_of(self._moved_out) if self._moved_out else []
        self._moved_out.clear()
        self._suspects.update(found)
        paths = {watch: self.table.path(watch) for watch in found}
        return {watch: path for watch, path in paths.items() if path is not None}

    def still_there(self, token: int, path: str) -> bool:
        """True if this directory is what stands at the path. Called in scan threads."""
        try:
            fd = os.open(path, _OPEN)
        except OSError:
            return False
        try:
            return self.proves(fd, token)
        except OSError:
            return False
        finally:
            os.close(fd)

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Give back the watches of suspects that are gone, with all beneath them."""
        self._forget(self.table.beneath(gone & self._suspects))
        self._suspects -= gone | there

    def _forget(self, watches: list[int]) -> None:
        for watch in watches:
            if watch in self._arrivals:  # it was found again, and will be adopted at its new place
                continue
            self.table.drop(watch)
            if watch not in self._anchors:
                self._remove(watch)
                self.ended += 1

    def census(self, tops: Collection[str]) -> Mapping[str, int]:
        """How many directories are watched at and below each of these."""
        return self.table.census(tops)

    def give_back(self, number: int, may: Callable[[str], bool]) -> list[Given]:
        """Stop watching the latest directories; the queue is read to its end while their paths are known."""
        given = self.table.latest(number, lambda watch: self._is_free(watch, may))
        places = [(self.table.path(watch), self.table.entry(watch)) for watch in given]
        self._given.update(given)
        for watch in given:
            self._remove(watch)
        self.reader.catch_up()
        self._missed = self.drain()
        self._given.clear()
        self._lately.extend(given)
        for watch in given:
            self.table.drop(watch)
        self._wake()
        return [Given(path, entry[0]) for path, entry in places if path is not None and entry is not None]

    def _is_free(self, watch: int, may: Callable[[str], bool]) -> bool:
        entry = self.table.entry(watch)
        if entry is None or not entry[0] or watch in self._anchors or watch in self._arrivals:
            return False
        path = self.table.path(watch)
        return path is not None and may(path)

    def disarm(self, token: int) -> None:
        """Give back a watch that was armed to see whether it can be had."""
        self._arrivals.adopt(token)
        if not self._known(token):
            self._remove(token)

    def _remove(self, watch: int) -> None:
        self._kernel.remove(watch)

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
        structural = self._whole_renames(folded)
        if structural:
            self._renames = self._directory_renames(structural)
            for event in structural:
                self._structural(event, events)
            self._pair(structural, events)
        for watch, names in folded.dirty.items():
            self._dirty(watch, names, events)
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
        if watch not in self.table:
            if anchor is None or watch in self._arrivals:
                self._arrivals.park([RawEvent(watch, mask, 0, name) for name, mask in names.items()])
            return
        directory = self.table.path(watch)
        if directory is not None:
            hints = {_text(name): HINTS[mask] for name, mask in names.items()}
            events.append(DirtyNames(directory, hints))

    def _anchored(self, anchor: tuple[str, set[str]], names: Mapping[bytes, int], events: list[Event]) -> None:
        directory, wanted = anchor
        for name, mask in names.items():
            text = _text(name)
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
            if watch in self.table:
                self._directory(event, events)
            elif anchor is None or event.watch in self._arrivals:
                self._arrivals.park([event])

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
        if mask & IN_DELETE_SELF:
            self._deleted.add(watch)
        if mask & IN_IGNORED:
            self.ended += entry is not None or anchor is not None
            if watch in self._deleted:
                self._deleted.discard(watch)
            elif entry is not None and entry[0]:
                self._look_again(*entry, events)
            self._arrivals.ended(watch)
            self.table.drop(watch)
            if anchor is not None:
                del self._anchors[watch]
                self._anchor_of.pop(anchor[0], None)

    def _look_again(self, parent: int, name: bytes, events: list[Event]) -> None:
        """A watch ended: whatever stands in its directory's place now needs a new one."""
        if not parent:
            events.append(TopGone(_text(name)))
        elif (above := self.table.path(parent)) is not None:
            events.append(NewDirectory(parent, above, _text(name)))

    def _directory(self, event: RawEvent, events: list[Event]) -> None:
        parent = self.table.path(event.watch)
        if parent is None or not event.name:
            return
        name = _text(event.name)
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
        arrived = {e.cookie for e in moved if e.mask & IN_MOVED_TO and self.table.path(e.watch) is not None}
        left = [(e.cookie, self.table.path(e.watch), e.name) for e in moved if e.mask & IN_MOVED_FROM]
        return {cookie: (at, _text(name)) for cookie, at, name in left if at is not None and cookie in arrived}

    def _pair(self, structural: list[RawEvent], events: list[Event]) -> None:
        for source, target, directory in renames(structural):
            if directory or source is None or target is None:
                continue
            old, new = self.table.path(source[0]), self.table.path(target[0])
            if old is not None and new is not None:
                events.append(Renamed((old, _text(source[1])), (new, _text(target[1]))))

    def statistics(self) -> Mapping[str, Any]:
        """Counters since the start, and how many watches are held."""
        return {
            **self._counts,
            "parked": self._arrivals.parked,
            "watches": self.table.count,
            "anchors": len(self._anchors),
        }


def build(pool: Pool, clock: Clock) -> InotifyBackend:
    """The backend; it needs neither."""
    return InotifyBackend()


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode("utf-8", "surrogateescape")
