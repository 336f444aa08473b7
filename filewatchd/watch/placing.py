"""Where roots and globs are right now: looked for in the pool, and again whenever a name on the way changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from filewatchd.clock import Clock
from filewatchd.model import RootState
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.cover import Cover
from filewatchd.watch.filesystems import Ground, survey
from filewatchd.watch.locate import Members, Place, expand, locate
from filewatchd.watch.mounts import MountTable, MountView
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
        self.hangs = False  # a filesystem on its way doesn't answer
        self.evaluating = False
        self.again = False


class Placing:
    """Finds roots, and keeps an eye on every name their paths run through."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: Clock,
        cover: Cover,
        ways: Ways[object],
        mounts: MountView,
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
        self._clock = clock
        self._cover = cover
        self._found = found
        self._gone = gone
        self._changed = changed
        self._members = members
        self._led = led
        self._ways = ways
        self._mounts = mounts
        self._tasks: set[asyncio.Task[None]] = set()
        self.pulse = Pulse()  # beats when something has been looked for, or a root's state moved
        self.begun = 0  # looks for a root or a glob, so far
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
        self.begun += 1
        arming = Arming(self._backend)
        if isinstance(target, Root):
            table = self._mounts.table
            work: Any = self._pool.run("locate:" + target.path, _find, target.path, arming, table, self._backend.name)
        else:
            work = self._pool.run("locate:" + target.pattern, expand, target.pattern, arming)
        task = self._loop.create_task(self._evaluated(target, arming, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evaluated(self, target: Root | Glob, arming: Arming, work: Any) -> None:
        result = await work
        target.evaluating = False
        self.pulse.beat()
        if self.stopped or (isinstance(target, Root) and self._cover.roots.get(target.key) is not target):
            return
        if isinstance(target, Root):
            place, ground = result
            self._ways.lead(target, place.hops)
            self._placed(target, place, ground)
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

    def _placed(self, root: Root, place: Place, ground: Ground) -> None:
        old, root.place = root.place, place
        moved = root.ground.regions != ground.regions
        if place.real is None:
            root.settle(ground)
            self._lost(root, place.why)
            return
        unchanged = (
            old is not None
            and (old.real, old.is_directory, old.inode, old.device)
            == (place.real, place.is_directory, place.inode, place.device)
            and not moved
            and root.top is not None
            and root.state is not RootState.STALLED
            and root.scanned_once
        )
        if unchanged and not root.again_scan:
            root.settle(ground)
            return
        root.again_scan = False
        if place.is_directory:
            root.top, root.file = place.real, None
        else:
            head, _, name = place.real.rpartition("/")
            root.top, root.file = head or "/", name
        self._cover.changed()
        root.settle(ground)
        if old is None or old.real is None:
            made = place.device == (old.device if old is not None else root.made_on)
            root.appeared = made and not ground.begins_at(place.real)
            root.came_ns = 0 if old is None else self._clock.wall_ns()
        elif not root.scans:
            root.appeared = False  # otherwise the scan of what appeared is still under way, and this repeats it
        self.move(root, Happening.FOUND, "")
        self._found(root, root.appeared)

    def mounted(self, root: Root, inside: str) -> bool:
        """Whether a directory may have come by a mount or unmount: then all is compared, and nothing is new."""
        if inside not in root.mounted_at and self.stands(root):
            return False
        root.again_scan = True
        self.evaluate(root)
        return True

    def stands(self, root: Root) -> bool:
        """Whether what a root is known to stand on is what is mounted there now."""
        generation = self._mounts.now()
        if root.stood != generation and root.place is not None:
            if self._mounts.table.under(root.place.at) != root.ground.mounts:
                return False
            root.stood = generation
        return root.place is not None

    def _lost(self, root: Root, why: str) -> None:
        had = root.top is not None
        root.top = root.file = None
        root.failed.clear()
        root.compared(root.doubts)  # all that is known of it is looked at
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


def _find(path: str, arm: Callable[[int], int], table: MountTable, backend: str) -> tuple[Place, Ground]:
    """Where a path leads, and what is mounted there. Blocking: runs in the pool."""
    place = locate(path, arm)
    return place, survey(place.at, table, backend)
