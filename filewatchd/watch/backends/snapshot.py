"""What a directory was when it was last looked at, and how it differs now. For polling.

What the filesystem says: a directory's own stamps (mtime, ctime) move whenever a name in it comes, goes or is replaced,
so while they stand still no listing is needed, only a stat of each name that is known. Three things stand against it:

- Stamps are coarse, and a server's clock isn't ours. So no stamp is ever compared with a clock: they are trusted once
  a listing was made two seconds, by our own clock, after they were first seen. Whatever changes then gets another one.
- Some filesystems (FAT, much of what is behind FUSE and CIFS) don't keep a directory's stamps at all. So a directory is
  listed every minute in any case, and if that finds names which the stamps kept quiet about, its filesystem is
  never trusted again.
- A directory's stamps say nothing of what its files hold: they are always looked at.

Inode numbers are used again at once, so a directory may be another one with the same number. That does no harm: its
entries are compared, and each differs.

Memory: names are joined into one string and every entry is 32 bytes of numbers; an unchanged look is found by comparing
two strings, and only a look that differs is taken apart. 100,000 files in 5,000 directories take 10 MB.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from filewatchd.watch.dirty import HINTS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MODIFY
from filewatchd.work.pool import alive

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
#: A path that fails so has no such directory. Any other error (EACCES, EIO, ENOTCONN) says nothing of what is there.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

_GRANULE = 2.0  # seconds: the coarsest stamps in use, FAT's
_LISTED_ANYWAY = 60.0  # seconds
_MARK = 32  # bytes an entry takes
_IDENTITY = 16  # bytes of a directory's mark: dev, ino
CONTENT = 24  # bytes of a file's mark: ino, size, mtime
_BREATH = 256  # entries between signs of life
WRAP = (1 << 64) - 1  # a stamp may be negative, or beyond the year 2554


class Marks(NamedTuple):
    """A directory's entries of one sort: their names joined by "/", and 32 bytes for each.

    The bytes are four numbers: ino, size, mtime and ctime of whatever isn't a directory; dev, ino, ctime and mode of
    a directory.
    """

    names: str
    numbers: bytes

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.numbers) // _MARK

    def by_name(self) -> dict[str, bytes]:
        """Name -> its 32 bytes."""
        numbers = self.numbers
        names = self.names.split("/") if numbers else ()
        return {name: numbers[at * _MARK : (at + 1) * _MARK] for at, name in enumerate(names)}


_NONE = Marks("", b"")


class Snapshot(NamedTuple):
    """A directory at one moment. ``since``: when these stamps were first seen; ``listed``: when it was last listed.

    Both are monotonic seconds.
    """

    dev: int
    ino: int
    mtime_ns: int
    ctime_ns: int
    since: float
    listed: float
    files: Marks
    directories: Marks

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.files.size + self.directories.size


class Child(NamedTuple):
    """A directory in a directory."""

    name: str
    dev: int
    ino: int


class Differences(NamedTuple):
    """How two snapshots differ. ``altered``: directories of which only the attributes did."""

    files: dict[str, int]  # name -> hint
    came: list[Child]
    went: list[Child]
    altered: list[Child]

    def __bool__(self) -> bool:
        return bool(self.files or self.came or self.went or self.altered)


class Wanted(NamedTuple):
    """A directory to be looked at."""

    token: int
    path: str
    old: Snapshot


class Seen(NamedTuple):
    """It is still there. ``unstamped``: names came or went although its stamps stood still."""

    new: Snapshot
    differences: Differences
    unstamped: bool = False


class Gone(NamedTuple):
    """Its path leads to no directory, or to another one: ``instead`` is that one's (dev, ino)."""

    instead: tuple[int, int] | None = None


class _Gathered:
    """Marks in the making."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers = array("Q")

    def file(self, name: str, info: os.stat_result) -> None:
        self._names.append(name)
        self._numbers.extend((info.st_ino, info.st_size, info.st_mtime_ns & WRAP, info.st_ctime_ns & WRAP))

    def directory(self, name: str, info: os.stat_result) -> None:
        self._names.append(name)
        self._numbers.extend((info.st_dev, info.st_ino, info.st_ctime_ns & WRAP, info.st_mode))

    def keep(self, names: Sequence[str], old: Marks) -> None:
        known = old.by_name()
        for name in names:
            if name in known:
                self._names.append(name)
                self._numbers.frombytes(known[name])

    def marks(self, old: Marks) -> Marks:
        """They, or the old ones if nothing differs: equal values shall not be kept twice."""
        if not self._names:
            return _NONE
        names, numbers = "/".join(self._names), self._numbers.tobytes()
        if names == old.names:
            return old if numbers == old.numbers else Marks(old.names, numbers)
        return Marks(names, numbers)


def take(fd: int, now: float, old: Snapshot | None = None) -> Snapshot:
    """List an open directory and look at each entry. ``now``: monotonic seconds, from before the call.

    An entry that can't be looked at stays what it was.

    Raises:
        OSError: it can't be listed.
    """
    info = os.fstat(fd)
    files, directories = _Gathered(), _Gathered()
    unseen: list[str] = []
    with os.scandir(fd) as entries:
        for number, entry in enumerate(entries):
            if not number % _BREATH:
                alive()
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:
                unseen.append(entry.name)
                continue
            if stat.S_ISDIR(found.st_mode):
                directories.directory(entry.name, found)
            else:
                files.file(entry.name, found)
    old_files, old_directories = (old.files, old.directories) if old is not None else (_NONE, _NONE)
    if unseen:
        files.keep(unseen, old_files)
        directories.keep(unseen, old_directories)
    since = old.since if old is not None and _stamps_stand(old, info) else now
    stamps = (info.st_mtime_ns, info.st_ctime_ns)
    return Snapshot(
        info.st_dev, info.st_ino, *stamps, since, now, files.marks(old_files), directories.marks(old_directories)
    )


def retake(fd: int, old: Snapshot) -> Snapshot | None:
    """Look at the known entries only. None if one can't be looked at or is of another sort: list them, then."""
    files, directories = _Gathered(), _Gathered()
    for marks, gather, sort in ((old.files, files.file, False), (old.directories, directories.directory, True)):
        for number, name in enumerate(marks.names.split("/") if marks.numbers else ()):
            if not number % _BREATH:
                alive()
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                return None
            if stat.S_ISDIR(found.st_mode) is not sort:
                return None
            gather(name, found)
    return old._replace(files=files.marks(old.files), directories=directories.marks(old.directories))


