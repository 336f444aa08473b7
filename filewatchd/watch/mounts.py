"""Notice mounts and unmounts: /proc/self/mountinfo is pollable for exceptional conditions, proc(5)."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable


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


def filesystem_of(path: str) -> str:
    """The filesystem type at a path, as /proc/self/mountinfo names it; "" if that can't be read."""
    best, found = "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                place, kind = _mount(line)
                if len(place) >= len(best) and (place == "/" or path == place or path.startswith(place + "/")):
                    best, found = place, kind
    except OSError:
        return ""
    return found


def _mount(line: str) -> tuple[str, str]:
    """(mount point, filesystem type) of one line; see proc(5)."""
    left, _, right = line.partition(" - ")
    place = left.split(" ")[4]
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(octal, plain)
    return place, right.split(" ", 1)[0]
