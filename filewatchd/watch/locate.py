"""Where a root's path leads right now, and which names on the way could change that.

A root is a path, not an inode: it has to be found again after its directory was replaced, after a symlink at
any hop was flipped (Kubernetes' ``..data``), and when a part of it appears for the first time. So the path is
walked component by component, through descriptors; every (directory, name) passed is a *hop* and is watched
*before* it is looked at, so that nothing can change unseen behind the walk.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from filewatchd.watch.backends.base import ANY

_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Hop(NamedTuple):
    """A name the path runs through. ``token`` is the backend's; None where the directory can't be watched."""

    directory: str
    name: str
    token: int | None


class Place(NamedTuple):
    """Where a path leads. ``real`` is None while it leads nowhere; ``why`` says so in words.

    ``device`` is that of the place or of the nearest directory above it, ``at`` its path.
    """

    hops: tuple[Hop, ...]
    real: str | None
    is_directory: bool
    device: int
    inode: int  # of the directory, or of the one the file is in
    at: str
    why: str = ""


class _Walk:
    """The state of one walk: an open directory, its path, and what is still to come."""

    def __init__(self, path: str, arm: Callable[[int], int] | None) -> None:
        self.todo = deque(part for part in path.split("/") if part)
        self.hops: list[Hop] = []
        self.at = "/"
        self.links = 0
        self._arm = arm
        self.fd = os.open("/", _OPEN)

    def hop(self, name: str) -> None:
        token: int | None = None
        if self._arm is not None:
            try:
                token = self._arm(self.fd)
            except OSError:
                token = None  # unreadable or out of watches: such a hop is looked at again by scans only
        self.hops.append(Hop(self.at, name, token))

    def enter(self, name: str) -> None:
        fd = os.open(name, _OPEN, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd
        self.at = f"{self.at.rstrip('/')}/{name}"

    def follow(self, target: str) -> None:
        self.links += 1
        if self.links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith("/"):
            self.restart("/")
        self.todo.extendleft(reversed([part for part in target.split("/") if part]))

    def restart(self, directory: str) -> None:
        os.close(self.fd)
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.at = directory

    def place(self, real: str | None, is_directory: bool = False, why: str = "") -> Place:
        info = os.fstat(self.fd)
        return Place(tuple(self.hops), real, is_directory, info.st_dev, info.st_ino, real or self.at, why)


def locate(path: str, arm: Callable[[int], int] | None = None) -> Place:
    """Walk to a path. ``arm`` watches an open directory and returns the backend's token.

    Never raises for what is missing, unreadable or looping: that is in ``why``.
    """
    walk = _Walk(path, arm)
    try:
        return _locate(walk)
    except OSError as error:
        return walk.place(None, why=error.strerror or str(error))
    finally:
        os.close(walk.fd)


def _locate(walk: _Walk) -> Place:
    while walk.todo:
        name = walk.todo.popleft()
        if name == ".":
            continue
        if name == "..":
            walk.restart(os.path.dirname(walk.at) or "/")
            continue
        walk.hop(name)
        try:
            info = os.stat(name, dir_fd=walk.fd, follow_symlinks=False)
        except FileNotFoundError:
            return walk.place(None, why=f"waits for {name} in {walk.at}")
        if stat.S_ISLNK(info.st_mode):
            walk.follow(os.readlink(name, dir_fd=walk.fd))
        elif stat.S_ISDIR(info.st_mode):
            walk.enter(name)
        elif walk.todo or not stat.S_ISREG(info.st_mode):
            kind = "not a directory" if walk.todo else "neither a file nor a directory"
            return walk.place(None, why=f"{walk.at.rstrip('/')}/{name} is {kind}")
        else:
            return walk.place(f"{walk.at.rstrip('/')}/{name}", False)
    return walk.place(walk.at, True)


_MAGIC = frozenset("*?[")


def is_glob(path: str) -> bool:
    """True if the path holds a wildcard."""
    return not _MAGIC.isdisjoint(path)


class Members(NamedTuple):
    """The paths that a glob names, the hops where that could change, and the device above its first wildcard."""

    hops: list[Hop]
    paths: list[str]
    device: int


def expand(pattern: str, arm: Callable[[int], int] | None = None) -> Members:
    """What a glob names right now. Wildcards match within one component; hidden names need a literal dot."""
    hops: list[Hop] = []
    places = [("/", "/")]  # as the pattern names it, and where it really is
    for part in (p for p in pattern.split("/") if p):
        found: list[tuple[str, str]] = []
        for named, real in places:
            there = _real(real, arm, hops)
            names = _expand_part(there, part, arm, hops) if there else []
            found += [(_join(named, name), _join(there, name)) for name in names]
        places = found
    return Members(hops, sorted(named for named, _ in places), _device_above(pattern))


def _real(path: str, arm: Callable[[int], int] | None, hops: list[Hop]) -> str:
    """Where a symlink leads, with the hops of its way; "" if that is nowhere."""
    if not os.path.islink(path):
        return path
    place = locate(path, arm)
    hops.extend(place.hops)
    return place.real or ""


def _join(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"


def _device_above(pattern: str) -> int:
    fixed = itertools.takewhile(lambda part: not is_glob(part), pattern.split("/"))
    try:
        return os.stat("/".join(fixed) or "/").st_dev
    except OSError:
        return 0


def _expand_part(directory: str, part: str, arm: Callable[[int], int] | None, hops: list[Hop]) -> list[str]:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        token: int | None = None
        if arm is not None:
            with contextlib.suppress(OSError):
                token = arm(fd)
        hops.append(Hop(directory, ANY if is_glob(part) else part, token))
        if not is_glob(part):
            return [part] if _exists(fd, part) else []
        return [n for n in os.listdir(fd) if fnmatch.fnmatchcase(n, part) and (n[0] != "." or part[0] == ".")]
    except OSError:
        return []
    finally:
        os.close(fd)


def _exists(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd)
    except OSError:
        return False
    return True
