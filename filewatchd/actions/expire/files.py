"""The blocking part, in a pool thread or as the rule's user: finding a rule's files, and deleting some of them.

A tree may hold millions of files, and memory is bounded: what is gathered of it is how many there are, how much, and
the `MOST` oldest, which are the only ones that can go (`work.retention`). If more have to, there is another round.

Nothing is reached through a symlink below the root: directories are opened beneath it with openat2. A file is deleted
below its directory's descriptor, right after it was seen there to be the very file that was chosen: same inode, size
and time, and nobody writing to it. Whoever could put another one in its place in between may delete it anyway.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from filewatchd.errors import ActionError
from filewatchd.patterns import Patterns, all_translated
from filewatchd.work.files import has_writers
from filewatchd.work.opening import open_directory
from filewatchd.work.pool import alive

MOST = 10_000
_TEXT = 1 << 20  # bytes of paths handed over at once: a worker's answer has a limit, and a hostile name takes six times
_GONE = frozenset({ENOENT, ENOTDIR, ELOOP})


class File(NamedTuple):
    """A file, and what tells it from another one by its name."""

    mtime_ns: int
    path: str
    size: int
    frees: int  # bytes of its blocks; 0 if it has other names
    dev: int
    ino: int


class Disk(NamedTuple):
    """A filesystem that files are on, in bytes."""

    dev: int
    free: int
    total: int


class Gathered(NamedTuple):
    """What is below a root. ``failed``: directories that can't be read, and why; ``whole``: all of it was looked at."""

    number: int
    total: int
    oldest: list[File]
    disks: list[Disk]
    failed: list[tuple[str, str]]
    whole: bool = True


class Removal(NamedTuple):
    """How a file fared: ``removed``, ``gone``, ``changed``, ``written`` or ``failed``."""

    path: str
    result: str
    why: str = ""


class Gathering:
    """What is known so far."""

    def __init__(self, most: int) -> None:
        self.count = self.total = 0
        self.disks: dict[int, Disk] = {}
        self.failed: list[tuple[str, str]] = []
        self._most = most
        self._heap: list[tuple[int, File]] = []  # the youngest of the oldest comes first

    def add(self, file: File) -> None:
        """One more file."""
        self.count += 1
        self.total += file.size
        push = heapq.heappush if len(self._heap) < self._most else heapq.heappushpop
        push(self._heap, (-file.mtime_ns, file))

    def disk(self, fd: int, dev: int) -> None:
        """The filesystem of an open directory."""
        if dev not in self.disks:
            seen = os.fstatvfs(fd)
            self.disks[dev] = Disk(dev, seen.f_bavail * seen.f_frsize, seen.f_blocks * seen.f_frsize)

    def told(self, whole: bool) -> Gathered:
        """All of it."""
        oldest = list(fitting(sorted(file for _, file in self._heap)))
        return Gathered(self.count, self.total, oldest, list(self.disks.values()), self.failed, whole)


def fitting(files: Sequence[File]) -> Iterator[File]:
    """As many of the first as fit into an answer; one at least."""
    room = _TEXT
    for number, file in enumerate(files):
        room -= len(os.fsencode(file.path))
        if number and room < 0:
            return
        yield file


def gather(
    root: str, include: tuple[str, ...], exclude: tuple[str, ...], recursive: bool, most: int, bound: int
) -> Gathered:
    """Look at a root's files; ``bound``: stop after so many entries (0: never)."""
    found = Gathering(most)
    choose = Choice(root, include, exclude)
    pending, entries = [""], 0
    while pending:
        directory = pending.pop()
        try:
            fd = open_directory(root, directory)
        except (OSError, ActionError) as error:
            if getattr(error, "errno", 0) not in _GONE:
                found.failed.append((os.path.join(root, directory), str(error)))
            continue
        try:
            inside, listed = _list(fd, root, directory, choose, found)
        except OSError as error:
            found.failed.append((os.path.join(root, directory), str(error)))
            continue
        finally:
            os.close(fd)
        alive()
        entries += listed
        pending += inside if recursive else []
        if bound and entries > bound:
            return found.told(False)
    return found.told(True)


class Choice:
    """A rule's patterns below one root, which may be a file: then it alone is chosen."""

    def __init__(self, root: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        wanted = all_translated(include, files_only=True)
        self._everything = not wanted
        self._include = Patterns(wanted)
        self._exclude = Patterns(all_translated(exclude, files_only=False))
        self.only = None if os.path.isdir(root) else os.path.basename(root)

    def enters(self, directory: str) -> bool:
        """Whether a directory is looked into, whose parent is."""
        return self.only is None and not self._exclude.decide(directory + "/")

    def takes(self, directory: str) -> Callable[[str], bool]:
        """Whether a file in a directory is the rule's."""
        if self.only is not None:
            return lambda name: name == self.only
        include, exclude = self._include.decide_file, self._exclude.decide_file
        return lambda name: (self._everything or include(directory, name)) and not exclude(directory, name)


def _list(fd: int, root: str, directory: str, choose: Choice, found: Gathering) -> tuple[list[str], int]:
    """Add a directory's files; returns the directories in it, and how many entries it has."""
    inside, takes, entries = [], choose.takes(directory), 0
    found.disk(fd, os.fstat(fd).st_dev)
    top = os.path.dirname(root) if choose.only is not None else os.path.join(root, directory) if directory else root
    with os.scandir(fd) as listed:
        for entry in listed:
            entries += 1
            if entry.is_dir(follow_symlinks=False):
                path = f"{directory}/{entry.name}" if directory else entry.name
                if choose.enters(path):
                    inside.append(path)
            elif entry.is_file(follow_symlinks=False) and takes(entry.name):
                seen = _stat(fd, entry.name)
                if seen is not None:
                    frees = seen.st_blocks * 512 if seen.st_nlink == 1 else 0
                    path = os.path.join(top, entry.name)
                    found.add(File(seen.st_mtime_ns, path, seen.st_size, frees, seen.st_dev, seen.st_ino))
    return inside, entries


def _stat(fd: int, name: str) -> os.stat_result | None:
    """A regular file in a directory; None if it is none any more."""
    try:
        seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
    return seen if stat.S_ISREG(seen.st_mode) else None


# ---- deleting


def remove(root: str, files: list[File]) -> list[Removal]:
    """Delete these files, as far as they are still what they were."""
    return list(_remove(root, files))


def _remove(root: str, files: list[File]) -> Iterator[Removal]:
    for file in files:
        alive()
        folder, name = os.path.split(file.path)
        relative = os.path.relpath(folder, root) if folder.startswith(root.rstrip("/") + "/") else ""
        try:
            fd = open_directory(root, relative)
        except (OSError, ActionError) as error:
            gone = getattr(error, "errno", 0) in _GONE
            yield Removal(file.path, "gone" if gone else "failed", str(error))
            continue
        try:
            yield _remove_in(fd, name, file)
        except OSError as error:
            yield Removal(file.path, "failed", error.strerror or str(error))
        finally:
            os.close(fd)


def _remove_in(fd: int, name: str, file: File) -> Removal:
    seen = _stat(fd, name)
    if seen is None:
        return Removal(file.path, "gone")
    if (seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size) != (file.dev, file.ino, file.mtime_ns, file.size):
        return Removal(file.path, "changed")
    if has_writers(f"/proc/self/fd/{fd}/{name}"):
        return Removal(file.path, "written")
    os.unlink(name, dir_fd=fd)
    return Removal(file.path, "removed")
