"""What a walk is for: what happens to its batches, in the scan thread and on the loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.errors import FilewatchdError
from filewatchd.model import Hint
from filewatchd.watch.backends.base import NewDirectory
from filewatchd.watch.roots import Root, Subscriber
from filewatchd.watch.scan import Entry, Listed, Portion


class FullScan:
    """One full scan of a root, or of those directories of it that had no watch; `inspect` runs in the scan thread."""

    def __init__(self, root: Root, *, appeared: bool = False, part: bool = False) -> None:
        """Raises FilewatchdError: state can't be read or written."""
        self.root = root
        self.appeared = appeared
        self.part = part
        self.doubts = root.doubts  # when it began
        self.armed = 0  # directories so far
        self.subscribers = list(root.subscribers)
        self.error: FilewatchdError | None = None
        self.regions = root.ground.regions
        self.void = False  # something was mounted or unmounted meanwhile: another scan will tell
        lost = root.doubted_ns is not None
        self._comparisons = {
            id(s): s.comparison(appeared=appeared, lost=lost, came_ns=root.came_ns) for s in self.subscribers
        }
        for comparison in self._comparisons.values():
            for alias in root.ground.aliases:
                comparison.skip(alias)
        self.every = any(comparison.every for comparison in self._comparisons.values())

    def take_in(self, batch: Portion) -> None:
        """On the loop, before what failed in it is told."""
        self.armed += len(batch.armed)
        for path in batch.tried:
            self.root.failed.pop(path, None)

    def compared(self, batch: Portion, now: float) -> None:
        """On the loop: hand over how the batch differs, unless something has gone wrong before."""
        try:
            for subscriber, result in batch.compared if not self.void and self.error is None else ():
                subscriber.compared(result, now)
        except FilewatchdError as error:
            self.error = error

    def end(self, now: float) -> None:
        """On the loop: what was compared counts from now on, unless something has gone wrong."""
        try:
            for subscriber in self.subscribers if not self.void and self.error is None else ():
                subscriber.scan_ended(whole=not self.root.failed, now=now)
        except FilewatchdError as error:
            self.error = error

    def inspect(self, batch: Portion, done: bool) -> None:
        """Replace what was listed by how it differs."""
        try:
            self._compare(batch, done)
        except FilewatchdError as error:
            self.error = error
        batch.listed.clear()

    def _compare(self, batch: Portion, done: bool) -> None:
        stretches: dict[int, list[tuple[str, Sequence[Entry]]]] = {}
        for listed in batch.listed:
            stretches.setdefault(id(listed.subscriber), []).append((listed.directory, listed.entries))
        for subscriber in self.subscribers:
            stretch = stretches.get(id(subscriber))
            if stretch is not None:
                batch.compared.append((subscriber, self._comparisons[id(subscriber)].feed(stretch)))
        for failed in batch.failed:
            inside = self.root.relative(failed.path)
            for comparison in self._comparisons.values() if inside is not None else ():
                comparison.skip(inside or "")
        if done:
            batch.compared.extend((s, self._comparisons[id(s)].finish()) for s in self.subscribers)


class Renamed:
    """A renamed directory's walk: what is found under the new name is paired with what was known under the old one."""

    def __init__(self, places: Mapping[int, tuple[str, str]], subscribers: list[tuple[Subscriber, str]]) -> None:
        """``places``: the id of a root to (old, new) path in it. ``subscribers``: they know the old one."""
        self._places = places
        self._subscribers = subscribers

    @property
    def new(self) -> Iterator[tuple[int, str]]:
        """Where it is now: the id of a root, and the path in it."""
        return ((root, new) for root, (_, new) in self._places.items())

    def found(self, listed: Listed, now: float) -> None:
        """Both sides of each file's rename share a deadline and a batch, where the old one was selected, too."""
        old, new = self._places[id(listed.scope)]
        was = old + listed.directory[len(new) :]
        for name, _, _ in listed.entries:
            if not listed.subscriber.selection.selects(was, name):
                continue
            listed.subscriber.mark(f"{was}/{name}", Hint.AGAIN, now)
            listed.subscriber.pair(f"{was}/{name}", f"{listed.directory}/{name}")

    def ended(self, now: float) -> None:
        """The walk is over: whatever else was known under the old name is in doubt."""
        for subscriber, old in self._subscribers:
            subscriber.beneath(old, now)


class Renames:
    """The renamed directories whose walks are under way, by their new names: there may be thousands."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], dict[Renamed, None]] = {}  # the oldest first

    def add(self, renamed: Renamed) -> None:
        """Its walk has begun."""
        for place in renamed.new:
            self._known.setdefault(place, {})[renamed] = None

    def discard(self, renamed: Renamed) -> None:
        """Its walk is over."""
        for place in renamed.new:
            known = self._known[place]
            del known[renamed]
            if not known:
                del self._known[place]

    def of(self, listed: Listed) -> Renamed | None:
        """The one that a listed directory is, or the nearest that it is below."""
        directory = listed.directory if self._known else ""
        while directory:
            if known := self._known.get((id(listed.scope), directory)):
                return next(iter(known))
            directory = directory.rpartition("/")[0]
        return None


Place = tuple[NewDirectory, tuple[tuple[int, str], ...]]  # and ids of roots, with the path in each


class Ticket(NamedTuple):
    """A walk under way: its number, what its batches are for, and the roots it serves.

    ``place``: the new directory that it begins with, if it is one.
    """

    number: int
    purpose: FullScan | Renamed | None
    roots: tuple[Root, ...]
    place: Place | None = None
