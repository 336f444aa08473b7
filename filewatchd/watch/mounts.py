"""Notice mounts and unmounts: /proc/self/mountinfo is pollable for exceptional conditions, proc(5)."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Iterable


class Mounts:
    """Calls back on the loop after the mount table changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called on the loop."""
        self._changed = changed
        # The file is always readable, so only EPOLLPRI is asked for, through an epoll of our own: as a
        # descriptor on the loop that one is readable exactly once for each change.
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._fd, select.EPOLLPRI)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def _ready(self) -> None:
        self._epoll.poll(0)  # tidies up; the change itself was taken in when the loop asked
        self._changed()

    def close(self) -> None:
        """Stop noticing."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        os.close(self._fd)


class MountTable:
    """The mounts as they were when they were read: which type of filesystem is where."""

    def __init__(self, text: str) -> None:
        """``text`` is that of /proc/self/mountinfo, proc(5)."""
        mounts = [_mount(line) for line in text.splitlines()]
        self._by_device = {device: kind for device, _, kind in mounts}
        self._by_place = {place: kind for _, place, kind in mounts}  # the last one of a place hides the others

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
        at = path
        while at not in self._by_place and at not in ("", "/"):
            at = at.rpartition("/")[0] or "/"
        return self._by_place.get(at, "")


def _mount(line: str) -> tuple[str, str, str]:
    """(device, mount point, filesystem type) of one line; see proc(5)."""
    left, _, right = line.partition(" - ")
    _, _, device, _, place = left.split(" ")[:5]
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(octal, plain)
    return device, place, right.split(" ", 1)[0]
