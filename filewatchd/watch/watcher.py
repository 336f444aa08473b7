"""The loop's side of watching: backend events in, marks to the rules out.

Nothing here touches the disk. Looking for a root's place (`placing`) and walking its tree (`scanning`) happen in
the pool, and come back as values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filewatchd.clock import Clock
from filewatchd.model import FileIdentity, RootState
from filewatchd.watch.backends.base import Backend, Comparing, Retaining
from filewatchd.watch.budget import Budget, Later, on_loop
from filewatchd.watch.cover import Cover
from filewatchd.watch.intake import Intake
from filewatchd.watch.links import Link, Links
from filewatchd.watch.locate import is_glob
from filewatchd.watch.mounts import MountView
from filewatchd.watch.overflow import Overflow
from filewatchd.watch.placing import Glob, Placing
from filewatchd.watch.roots import Happening, Root, RootKey, Subscriber
from filewatchd.watch.scanning import NONE_LEFT, Scanning
from filewatchd.watch.ways import Ways
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.watch")

_LEAST_ROUNDS, _MOST_ROUNDS = 2, 30  # of a flush


class Watcher:
    """All roots on one backend."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: Clock,
        *,
        changed: Callable[[], None] = lambda: None,
        members: Callable[[Glob], None] = lambda _glob: None,
        poke: Callable[[], None] = lambda: None,
        later: Later = on_loop,
        mounts: MountView | None = None,
    ) -> None:
        """``changed``: some root's state moved. ``members``: a glob's members changed. ``poke``: marks were made.

        ``later``: see `Budget`. ``mounts``: whoever gives it calls `evaluate_all` when they change.
        """
        self._backend = backend
        self._pool = pool
        self._clock = clock
        self._poke = poke
        self._changed = changed
        self._cover = Cover()
        self.globs: dict[str, Glob] = {}
        self._ways: Ways[object] = Ways(backend)
        self._placing = Placing(
            backend, pool, clock, self._cover, self._ways, mounts or MountView(),
            found=self._found, gone=self._lost, changed=changed, members=members, led=self._led,
        )  # fmt: skip
        self.stands = self._placing.stands
        self._scanning = Scanning(
            backend, pool, clock, self._cover, self._placing,
            link_found=self._link_found, short=self._is_short, poke=poke,
        )  # fmt: skip
        self._budget = Budget(backend, pool, clock, self._cover, self._scanning, lead=self._lead, later=later)
        self._links = Links(backend, pool, self._ways, mark=self._mark, placed=self._scanning.judge, led=self._led)
        self._overflow = Overflow(backend.name, clock, self._cover, rescan=self._rescan_all, changed=changed)
        self._intake = Intake(
            backend, pool, clock, self._cover, self._ways, self._placing, self._scanning, self._links,
            overflowed=self._overflow.lost, freed=self._budget.look,
        )  # fmt: skip
        self._free = True  # events may be taken in
        self.stopped = False
        self.room = self._scanning.room

    # ---- life

    def start(self) -> None:
        """Begin on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._placing.start()
        self._scanning.start()
        self._backend.start(self._wake)

    def _wake(self) -> None:
        """Called from the backend's threads."""
        self._loop.call_soon_threadsafe(self._drain)

    def stop(self) -> None:
        """Give all watches back; no call reaches a subscriber afterwards."""
        self.stopped = self._intake.stopped = True
        self._placing.stopped = self._scanning.stopped = self._links.stopped = True
        self._budget.stop()
        self._backend.stop()

    @property
    def roots(self) -> Mapping[RootKey, Root]:
        """What is watched."""
        return self._cover.roots

    def set_roots(self, wanted: Mapping[RootKey, list[Subscriber]]) -> None:
        """Watch exactly these roots for these subscribers. Unchanged ones keep going."""
        roots = self._cover.roots
        for key in [key for key in roots if key not in wanted]:
            root = roots.pop(key)
            root.subscribe([])
            self._placing.forget(root)
        for key, subscribers in wanted.items():
            root = roots.get(key) or self._new_root(key)
            if root.subscribers and set(map(id, root.subscribers)) == set(map(id, subscribers)):
                continue
            root.subscribe(subscribers)
            root.again_scan = True
            self._placing.evaluate(root)
        self._links.keep(frozenset(roots.values()))
        self._release()

    def _new_root(self, key: RootKey) -> Root:
        root = self._cover.roots[key] = Root(key)
        root.made_on = next((glob.device for glob in self.globs.values() if key.path in glob.gained), None)
        return root

    def set_globs(self, patterns: Iterable[str]) -> None:
        """Follow exactly these patterns' members."""
        wanted = {pattern for pattern in patterns if is_glob(pattern)}
        for pattern in [p for p in self.globs if p not in wanted]:
            self._placing.forget(self.globs.pop(pattern))
        for pattern in wanted - self.globs.keys():
            glob = self.globs[pattern] = Glob(pattern)
            self._placing.evaluate(glob)

    def evaluate_all(self) -> None:
        """Look for every root and glob again."""
        for target in (*self._cover, *self.globs.values()):
            self._placing.evaluate(target)

    def _found(self, root: Root, appeared: bool) -> None:
        self._scanning.scan(root, appeared=appeared)

    def _lost(self, root: Root) -> None:
        now = self._clock.monotonic()
        root.doubt("", now)
        self._release()
        self._poke()

    def _led(self, target: Root | Glob | Link, limited: bool) -> None:
        """A way is known; ``limited``: for a directory on it no watch was left."""
        self._budget.led(target, limited)
        if isinstance(target, Glob):
            return
        root, way = (target.root, target.path) if isinstance(target, Link) else (target, "")
        if limited and root.state is RootState.WAITING:
            root.why = f"{root.why}; not all directories on the way are watched: {NONE_LEFT}"
        if limited != (way in root.unled):
            (root.unled.add if limited else root.unled.discard)(way)
            self._scanning.judge(root)

    def _lead(self, target: object) -> bool:
        """Look for a way anew; False if it isn't wanted any more."""
        wanted = target in self.globs.values() or getattr(target, "root", target) in self._cover.roots.values()
        if wanted and isinstance(target, Link):
            self._links.seek_again(target)
        elif wanted and isinstance(target, Root | Glob):
            self._placing.evaluate(target)
        return wanted

    def _is_short(self, root: Root, scanned: bool) -> None:
        self._budget.short(root, scanned)

    def _release(self) -> None:
        self._cover.changed()
        self._backend.release(lambda directory: not self._cover.of(directory))
        self._budget.look()

    # ---- asked by others

    async def flush(self) -> None:
        """Take in all that happened before the call, with the scans it starts. Stalled roots aren't waited for.

        What is under way comes first, because a backend that polls looks only at what it has adopted. Then once more
        after each round in which a directory moved or a walk began: events that were parked until it was adopted may
        begin the next one. Others may go on making directories, so that has an end.
        """
        await self._quiet()
        await self._backend.barrier()
        for number in range(_MOST_ROUNDS):
            begun = self._scanning.begun, self._placing.begun
            moved = self._drain()
            await self._quiet()
            if number >= _LEAST_ROUNDS and not moved and begun == (self._scanning.begun, self._placing.begun):
                break

    async def _quiet(self) -> None:
        await self._placing.pulse.until(lambda: self._free and not self._overflow.due and not self._looked_for())
        await self._links.quiet()
        await self._scanning.quiet()
        await self._budget.quiet()

    def _looked_for(self) -> bool:
        return any(root.evaluating and root.state is not RootState.STALLED for root in self._cover) or any(
            glob.evaluating and not glob.hangs for glob in self.globs.values()
        )

    def looked(self, path: str, identity: FileIdentity | None) -> None:
        """See `Comparing`."""
        if isinstance(self._backend, Comparing):
            self._backend.looked(path, identity)

    def give_up_retained(self) -> None:
        """Give back what an earlier process watched and nobody asks for any more."""
        if isinstance(self._backend, Retaining) and (given := self._backend.give_up()):
            log.info("%d watches of an earlier life are no rule's any more and given back", given)
            self._budget.look()

    @property
    def gone_names(self) -> int:
        """See `Retaining`."""
        return self._backend.gone_names if isinstance(self._backend, Retaining) else 0

    def rescan(self, path: str) -> None:
        """Compare a root with the disk once more."""
        for root in self._cover:
            if root.path == path:
                self._scanning.rescan(root)

    def hangs(self, wanted: Callable[[Root], bool], does: bool) -> None:
        """The filesystem of these roots doesn't answer, or does again: then they are compared with it."""
        for root in filter(wanted, self._cover):
            if does:
                self._placing.move(root, Happening.HANGS, "its filesystem doesn't answer")
            elif root.state is RootState.STALLED:
                root.again_scan = True
                self._placing.evaluate(root)
        self._scanning.pulse.beat()  # stalled roots aren't waited for

    def glob_hangs(self, pattern: str, does: bool) -> None:
        """A filesystem on the way to a glob's members doesn't answer, or does again."""
        glob = self.globs.get(pattern)
        if glob is not None:
            glob.hangs = does
            log.warning("%s: %s", pattern, "a filesystem doesn't answer" if does else "its filesystem answers again")
            self._placing.pulse.beat()  # it isn't waited for
            self._changed()

    # ---- events

    def take_in(self, free: bool) -> None:
        """Whether events may be taken in. What isn't stays with the backend; what it can't hold is an overflow."""
        if free and not self._free:
            self._loop.call_soon(self._drain)
            self._loop.call_soon(self._placing.pulse.beat)
        self._free = free

    def _drain(self) -> bool:
        """Take in what the backend has; True if there was more than names."""
        if self.stopped or not self._free:
            return False
        moved = self._intake.drain()
        self._poke()
        return moved

    def _link_found(self, root: Root, path: str) -> None:
        self._links.found(root, path)

    def _mark(self, root: Root, path: str, hint: int) -> None:
        if self.stopped or self._cover.roots.get(root.key) is not root:
            return
        directory, _, name = path.rpartition("/")
        now = self._clock.monotonic()
        for subscriber in root.route.targets(directory, name):
            subscriber.mark(path, hint, now)
        self._poke()

    def _rescan_all(self) -> None:
        if self.stopped:
            return
        for root in self._cover:
            self._scanning.rescan(root)
        self.evaluate_all()
        self._placing.pulse.beat()

    @property
    def settled(self) -> bool:
        """True once every root is live, waiting, degraded or stalled and nothing is being looked for that answers."""
        return not self._looked_for() and all(root.state is not RootState.SCANNING for root in self._cover)

    def statistics(self) -> dict[str, Any]:
        """What status shows of watching."""
        counts = {"rescans": self._overflow.rescans, **self._scanning.counts, "budget": self._budget.statistics()}
        return {**counts, **self._backend.statistics(), "limits": list(self._backend.limits)}
