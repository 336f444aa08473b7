"""The budget of watches: what is to be had when none is left, and who gets it.

What the kernel does: fs.inotify.max_user_watches bounds the watches of a user over all processes. inotify_add_watch
beyond it fails with ENOSPC, and nobody is told when others become free: only trying again tells.

So directories that met the limit are *missing* (their root is degraded), and are tried again: at once when a watch of
our own has ended, else after 1 s, and ever later up to 60 s while nothing comes of it. A try first arms one directory
and no more, which costs one refused call while nothing is free. Only then the missing ones, not the tree, are walked,
until the limit is met again; what is in them is compared with what is known, since anything may have happened there.

The roots take turns, the one with the fewest watches first. If nothing is free, larger ones make room for it, by the
measure of `shares`: the latest directories without watched ones below are given back and become missing. Docs:
decisions/0011.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from filewatchd.clock import Clock
from filewatchd.model import RootState
from filewatchd.watch import shares
from filewatchd.watch.backends.base import Backend, Given, Sharing
from filewatchd.watch.cover import Cover
from filewatchd.watch.mending import Directories, Probe, probe
from filewatchd.watch.roots import Missing, Root
from filewatchd.watch.scanning import NONE_LEFT, Scanning, device_of
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

log = logging.getLogger("filewatchd.watch")

_APART = 1.0  # seconds between two tries, whatever happens
_PATIENCE = 10.0  # seconds for the ways that are looked for: then their filesystem doesn't answer
_LEAST_SHARE = 4  # of its watches a root gives a part of so many to the reserve

Later = Callable[[float, Callable[[], None]], Callable[[], None]]


def on_loop(seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
    """Call back on the running loop; returns a function that cancels."""
    return asyncio.get_running_loop().call_later(seconds, callback).cancel


class Budget:
    """The shortage of watches of one backend's roots."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: Clock,
        cover: Cover,
        scanning: Scanning,
        *,
        lead: Callable[[object], bool],
        later: Later = on_loop,
    ) -> None:
        """``later(seconds, callback)`` calls back, and returns a function that cancels.

        ``lead(target)`` looks for a target's way anew, and `led` will tell; False: it isn't wanted any more.
        """
        self._backend = backend
        self._sharing = backend if isinstance(backend, Sharing) else None
        self._pool = pool
        self._clock = clock
        self._cover = cover
        self._scanning = scanning
        self._lead = lead
        self._later = later
        self._cancel: Callable[[], None] | None = None
        self._back_off = shares.BackOff()
        self._short: set[Root] = set()
        self._unled: set[object] = set()  # targets with a directory on their way that has no watch
        self._sought: set[object] = set()  # those of them that are being looked for in this round
        self._round: asyncio.Task[None] | None = None
        self._due = 0.0  # monotonic seconds of the next try, while one is planned
        self._last = float("-inf")  # of the last one's end
        self._urgent = False
        self._ended = 0
        self._kept: WeakKeyDictionary[Root, int] = WeakKeyDictionary()  # what a root had after it made up the reserve
        self._counts = {"retries": 0, "given_back": 0}
        self._pulse = Pulse()
        self.stopped = False

    # ---- when

    def short(self, root: Root, scanned: bool) -> None:
        """A walk of this root has met the limit; ``scanned``: a full scan, after which the shares may be others."""
        if root not in self._short or scanned:
            self._kept.pop(root, None)
            self._short.add(root)
            self._soon()

    def led(self, target: object, limited: bool) -> None:
        """The way to a target is known; ``limited``: for a directory on it no watch was left."""
        self._sought.discard(target)
        self._pulse.beat()
        if not limited:
            self._unled.discard(target)
        elif target not in self._unled:
            self._unled.add(target)
            self._soon()

    def look(self) -> None:
        """Watches of our own may have ended."""
        if (self._short or self._unled) and self._sharing is not None and self._sharing.ended != self._ended:
            self._ended = self._sharing.ended
            self._soon()

    def _soon(self) -> None:
        self._urgent = True
        if self._round is None:
            self._plan(max(0.0, self._last + _APART - self._clock.monotonic()))

    def _plan(self, seconds: float) -> None:
        if self._cancel is not None:
            self._cancel()
        self._due = self._clock.monotonic() + seconds
        self._cancel = self._later(seconds, self._begin)

    def _begin(self) -> None:
        self._cancel = None
        if not self.stopped:
            self._urgent = False
            self._round = asyncio.get_running_loop().create_task(self._try_all())

    async def quiet(self) -> None:
        """Return when what is to be shared at once has been. Back-off isn't waited for."""
        await self._pulse.until(lambda: self.stopped or (self._round is None and not self._urgent))

    def stop(self) -> None:
        """Try no more."""
        self.stopped = True
        if self._cancel is not None:
            self._cancel()
        self._pulse.beat()

    # ---- a round: each short root's turn

    async def _try_all(self) -> None:
        self._counts["retries"] += 1
        gained = False
        try:
            if self._unled:
                await self._serve_ways()
            held = self._held()
            for root in sorted(self._still_short(), key=lambda root: (held.get(root, 0), root.path)):
                gained = await self._serve(root) or gained
        finally:
            self._over(gained)

    def _over(self, gained: bool) -> None:
        self._round = None
        self._last = self._clock.monotonic()
        self._short = self._still_short()
        if self._urgent and not self.stopped:
            self._soon()
        elif (self._short or self._unled) and not self.stopped:
            self._plan(self._back_off.after(gained))
        self._pulse.beat()

    def _still_short(self) -> set[Root]:
        return {root for root in self._short if self._cover.roots.get(root.key) is root and root.limited}

    async def _serve_ways(self) -> None:
        """What is on the way to roots comes first: without it they may be lost sight of, and it is little."""
        short = [root for root in self._still_short() if _ready(root)]
        found = await self._probe(short[0], 1) if short else None
        if found is None or found.limited:
            held = self._held()
            self._give_back(shares.ways({root: held[root] for root in held if _ready(root)}, 0, shares.reserve(held)))
        self._sought = set(self._unled)
        self._unled = set(filter(self._lead, self._sought))
        self._sought &= self._unled
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._pulse.until(lambda: self.stopped or not self._sought)

    async def _serve(self, root: Root) -> bool:
        """Let a root have what can be had; True if that was something."""
        gained = False
        while not self.stopped and _ready(root) and root.limited:
            if not await self._is_room(root) or not await self._scanning.mend(root, _missing(root)):
                break
            gained = True
        return gained

    async def _is_room(self, root: Root) -> bool:
        """See whether watches are free, beyond the reserve if the root has no claim; else let others make room."""
        held = self._held()
        rich = {other: held[other] for other in held if other is not root and _ready(other)}
        claim = any(shares.gives(many, held.get(root, 0)) for many in rich.values())
        spare = 0 if claim or self._sharing is None else shares.reserve(held)
        found = await self._probe(root, 1 + spare)
        if found is None or not found.limited:
            return found is not None
        if claim:
            return self._make_room(root, rich, held)
        self._keep(spare - len(found.tokens), held)
        return False

    async def _probe(self, root: Root, wanted: int) -> Probe | None:
        """None if its filesystem doesn't answer."""
        work = self._pool.run(f"scan:{device_of(root)}", probe, self._backend, _missing(root), wanted)
        work.add_done_callback(self._probed)
        await self._scanning.pulse.until(lambda: work.done() or root.state is RootState.STALLED)
        return work.result() if work.done() else None

    def _probed(self, work: asyncio.Future[Probe]) -> None:
        if self._sharing is not None and not self.stopped:
            for token in work.result().tokens:
                self._sharing.disarm(token)
        self._scanning.pulse.beat()

    # ---- giving way

    def _held(self) -> Mapping[Root, int]:
        """How many watched directories each root has; those that it shares with others count for each."""
        if self._sharing is None:
            return {}
        there = [root for root in self._cover if root.top is not None]
        counted = self._sharing.census({root.top for root in there if root.top is not None})
        held = {root: counted[root.top] for root in there if root.top is not None}
        held = {root: many if root.descends("") else min(many, 1) for root, many in held.items()}
        for root, many in self._kept.items():
            self._kept[root] = min(many, held.get(root, 0))
        return held

    def _make_room(self, poor: Root, rich: Mapping[Root, int], held: Mapping[Root, int]) -> bool:
        """Larger roots give watches back: as many as are known to be wanted, or had, and the reserve."""
        wanted = max(len(_missing(poor)), held.get(poor, 0)) + shares.reserve(held)
        left = shares.ways(rich, held.get(poor, 0), wanted)
        given = self._give_back(left)
        if given:
            log.warning("no inotify watch is left: %d directories give way to root %s", len(given), poor.path)
        return bool(given)

    def _keep(self, number: int, held: Mapping[Root, int]) -> None:
        """Make up the reserve from the largest root that is degraded anyway, out of what it has taken since.

        Without that a program that takes whatever comes free would get it all, bit by bit.
        """
        largest = max(filter(_ready, self._still_short()), key=lambda root: held.get(root, 0), default=None)
        if largest is not None:
            has = held.get(largest, 0)
            taken = has - self._kept.get(largest, 0)
            given = self._give_back({largest: min(number, taken, has // _LEAST_SHARE)})
            self._kept[largest] = has - len(given)

    def _give_back(self, left: dict[Root, int]) -> list[Given]:
        """Give back so many watches of each of these roots, of directories that no other root has."""

        def may(path: str) -> bool:
            covering = self._cover.of(path)
            if not covering or any(not inside or left.get(root, 0) <= 0 for root, inside in covering):
                return False
            left.update((root, left[root] - 1) for root, _ in covering)
            return True

        number = sum(left.values())
        able = self._sharing if number > 0 and not self.stopped else None
        given = able.give_back(number, may) if able is not None else []
        self._counts["given_back"] += len(given)
        self._miss(given)
        return given

    def _miss(self, given: Iterable[Given]) -> None:
        """These directories aren't watched any more: the uppermost are missing, with all that is in them."""
        parents = dict(given)
        roots = {root for path in parents for root, _ in self._cover.of(path)}
        for root in roots:
            root.failed = {p: why for p, why in root.failed.items() if os.path.dirname(p) not in parents}
        for path, parent in parents.items():
            if os.path.dirname(path) not in parents:
                for root, _ in self._cover.of(path):
                    root.failed[path] = Missing(NONE_LEFT, parent, True)
        self._short |= roots
        for root in roots:
            self._scanning.judge(root)

    def statistics(self) -> dict[str, Any]:
        """What status shows. ``next_retry``: seconds from now; None if none is planned."""
        planned = self._cancel is not None
        return {**self._counts, "next_retry": max(0.0, self._due - self._clock.monotonic()) if planned else None}


def _ready(root: Root) -> bool:
    """Whether nothing is under way for a root that would change what it has."""
    settled = root.state in (RootState.LIVE, RootState.DEGRADED) and not root.evaluating
    return settled and root.scans == 0 and root.scanned_once


def _missing(root: Root) -> Directories:
    return [(path, missing.parent) for path, missing in root.failed.items() if missing.limited]
