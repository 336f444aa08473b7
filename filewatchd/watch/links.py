"""Symlinks below a root that ``follow_symlinks: files`` follows.

A followed file changes when its target is written and when any link on the way is flipped, neither of which
need happen below the root. So every (directory, name) on its way is anchored, and marks it dirty. It is looked at
once more when the anchors stand: whatever happened before them was seen by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from filewatchd.model import Hint
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.locate import Place, locate
from filewatchd.watch.roots import Root
from filewatchd.watch.ways import Arming, Ways
from filewatchd.work.pool import Pool

_WRITTEN = Hint.LIVE | Hint.WRITE
_UNSEEN = Hint.AGAIN | Hint.STRICT


class Link(NamedTuple):
    """A name below a root that may be a symlink. Roots compare by identity."""

    root: Root
    path: str


class Links:
    """Finds where followed symlinks lead, and keeps an eye on every name they hang on."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        ways: Ways[object],
        *,
        mark: Callable[[Root, str, int], None],
        placed: Callable[[Root], None],
        led: Callable[[Link, bool], None],
    ) -> None:
        """``mark(root, path, hint)``: it is not what it was. ``placed``: no link of this root is looked for.

        ``led(link, limited)``: its way is known; ``limited``: not all of it is watched, no watch was left.
        """
        self._backend = backend
        self._pool = pool
        self._ways = ways
        self._mark = mark
        self._placed = placed
        self._led = led
        self._sought: dict[Link, bool] = {}  # True: something happened to it meanwhile
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopped = False

    def found(self, root: Root, path: str) -> None:
        """This name may be a symlink: find its way, unless that is known."""
        link = Link(root, path)
        if link not in self._sought and link not in self._ways:
            self._seek(link)

    async def quiet(self) -> None:
        """Return when the links that are looked for now have been."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def moved(self, link: Link) -> None:
        """Something happened to a name that a link hangs on."""
        self._mark(link.root, link.path, _WRITTEN)
        self.seek_again(link)

    def keep(self, roots: frozenset[Root]) -> None:
        """Forget the links of all other roots."""
        for target in self._ways.targets():
            if isinstance(target, Link) and target.root not in roots:
                self._ways.forget(target)

    def _seek(self, link: Link) -> None:
        self._sought[link] = False
        link.root.links_sought += 1
        task = asyncio.get_running_loop().create_task(self._find(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find(self, link: Link) -> None:
        lane, arming = "locate:" + link.root.path, Arming(self._backend, contents=True)
        place: Place = await self._pool.run(lane, locate, f"{link.root.path}/{link.path}", arming)
        again = self._sought.pop(link)
        link.root.links_sought -= 1
        if link.root.subscribers and not self.stopped:
            self._led(link, self._lead(link, place) and arming.limited)
            if again:
                self._seek(link)
            if not link.root.links_sought:
                self._placed(link.root)

    def seek_again(self, link: Link) -> None:
        """Its way was not watched whole."""
        if link in self._sought:
            self._sought[link] = True
        else:
            self._seek(link)

    def _lead(self, link: Link, place: Place) -> bool:
        """True if its way leads elsewhere."""
        top = link.root.top
        own = f"{top}/{link.path}"
        last = place.hops[-1]
        plain = top is not None and own in (place.real, f"{last.directory}/{last.name}")
        if plain:  # a plain file, or nothing: the root's own watches see it
            self._ways.forget(link)
        else:
            self._ways.lead(link, place.hops)
            self._mark(link.root, link.path, _UNSEEN)
        return not plain
