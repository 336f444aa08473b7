"""The mount table: what is mounted where, and that it changes.

/proc/self/mountinfo is pollable for exceptional conditions, proc(5): a mount or unmount raises one for every open
descriptor, before the system call returns. So whoever asks after a look at a file whether the table is still the one
from before it knows whether that look can be believed.

A mount may be hidden by a later one, at its own place or above it. Which are to be seen follows from each mount's
parent: of those with one parent, the one at the shortest place hides what is below it, and a mount at its parent's own
place hides the whole parent.
"""

from __future__ import annotations

import asyncio
import functools
import os
import select
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Mount(NamedTuple):
    """One line of the table. ``root``: the directory of its filesystem that stands at ``place``."""

    number: int
    parent: int
    device: str  # major:minor
    root: str
    place: str
    kind: str
    source: str
    options: str  # the filesystem's own

    def shows(self, path: str) -> str:
        """Where in its filesystem a path below the mount is."""
        inside = path[len(self.place) :] if self.place != "/" else path
        return f"{self.root.rstrip('/')}/{inside.lstrip('/')}".rstrip("/") or "/"


class MountTable:
    """The mounts as they were when they were read."""

    def __init__(self, text: str) -> None:
        """``text`` is that of /proc/self/mountinfo, proc(5)."""
        self._mounts = [_mount(line) for line in text.splitlines()]
        self._by_device = {mount.device: mount.kind for mount in self._mounts}
        self._by_place = {mount.place: mount for mount in self._mounts}  # the last one of a place hides the others

    @classmethod
    def read(cls) -> MountTable:
        """The table of now; empty where there is none."""
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
                return cls(table.read())
        except OSError:
            return cls("")

    def places(self) -> Iterable[str]:
        """All mount points."""
        return self._by_place

    def type_of(self, path: str, device: int | None = None) -> str:
        """The filesystem's type at a path, by its device number where that is known; "" if nothing is."""
        if device is not None:
            kind = self._by_device.get(f"{os.major(device)}:{os.minor(device)}")
            if kind is not None:  # btrfs gives its subvolumes numbers of their own
                return kind
        at = self._above(path, self._by_place)
        return self._by_place[at].kind if at is not None else ""

    def at(self, path: str) -> Mount | None:
        """The mount that a real path is on."""
        place = self._above(path, self._visible)
        return self._visible[place] if place is not None else None

    def under(self, path: str) -> tuple[Mount, ...]:
        """The mount that a real path is on, and those below it, in the order of their places."""
        above = self.at(path)
        if above is None:
            return ()
        prefix = path.rstrip("/") + "/"
        below = sorted(place for place in self._visible if place.startswith(prefix) and place != "/")
        return (above, *(self._visible[place] for place in below))

    @staticmethod
    def _above(path: str, places: Mapping[str, Mount]) -> str | None:
        at = path
        while at not in places:
            if at in ("", "/"):
                return None
            at = at.rpartition("/")[0] or "/"
        return at

    @functools.cached_property
    def _visible(self) -> dict[str, Mount]:
        """The mounts that aren't hidden, by place."""
        children: dict[int, list[Mount]] = {}
        numbers = {mount.number for mount in self._mounts}
        todo = []
        for mount in self._mounts:
            if mount.parent in numbers and mount.parent != mount.number:
                children.setdefault(mount.parent, []).append(mount)
            else:
                todo.append(mount)
        visible: dict[str, Mount] = {}
        while todo:
            mount = todo.pop()
            seen = _unhidden(children.get(mount.number, ()))
            over = [child for child in seen if child.place == mount.place]
            if not over:
                visible[mount.place] = mount
            todo += over or seen
        return visible


def _unhidden(siblings: Sequence[Mount]) -> list[Mount]:
    """Of mounts on one parent those that no other one stands above."""
    seen: list[Mount] = []
    for mount in sorted(siblings, key=lambda mount: mount.place.split("/")):
        if seen and (mount.place == seen[-1].place or mount.place.startswith(seen[-1].place.rstrip("/") + "/")):
            continue
        seen.append(mount)
    return seen


def _mount(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    number, parent, device, root, place = left.split(" ")[:5]
    kind, source, options = (*right.split(" "), "", "", "")[:3]
    return Mount(int(number), int(parent), device, _plain(root), _plain(place), kind, _plain(source), _plain(options))


def _plain(text: str) -> str:
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, plain)
    return text


class MountView:
    """The table of now: asked for when it matters, or followed. Loop only."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """``changed`` is called on the loop, in a turn of its own, after the table was read again."""
        self._changed = changed
        self._asked = _open()
        self._close = weakref.finalize(self, os.close, self._asked)
        self._poll = select.poll()
        self._poll.register(self._asked, select.POLLPRI)
        self._poll.poll(0)
        self._followed: tuple[int, select.epoll] | None = None
        self.table = MountTable.read()
        self.generation = 0

    def now(self) -> int:
        """The number of the table that holds now, read again if it isn't the one at hand."""
        if self._poll.poll(0):
            self.table = MountTable.read()
            self.generation += 1
            asyncio.get_running_loop().call_soon(self._changed)
        return self.generation

    def follow(self) -> None:
        """Notice changes on the running loop without being asked.

        The file is always readable, so only EPOLLPRI is waited for, through an epoll of our own: as a descriptor on
        the loop that one is readable exactly once for each change.
        """
        heard, epoll = _open(), select.epoll()
        epoll.register(heard, select.EPOLLPRI)
        self._followed = heard, epoll
        asyncio.get_running_loop().add_reader(epoll.fileno(), self._ready, epoll)

    def _ready(self, epoll: select.epoll) -> None:
        epoll.poll(0)  # tidies up; the change itself was taken in when the loop asked
        self.now()

    def close(self) -> None:
        """Stop noticing."""
        if self._followed is not None:
            heard, epoll = self._followed
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()
            os.close(heard)
        self._close()


def _open() -> int:
    return os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
