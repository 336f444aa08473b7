"""Where roots and globs are right now: looked for in the pool, and again whenever a name on the way changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from filewatchd.model import RootState
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.cover import Cover
from filewatchd.watch.locate import Members, Place, expand, locate
from filewatchd.watch.roots import Happening, Root
from filewatchd.watch.ways import Arming, Ways
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

log = logging.getLogger("filewatchd.watch")


class Glob:
    """A root with wildcards: its members come and go."""

    def __init__(self, pattern: str) -> None:
        """``pattern``: an absolute path with wildcards."""
        self.pattern = pattern
        self.members: list[str] = []
        self.gained: frozenset[str] = frozenset()  # those that have just come, while it is told
        self.device = 0  # of the directory above the first wildcard
        self.known = False  # it has been looked for once
        self.evaluating = False
        self.again = False


class Placing:
    """Finds roots, and keeps an eye on every name their paths run through."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        cover: Cover,
        ways: Ways[object],
        *,
        found: Callable[[Root, bool], None],
        gone: Callable[[Root], None],
        changed: Callable[[], None],
        members: Callable[[Glob], None],
        led: Callable[[Root | Glob, bool], None],
    ) -> None:
        """``found(root, appeared)``: it is somewhere new. ``gone``: it is nowhere. ``changed``: a state moved.

        ``led(target, limited)``: its way is known; ``limited``: not all of it is watched, no watch was left.
        """
        self._backend = backend
        self._pool = pool
        self._cover = cover
        self._found = found
        self._gone = gone
        self._changed = changed
        self._members = members
        self._led = led
        self._ways = ways
        self._tasks: set[asyncio.Task[None]] = set()
        self.pulse = Pulse()  # beats when something has been looked for, or a root's state moved
        self.stopped = False

    def start(self) -> None:
        """Begin on the running loop."""
        self._loop = asyncio.get_running_loop()

    def forget(self, target: Root | Glob) -> None:
        """It is no longer wanted."""
        self._ways.forget(target)

    def evaluate(self, target: Root | Glob) -> None:
        """Find out where a root's path, or a glob, leads now."""
        if target.evaluating:
            target.again = True
            return
        target.evaluating = True
        target.again = False
        path = target.path if isinstance(target, Root) else target.pattern
        work = locate if isinstance(target, Root) else expand
        lane, arming = "locate:" + path, Arming(self._backend)
        task = self._loop.create_task(self._evaluated(target, arming, self._pool.run(lane, work, path, arming)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evaluated(self, target: Root | Glob, arming: Arming, work: Any) -> None:
        result = await work
        target.evaluating = False
        self.pulse.beat()
        if self.stopped or (isinstance(target, Root) and self._cover.roots.get(target.key) is not target):
            return
        if isinstance(target, Root):
            self._ways.lead(target, result.hops)
            self._placed(target, result)
        else:
            self._expanded(target, result)
        self._led(target, arming.limited)
        if target.again:
            self.evaluate(target)
        else:
            self._changed()  # it is looked for no more, even if nothing moved

    def _expanded(self, glob: Glob, found: Members) -> None:
        self._ways.lead(glob, found.hops)
        if found.paths != glob.members:
            glob.gained = frozenset(found.paths).difference(glob.members) if glob.known else frozenset()
            glob.members, glob.device = found.paths, found.device
            self._members(glob)
            glob.gained = frozenset()
        glob.known = True

    def _placed(self, root: Root, place: Place) -> None:
        old, root.place = root.place, place
        if place.real is None:
            self._lost(root, place.why)
            return
        unchanged = (
            old is not None
            and (old.real, old.is_directory, old.inode, old.device)
            == (place.real, place.is_directory, place.inode, place.device)
            and root.state in (RootState.LIVE, RootState.DEGRADED, RootState.SCANNING)
            and root.scanned_once
        )
        if unchanged and not root.again_scan:
            return
        root.again_scan = False
        if place.is_directory:
            root.top, root.file = place.real, None
        else:
            head, _, name = place.real.rpartition("/")
            root.top, root.file = head or "/", name
        self._cover.changed()
        root.settle(place.device)
        if old is None or old.real is None:
            root.appeared = place.device == (old.device if old is not None else root.made_on)
        elif not root.scans:
            root.appeared = False  # otherwise the scan of what appeared is still under way, and this repeats it
        self.move(root, Happening.FOUND, "")
        self._found(root, root.appeared)

    def _lost(self, root: Root, why: str) -> None:
        had = root.top is not None
        root.top = root.file = None
        root.failed.clear()
        self._cover.changed()
        self.move(root, Happening.LOST, why)
        if had:
            self._gone(root)

    def move(self, root: Root, happening: Happening, why: str) -> None:
        """Take a root to its next state, and tell."""
        old = root.state
        if root.move(happening, why):
            level = logging.WARNING if root.state in (RootState.DEGRADED, RootState.STALLED) else logging.DEBUG
            log.log(level, "root %s: %s -> %s%s", root.path, old.value, root.state.value, f" ({why})" if why else "")
        self._changed()
        self.pulse.beat()
