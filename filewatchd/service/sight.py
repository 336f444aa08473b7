"""What there is at a path just now, for `explain`: asked of the filesystem once, in the pool."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Sight(NamedTuple):
    """One look at a path.

    Attributes:
        real: the path with every symlink on its way followed, but not itself.
        mode: its `st_mode`; None where nothing is there.
        target: of a symlink: the mode of what it leads to, None where that is nothing.
        size: bytes.
        links: the directories on its way that are symlinks, the first one first.
        error: why it can't be looked at; empty if it can.
    """

    real: str
    mode: int | None = None
    target: int | None = None
    size: int = 0
    links: tuple[str, ...] = ()
    error: str = ""

    @property
    def kind(self) -> str:
        """`file`, `directory`, `symlink`, `other`, or `nothing`."""
        if self.mode is None:
            return "other" if self.error else "nothing"
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return kinds.get(stat.S_IFMT(self.mode), "other")


def see(path: str) -> Sight:
    """Look at a path. Blocks as long as the filesystem does; raises nothing."""
    directory, name = os.path.split(path)
    links = tuple(filter(os.path.islink, _above(path)))
    real = os.path.join(os.path.realpath(directory), name) if name else path
    try:
        found = os.lstat(path)
    except OSError as error:
        return Sight(real, links=links, error="" if error.errno in _ABSENT else os.strerror(error.errno or 0))
    target = _target(path) if stat.S_ISLNK(found.st_mode) else None
    return Sight(real, found.st_mode, target, found.st_size, links)


def _above(path: str) -> list[str]:
    """Every directory above a path, the root's first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


def _target(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except OSError:
        return None
