"""Where roots and globs are right now: looked for in the pool, and again whenever a name on the way changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from filewatchd.model import RootState
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.cover import Cover
from filewatchd.watch.locate import Place, expand, locate
from filewatchd.watch.roots import Happening, Root
from filewatchd.watch.ways import Ways
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

log = logging.getLogger("filewatchd.watch")


class Glob:
    """A root with wildcards: its members come and go."""

    def __init__(self, pattern: str) -> None:
        """``pattern``: an absolute path with wildcards."""
        self.pattern = pattern
        self.members: list[str] = []
        self.born: set[str] = set()  # members that came while it was watched: all in them is new
        self._expanded = False
        self.evaluating = False
        self.again = False

    def expand(self, members: list[str]) -> bool:
        """Take these for its members; True if they are others than before."""
        changed = members != self.members
        if self._expanded:
            self.born |= set(members) - set(self.members)
        self.members, self._expanded = members, True
        return changed


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
    ) -> None:
        """``found(root, appeared)``: it is somewhere new. ``gone``: it is nowhere. ``changed``: a state moved."""
        self._backend = backend
        self._pool = pool
        self._cover = cover
        self._found = found
        self._gone = gone
        self._changed = changed
        self._members = members
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
        lane = "locate:" + path
        task = self._loop.create_task(
            self._evaluated(target, self._pool.run(lane, work, path, self._backend.arm_anchor))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evaluated(self, target: Root | Glob, work: Any) -> None:
        result = await work
        target.evaluating = False
        self.pulse.beat()
        if self.stopped or (isinstance(target, Root) and self._cover.roots.get(target.key) is not target):
            return
        if isinstance(target, Root):
            self._ways.lead(target, result.hops)
            self._placed(target, result)
        else:
            hops, members = result
            self._ways.lead(target, hops)
            if target.expand(members):
                self._members(target)
            self._changed()
        if target.again:
            self.evaluate(target)

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
        appeared = root.born if old is None else old.real is None and old.device == place.device
        self.move(root, Happening.FOUND, "")
        self._found(root, appeared)

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
