"""Names that paths run through, looked at one by one. For polling.

A path leads elsewhere when a name on it comes, goes or becomes another: another inode, another sort of thing, or a
symlink written anew. An anchor is a directory, known by (dev, ino), with the names in it that matter; what each name
was is its `Mark`. Where the directory itself is another one, all its names are in doubt, once.

A name is looked at in the lane of the filesystem that it was last found on: the root of a dead network mount hangs
whoever looks at its mount point, and shall hang nobody else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.watch.backends.base import ANY, AnchorMoved
from filewatchd.watch.backends.known import AnchorArm
from filewatchd.watch.backends.snapshot import GONE
from filewatchd.work.pool import alive

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK  # a glob's way may run through symlinks
_ABSENT = "absent"


class Mark(NamedTuple):
    """What a name was. ``place`` tells which thing it is, ``content`` what that holds."""

    dev: int
    place: Hashable
    content: Hashable = None


class WantedNames(NamedTuple):
    """Names in a directory to be looked at."""

    token: int
    directory: str
    dev: int
    ino: int
    names: tuple[str, ...]
    stamps: tuple[int, int] | None  # the directory's when it was armed


class SeenNames(NamedTuple):
    """What names are, without those that can't be told. ``stood``: none came or went since the directory was armed."""

    marks: Mapping[str, Mark]
    stood: bool = False


def look_at_names(wanted: Sequence[WantedNames]) -> list[SeenNames]:
    """What the names are now. Blocking: runs in the pool."""
    return [_look(each) for each in wanted]


def _look(wanted: WantedNames) -> SeenNames:
    gone = SeenNames(dict.fromkeys(wanted.names, Mark(wanted.dev, "its directory is gone")))
    alive()
    try:
        fd = os.open(wanted.directory, _OPEN)
    except OSError as error:
        return gone if error.errno in GONE else SeenNames({})
    try:
        info = os.fstat(fd)
        if (info.st_dev, info.st_ino) != (wanted.dev, wanted.ino):
            return gone
        marks = [(name, _mark(fd, name, wanted.dev)) for name in wanted.names]
        info = os.fstat(fd)
        stood = (info.st_mtime_ns, info.st_ctime_ns) == wanted.stamps
        return SeenNames({name: mark for name, mark in marks if mark is not None}, stood)
    except OSError as error:
        return gone if error.errno in GONE else SeenNames({})
    finally:
        os.close(fd)


def _mark(fd: int, name: str, dev: int) -> Mark | None:
    if name == ANY:
        with os.scandir(fd) as entries:
            return Mark(dev, hash(frozenset((entry.name, entry.inode()) for entry in entries)))
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        return Mark(dev, _ABSENT) if error.errno in GONE else None
    return mark_of(info)


def mark_of(info: os.stat_result) -> Mark:
    """The mark of what an lstat found. A symlink's stamps belong to its place: it may be written anew in its inode."""
    sort = stat.S_IFMT(info.st_mode)
    place = (sort, info.st_dev, info.st_ino)
    stamps = (info.st_mtime_ns, info.st_ctime_ns)
    if sort == stat.S_IFLNK:
        return Mark(info.st_dev, (*place, *stamps))
    if sort == stat.S_IFDIR:
        return Mark(info.st_dev, place, info.st_mode)
    return Mark(info.st_dev, place, (info.st_size, *stamps))


class _Anchor:
    def __init__(self, arm: AnchorArm) -> None:
        self.arm = arm
        self.names: dict[str, Mark | None] = {}  # None: not looked at yet


class Anchors:
    """The anchored names by their directory. Loop only."""

    def __init__(self) -> None:
        self._by_directory: dict[str, _Anchor] = {}

    def __len__(self) -> int:
        return len(self._by_directory)

    def put(self, arm: AnchorArm, directory: str, name: str) -> bool:
        """Anchor a name in this directory; True if it hasn't been looked at yet."""
        anchor = self._by_directory.get(directory)
        if anchor is None or anchor.arm.token != arm.token:
            names = dict.fromkeys(anchor.names) if anchor is not None else {}
            anchor = self._by_directory[directory] = _Anchor(arm)
            anchor.names.update(names)
        anchor.arm = arm
        return anchor.names.setdefault(name, None) is None

    def drop(self, directory: str) -> None:
        """Anchor no name in this directory."""
        self._by_directory.pop(directory, None)

    def tokens(self) -> set[int]:
        """Those in use."""
        return {anchor.arm.token for anchor in self._by_directory.values()}

    def devices(self) -> set[int]:
        """The filesystems they are looked at on."""
        return {dev for anchor in self._by_directory.values() for dev in _lanes(anchor)}

    def wanted(self, dev: int) -> Iterator[WantedNames]:
        """What is to be looked at on a filesystem."""
        for directory, anchor in self._by_directory.items():
            arm = anchor.arm
            names = tuple(name for name, mark in anchor.names.items() if (mark or arm).dev == dev)
            if names:
                yield WantedNames(arm.token, directory, arm.dev, arm.ino, names, arm.stamps)

    def seen(self, wanted: WantedNames, seen: SeenNames) -> Iterator[AnchorMoved]:
        """Take in what was found.

        A name's first look tells, too: it may have changed before it was anchored. Not so if it is there and its
        directory has stood still since it was armed.
        """
        anchor = self._by_directory.get(wanted.directory)
        if anchor is None or anchor.arm.token != wanted.token:
            return
        for name, mark in seen.marks.items():
            old = anchor.names.get(name)
            if name not in anchor.names or mark == old:
                continue
            anchor.names[name] = mark
            if old is None and seen.stood and mark.place != _ABSENT and not anchor.arm.contents:
                continue
            moved = old is None or mark.place != old.place
            if moved or anchor.arm.contents or _is_directory(mark):  # who may enter it decides where a path leads
                yield AnchorMoved(wanted.directory, name, moved)


def _is_directory(mark: Mark) -> bool:
    return isinstance(mark.place, tuple) and mark.place[0] == stat.S_IFDIR


def _lanes(anchor: _Anchor) -> set[int]:
    return {(mark or anchor.arm).dev for mark in anchor.names.values()}
