"""Scans from the loop's side: started here, walked in the pool, and their batches taken in here.

- a *fresh* scan of a directory that appeared: everything in it is dirty;
- a *full* scan of a root (start, overflow, root found again): compared with what the rules last handled.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping

from filewatchd.clock import Clock
from filewatchd.errors import FilewatchdError
from filewatchd.model import Hint, RootState
from filewatchd.watch.backends.base import Backend, NewDirectory
from filewatchd.watch.cover import Cover
from filewatchd.watch.mending import Directories, Mending
from filewatchd.watch.placing import Placing
from filewatchd.watch.purposes import FullScan, Place, Renamed, Renames, Ticket
from filewatchd.watch.roots import Happening, Missing, Root, RootKey
from filewatchd.watch.scan import Failed, Portion, Walk
from filewatchd.watch.scanner import Inspect, Scanner
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

log = logging.getLogger("filewatchd.watch")

NONE_LEFT = "no inotify watch is left: raise the sysctl fs.inotify.max_user_watches"
_MOST_WALKS = 20_000  # under way at once, some kilobytes each; what comes then is found by comparing
_COMPARE_AGAIN = 5.0  # seconds after a comparison failed because state couldn't be read


class Scanning:
    """All scans of one backend's roots."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: Clock,
        cover: Cover,
        placing: Placing,
        *,
        link_found: Callable[[Root, str], None],
        short: Callable[[Root, bool], None],
        poke: Callable[[], None],
    ) -> None:
        """``link_found``: a root that follows symlinks may hold one here. ``poke``: marks were made.

        ``short(root, scanned)``: a walk of it has met the limit of watches; ``scanned``: it was a full scan.
        """
        self._backend = backend
        self._pool = pool
        self._clock = clock
        self._cover = cover
        self._placing = placing
        self._link_found = link_found
        self._short = short
        self._poke = poke
        self._scanners: dict[str, Scanner] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.room = threading.Event()  # cleared by the owner while too much is dirty: long scans wait
        self.room.set()
        self.counts = {"scanned_directories": 0}
        self.begun = 0  # walks, so far
        self._under_way: dict[int, Ticket] = {}
        self._renames = Renames()
        self._fresh: dict[Place, tuple[int, Walk]] = {}  # the newest walk of each new directory
        self._uncompared: dict[RootKey, str] = {}  # why not
        self._again: dict[RootKey, bool] = {}  # to be scanned again soon, as if it had appeared or not
        self.pulse = Pulse()  # beats when a walk is over
        self.stopped = False

    def start(self) -> None:
        """Begin on the running loop."""
        self._loop = asyncio.get_running_loop()

    async def quiet(self) -> None:
        """Return when the walks that have begun by now are over. Stalled roots aren't waited for."""
        last = self.begun
        await self.pulse.until(
            lambda: not any(number <= last and _answers(ticket) for number, ticket in self._under_way.items())
        )

    def rescan(self, root: Root) -> None:
        """Compare a root with the disk once more."""
        if root.top is not None and not self.stopped and self._cover.roots.get(root.key) is root:
            self._placing.move(root, Happening.DOUBT, "events were lost")
            self.scan(root, appeared=False)

    def scan(self, root: Root, *, appeared: bool) -> None:
        """Compare a root with what its subscribers know. ``appeared``: it was made while we looked."""
        assert root.top is not None
        try:
            full = FullScan(root, appeared=appeared)
        except FilewatchdError as error:
            self._compare_again(root, error, appeared=appeared)
            return
        root.scans += 1
        root.failed.clear()
        walk = Walk(self._backend, root.top, [(root, "")], every=full.every)
        self._walk(device_of(root), full, [root], walk, inspect=full.inspect)

    async def mend(self, root: Root, directories: Directories) -> bool:
        """Watch these directories that had no watch, as far as there are watches, and compare them with what is known.

        Returns once that is over, or its filesystem doesn't answer: True if something is watched now.
        """
        try:
            part = FullScan(root, part=True)
        except FilewatchdError as error:
            self._compare_again(root, error, appeared=False)
            return False
        root.scans += 1
        walk = Mending(self._backend, root, directories, every=part.every)
        ticket = self._walk(device_of(root), part, [root], walk, inspect=part.inspect)
        await self.pulse.until(lambda: ticket.number not in self._under_way or not _answers(ticket))
        if walk.misled and not root.scans:
            self.scan(root, appeared=False)
        return part.armed > 0

    def fresh(self, event: NewDirectory) -> bool:
        """A directory came: arm it, and list it with all below it. False: there are too many, it isn't done."""
        path = f"{event.directory.rstrip('/')}/{event.name}"
        scopes = [
            (root, child)
            for root, child in self._cover.below(event.directory, event.name)
            if root.descends(child) and (event.fresh or path in root.failed) and not self._placing.mounted(root, child)
        ]
        if not scopes:
            if event.source is not None:
                self._renamed(event.source, {}).ended(self._clock.monotonic())
            return True
        for root, child in scopes:
            if root.failed.pop(path, None) is not None:
                root.doubt(child, self._clock.monotonic())
        place = event, tuple((id(root), child) for root, child in scopes)
        if place in self._fresh and not self._fresh[place][1].begun:
            return True  # it will see what is there then
        if len(self._under_way) >= _MOST_WALKS:
            return False
        renamed = self._renamed(event.source, dict(scopes)) if event.source is not None else None
        walk = Walk(self._backend, path, scopes, event.parent)
        ticket = self._walk(device_of(scopes[0][0]), renamed, [root for root, _ in scopes], walk, place=place)
        self._fresh[place] = ticket.number, walk
        return True

    def _renamed(self, source: tuple[str, str], scopes: Mapping[Root, str]) -> Renamed:
        old = self._cover.below(*source)
        places = {id(root): (was, scopes[root]) for root, was in old if root in scopes}
        return Renamed(places, [(subscriber, was) for root, was in old for subscriber in root.subscribers])

    def _walk(
        self,
        device: int,
        purpose: FullScan | Renamed | None,
        roots: Iterable[Root],
        walk: Walk,
        inspect: Inspect | None = None,
        place: Place | None = None,
    ) -> Ticket:
        """Begin a walk; those without ``inspect`` go first."""
        self.begun += 1
        ticket = self._under_way[self.begun] = Ticket(self.begun, purpose, tuple(roots), place)
        if isinstance(purpose, Renamed):
            self._renames.add(purpose)
        lane = f"scan:{device}"
        scanner = self._scanners.get(lane)
        if scanner is None:
            scanner = self._scanners[lane] = Scanner(self._deliver, self.room)
        scanner.add(ticket, walk, urgent=inspect is None, inspect=inspect)
        if not scanner.running:
            scanner.running = True
            task = self._loop.create_task(self._run_scanner(lane, scanner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return ticket

    async def _run_scanner(self, lane: str, scanner: Scanner) -> None:
        try:
            while scanner.pending:
                await self._pool.run(lane, scanner.work)
        finally:
            scanner.running = False

    def _deliver(self, ticket: Ticket, batch: Portion, done: bool) -> None:
        """Called in a scan thread."""
        self._loop.call_soon_threadsafe(self._delivered, ticket, batch, done)

    def _delivered(self, ticket: Ticket, batch: Portion, done: bool) -> None:
        if self.stopped:
            return
        now = self._clock.monotonic()
        full = ticket.purpose if isinstance(ticket.purpose, FullScan) else None
        self._backend.adopt(batch.armed)
        self.counts["scanned_directories"] += len(batch.armed)
        for listed in batch.listed:
            listed.subscriber.found(listed.directory, listed.entries, now)
            # A walk may come first through what another renamed directory's walk is still to list.
            if (renamed := self._renames.of(listed)) is not None:
                renamed.found(listed, now)
        for scope, path in batch.links:
            self._link_found(scope, path)
        if full is not None:
            self._compared(full, batch, now)
            full.take_in(batch)
        for failed in batch.failed:
            self._failed(full, failed)
        if done:
            self._ended(ticket, now)
        self._poke()
        if done:
            self._over(ticket)

    def _compared(self, full: FullScan, batch: Portion, now: float) -> None:
        self._check_ground(full)
        full.compared(batch, now)

    def _check_ground(self, full: FullScan) -> None:
        """What is mounted must be what was when the scan began, or files are taken to be on another filesystem."""
        root = full.root
        if not self._placing.stands(root):
            root.again_scan = full.void = True
            self._placing.evaluate(root)
        elif root.ground.regions != full.regions:  # and so a scan has begun
            full.void = True

    def _over(self, ticket: Ticket) -> None:
        for root in ticket.roots:
            if root.state is RootState.DEGRADED:  # what wasn't watched may be now
                self.judge(root)
        del self._under_way[ticket.number]
        if isinstance(ticket.purpose, Renamed):
            self._renames.discard(ticket.purpose)
        if ticket.place is not None and self._fresh.get(ticket.place, (0,))[0] == ticket.number:
            del self._fresh[ticket.place]
        self.pulse.beat()

    def _ended(self, ticket: Ticket, now: float) -> None:
        if isinstance(ticket.purpose, FullScan):
            self._scanned(ticket.purpose, now)
            return
        if ticket.purpose is not None:
            ticket.purpose.ended(now)
        if ticket.place is not None and ticket.place[0].fresh:
            for root, (_, child) in zip(ticket.roots, ticket.place[1], strict=True):
                root.other(child, Hint.SCAN, now)
        self.mended(ticket.roots)

    def _failed(self, full: FullScan | None, failed: Failed) -> None:
        path, error, parent = failed
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            if full is not None and path == full.root.top:
                full.root.again_scan = True  # the next one at its path may look the same
                self._placing.evaluate(full.root)
            return
        limited = error.errno == errno.ENOSPC
        missing = Missing(NONE_LEFT if limited else error.strerror or str(error), parent, limited)
        for root, _ in self._cover.of(path):
            if os.path.dirname(path) in root.failed:
                continue  # given back meanwhile
            root.failed[path] = missing
            if limited:
                self._short(root, False)
            if full is None or root is not full.root:
                self._judge(root)

    def _scanned(self, full: FullScan, now: float) -> None:
        root = full.root
        root.scans -= 1
        if root.limited and not full.part:
            self._short(root, True)
        if not full.part:
            full.end(now)
        if full.error is not None:
            self._compare_again(root, full.error, appeared=full.appeared)
        elif not full.part:
            root.compared(full.doubts)
            root.scanned_once = True
            self._uncompared.pop(root.key, None)
        self.judge(root)

    def _compare_again(self, root: Root, error: FilewatchdError, *, appeared: bool) -> None:
        """State can't be read or written just now. Said once, and tried until it can."""
        if self._uncompared.get(root.key) != str(error):
            self._uncompared[root.key] = str(error)
            log.error("root %s is compared again later: %s", root.path, error)
        if root.key not in self._again:
            self._loop.call_later(_COMPARE_AGAIN, self._try_again, root)
        self._again[root.key] = appeared or self._again.get(root.key, False)

    def _try_again(self, root: Root) -> None:
        appeared = self._again.pop(root.key)
        if root.top is not None and not self.stopped and self._cover.roots.get(root.key) is root:
            self.scan(root, appeared=appeared)

    def mended(self, roots: Iterable[Root]) -> None:
        """A directory was watched at last, or is gone: that may have been all that was missing."""
        for root in roots:
            if root.state is RootState.DEGRADED:
                self.judge(root)

    def judge(self, root: Root) -> None:
        """All of it may be watched now."""
        if root.scans == 0 and root.top is not None and root.scanned_once and root.key not in self._again:
            self._judge(root)

    def _judge(self, root: Root) -> None:
        missing = {path: failed.why for path, failed in root.failed.items()} | root.blind
        if missing:
            path, why = next(iter(missing.items()))
            count = len(missing)
            names = f"{count} directories are not watched, first {path}" if count > 1 else f"{path} is not watched"
            self._placing.move(root, Happening.GAPS, f"{names}: {why}")
        elif root.unled:
            ways = sorted(f"{root.path}/{link}" if link else root.path for link in root.unled)
            self._placing.move(
                root, Happening.GAPS, f"not all directories on the way to {ways[0]} are watched: {NONE_LEFT}"
            )
        elif root.scans == 0 and not root.links_sought and not root.again_scan:
            unmounted = root.unmounted
            self._placing.move(root, Happening.AWAY if unmounted and root.empty else Happening.COVERED, unmounted)


def device_of(root: Root) -> int:
    """The filesystem a root is on, whose walks go one after the other; 0 if it isn't found."""
    return root.place.device if root.place is not None else 0


def _answers(ticket: Ticket) -> bool:
    return not ticket.roots or any(root.state is not RootState.STALLED for root in ticket.roots)