def _stamps_stand(old: Snapshot, info: os.stat_result) -> bool:
    return (old.mtime_ns, old.ctime_ns) == (info.st_mtime_ns, info.st_ctime_ns)


def _may_trust(old: Snapshot, info: os.stat_result, now: float) -> bool:
    """Whether the stamps say for certain that the names are those of the last listing."""
    listed_late = old.listed - old.since >= _GRANULE
    return listed_late and _stamps_stand(old, info) and now - old.listed < _LISTED_ANYWAY


def compare(old: Snapshot, new: Snapshot) -> Differences:
    """How they differ. Where only ctime does, the hint isn't a write's."""
    files: dict[str, int] = {}
    came: list[Child] = []
    went: list[Child] = []
    altered: list[Child] = []
    if new.files != old.files:
        before, after = old.files.by_name(), new.files.by_name()
        for name in {name for name, _ in before.items() ^ after.items()}:
            files[name] = _hint(before.get(name), after.get(name))
    if new.directories != old.directories:
        before, after = old.directories.by_name(), new.directories.by_name()
        for name in {name for name, _ in before.items() ^ after.items()}:
            was, now = before.get(name), after.get(name)
            if was is not None and now is not None and was[:_IDENTITY] == now[:_IDENTITY]:
                altered.append(_child(name, now))
                continue
            went += [_child(name, was)] if was is not None else []
            came += [_child(name, now)] if now is not None else []
    return Differences(files, came, went, altered)


def _hint(was: bytes | None, now: bytes | None) -> int:
    if was is None or now is None:
        return HINTS[IN_CREATE] if was is None else HINTS[IN_DELETE]
    return HINTS[IN_ATTRIB] if was[:CONTENT] == now[:CONTENT] else HINTS[IN_MODIFY]


def _child(name: str, mark: bytes) -> Child:
    dev, ino = array("Q", mark)[:2]
    return Child(name, dev, ino)


def look(wanted: Wanted, now: float, trusting: bool) -> Seen | Gone | None:
    """What became of a directory; None if that can't be told. ``trusting``: what its stamps say may be believed."""
    path, old = wanted.path, wanted.old
    try:
        fd = os.open(path, OPEN)
    except OSError as error:
        return Gone() if error.errno in GONE else None
    try:
        return _look(fd, old, now, trusting)
    except OSError as error:
        return Gone() if error.errno == errno.ESTALE else None
    finally:
        os.close(fd)


def _look(fd: int, old: Snapshot, now: float, trusting: bool) -> Seen | Gone:
    info = os.fstat(fd)
    if (info.st_dev, info.st_ino) != (old.dev, old.ino):
        return Gone((info.st_dev, info.st_ino))
    new = None
    if trusting and _may_trust(old, info, now):
        new = retake(fd, old)
    if new is None:
        new = take(fd, now, old)
    return Seen(new, compare(old, new), _names_differ(old, new) and _may_trust(old, os.fstat(fd), old.listed))


def _names_differ(old: Snapshot, new: Snapshot) -> bool:
    return any(
        was.names != now.names and was.by_name().keys() != now.by_name().keys()
        for was, now in ((old.files, new.files), (old.directories, new.directories))
    )


class Looked(NamedTuple):
    """A slice of a pass is done. ``cpu``: seconds of processor time it took."""

    results: Sequence[Seen | Gone | None]
    cpu: float


def look_at(wanted: Sequence[Wanted], trusting: bool, monotonic: Callable[[], float]) -> Looked:
    """Look at directories, one after the other. Blocking: runs in the pool."""
    begun = time.thread_time()
    results: list[Seen | Gone | None] = []
    for each in wanted:
        alive()
        results.append(look(each, monotonic(), trusting))
    return Looked(results, time.thread_time() - begun)
