"""The watches of an inotify descriptor: which directories have one, how they come and go, and how they are given back.

`arm`, `proves`, `arm_anchor` and `still_there` run in scan threads, everything else on the loop. What the kernel says
of a watch that ended is taken in by `inotify`.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Mapping

from filewatchd.watch.backends.base import (
    AnchorMoved,
    Armed,
    Event,
    Given,
    Keeper,
    NewDirectory,
    TopGone,
    WatchLimitError,
)
from filewatchd.watch.backends.inotify_arrivals import Arrivals
from filewatchd.watch.backends.inotify_queue import Descriptor, Reader
from filewatchd.watch.backends.inotify_retained import watches_of
from filewatchd.watch.dirty import ANCHOR_MASK, QUIET_MASK, TREE_MASK
from filewatchd.watch.table import WatchTable

_IN_ONLYDIR = 0x01000000
_IN_EXCL_UNLINK = 0x04000000
_IN_MASK_ADD = 0x20000000
_LATELY = 4096  # watches given back that are remembered until whoever is arming one has anchored it
_TREE = TREE_MASK | _IN_ONLYDIR | _IN_EXCL_UNLINK
_QUIET = QUIET_MASK | _IN_ONLYDIR | _IN_EXCL_UNLINK | _IN_MASK_ADD  # takes nothing from a watch that is there
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Watches(ABC):
    """The watches of one descriptor."""

    name: str

    def __init__(self, descriptor: Descriptor, keeper: Keeper) -> None:
        self._kernel = descriptor
        self._retained = watches_of(descriptor.fd) if descriptor.retained else set()  # nobody has adopted them since
        self.gone_names = 0
        keeper.keep(self.name, descriptor.fd)
        self.table = WatchTable()
        self._anchors: dict[int, tuple[str, set[str]]] = {}
        self._anchor_of: dict[str, int] = {}
        self._arrivals = Arrivals()
        self._missed: list[Event] = []  # names that may have changed before they were listened for
        self._moved_out: set[tuple[int, bytes]] = set()
        self._suspects: set[int] = set()
        self._given: set[int] = set()  # given back just now; IGNORED follows
        self._lately: deque[int] = deque(maxlen=_LATELY)  # given back
        self.ended = 0
        self._wake: Callable[[], None] = lambda: None
        self.reader = Reader(descriptor.fd)

    @abstractmethod
    def drain(self) -> list[Event]:
        """Everything read since the last call."""

    def arm(self, fd: int) -> int:
        """Watch an open directory with all that is in it; returns its watch number."""
        return self._arrivals.arm(lambda: self._add(fd, _TREE))

    def arm_quietly(self, fd: int) -> int:
        """The same, but that nothing is told of writes, unless somebody else wants it."""
        return self._arrivals.arm(lambda: self._add(fd, _QUIET))

    def proves(self, fd: int, token: int) -> bool:
        """The kernel gives a directory that is watched the same number again, and that even if no other is left."""
        try:
            watch = self._add(fd, _QUIET)
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
            again = self._arrivals.unpark(watch, inherited=watch in self._retained) or again
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

    def give_up(self) -> int:
        """Give back the watches of an earlier process that nobody has asked for since; returns how many."""
        strangers = [watch for watch in self._retained if not self._known(watch)]
        self._retained.clear()
        for watch in strangers:
            self._remove(watch)
        self.ended += len(strangers)
        return len(strangers)

    def disarm(self, token: int) -> None:
        """Give back a watch that was armed to see whether it can be had."""
        self._arrivals.adopt(token)
        if not self._known(token):
            self._remove(token)

    def _remove(self, watch: int) -> None:
        self._kernel.remove(watch)

    def _look_again(self, parent: int, name: bytes, events: list[Event]) -> None:
        """A watch ended: whatever stands in its directory's place now needs a new one."""
        if not parent:
            events.append(TopGone(text_of(name)))
        elif (above := self.table.path(parent)) is not None:
            events.append(NewDirectory(parent, above, text_of(name)))


def text_of(name: bytes) -> str:
    """A name as the kernel tells it, without its padding."""
    return name.rstrip(b"\0").decode("utf-8", "surrogateescape")
