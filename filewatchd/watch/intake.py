"""What a backend tells, taken in on the loop: names become marks for the rules, directories become walks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from filewatchd.clock import Clock
from filewatchd.model import Hint
from filewatchd.watch.backends.base import (
    AnchorMoved,
    Backend,
    DirtyNames,
    Event,
    GoneDirectory,
    Lost,
    NewDirectory,
    Renamed,
    TopGone,
)
from filewatchd.watch.cover import Cover
from filewatchd.watch.links import Link, Links
from filewatchd.watch.placing import Glob, Placing
from filewatchd.watch.roots import Root
from filewatchd.watch.scanning import Scanning
from filewatchd.watch.ways import Ways
from filewatchd.work.pool import Pool

_SWEEP_AFTER = 0.1  # seconds until a moved-out directory is given up: its other half may still come


class Intake:
    """The events of one backend. Used on the loop."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: Clock,
        cover: Cover,
        ways: Ways[object],
        placing: Placing,
        scanning: Scanning,
        links: Links,
        *,
        overflowed: Callable[[], None],
        freed: Callable[[], None],
    ) -> None:
        """``overflowed``: events were lost, or too many directories came.

        ``freed``: watches may have been given back.
        """
        self._backend = backend
        self._pool = pool
        self._clock = clock
        self._cover = cover
        self._ways = ways
        self._placing = placing
        self._scanning = scanning
        self._links = links
        self._overflowed = overflowed
        self._freed = freed
        self._spilled = False  # more directories came than can be walked
        self._sweeping = False
        self._sweeps: set[asyncio.Task[None]] = set()
        self.stopped = False

    def drain(self) -> bool:
        """Take in what the backend has; True if there was more than names."""
        now, moved = self._clock.monotonic(), False
        for event in self._backend.drain():
            if type(event) is DirtyNames:
                self._dirty(event, now)
            else:
                moved = True
                self._structural(event, now)
        if self._spilled:
            self._spilled = False
            self._overflowed()
        self._freed()
        return moved

    def _dirty(self, event: DirtyNames, now: float) -> None:
        for root, directory in self._cover.of(event.directory):
            if root.file is not None:
                hint = event.names.get(root.file)
                if hint is not None:
                    for subscriber in root.subscribers:
                        subscriber.mark("", hint, now)
                continue
            targets = root.route.targets
            prefix = f"{directory}/" if directory else ""
            for name, hint in event.names.items():
                for subscriber in targets(directory, name):
                    subscriber.mark(prefix + name, hint, now)
                    if root.follow:
                        self._links.found(root, prefix + name)

    def _structural(self, event: Event, now: float) -> None:
        if isinstance(event, NewDirectory):
            if not event.fresh:
                for root, child in self._cover.below(event.directory, event.name):
                    root.other(child, Hint.LIVE, now)
            self._spilled = not self._scanning.fresh(event) or self._spilled
        elif isinstance(event, GoneDirectory):
            self._gone(event, now)
        elif isinstance(event, Renamed):
            self._renamed(event)
        elif isinstance(event, AnchorMoved):
            self._anchor_moved(event)
        elif isinstance(event, TopGone):
            self._top_gone(event)
        elif isinstance(event, Lost):
            self._overflowed()

    def _gone(self, event: GoneDirectory, now: float) -> None:
        path = f"{event.directory.rstrip('/')}/{event.name}"
        for root, child in self._cover.below(event.directory, event.name):
            for failed in [known for known in root.failed if known == path or known.startswith(path + "/")]:
                del root.failed[failed]
            self._scanning.mended([root])
            if not event.renamed:
                root.doubt(child, now)
        if event.moved and not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(_SWEEP_AFTER, self._sweep)

    def _anchor_moved(self, event: AnchorMoved) -> None:
        for target in self._ways.through(event.directory, event.name):
            if isinstance(target, Link):
                self._links.moved(target)
            elif isinstance(target, Root | Glob) and (event.moved or _waits(target)):
                self._placing.evaluate(target)
            elif isinstance(target, Root) and target.file is None:
                target.other("", Hint.LIVE, self._clock.monotonic())

    def _top_gone(self, event: TopGone) -> None:
        for root in self._cover:
            if root.top is None or root.again_scan:
                continue
            if f"{root.top}/".startswith(f"{event.path}/") or root.relative(event.path) is not None:
                root.again_scan = True
                self._placing.evaluate(root)

    def _sweep(self) -> None:
        self._sweeping = False
        suspects = {} if self.stopped else dict(self._backend.suspects())
        if suspects:
            task = asyncio.get_running_loop().create_task(self._swept(suspects))
            self._sweeps.add(task)
            task.add_done_callback(self._sweeps.discard)

    async def _swept(self, suspects: dict[int, str]) -> None:
        there = await self._pool.run("sweep", self._those_there, suspects)
        if not self.stopped:
            self._backend.cleared(suspects.keys() - there, there)
            self._freed()

    def _those_there(self, suspects: dict[int, str]) -> set[int]:
        return {token for token, path in suspects.items() if self._backend.still_there(token, path)}

    def _renamed(self, event: Renamed) -> None:
        news = {id(root): directory for root, directory in self._cover.of(event.new[0])}
        for root, directory in self._cover.of(event.old[0]):
            if root.file is not None or id(root) not in news:
                continue
            old = f"{directory}/{event.old[1]}" if directory else event.old[1]
            inside = news[id(root)]
            new = f"{inside}/{event.new[1]}" if inside else event.new[1]
            for subscriber in root.subscribers:
                subscriber.pair(old, new)


def _waits(target: Root | Glob) -> bool:
    """Whether new rights on its way may be what lets it be found."""
    return isinstance(target, Root) and target.top is None
