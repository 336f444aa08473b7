"""Where a rotation's files are, reached so that a hostile directory can't turn a name against us.

Everything happens below descriptors of two folders: the log's, opened beneath the rule's root without following a
link, and the archives'. The functions of this package that do file work run where `Context.worker` runs them, so all
they get are plain values: the row, and `Setting`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from filewatchd.actions.rotate import standing
from filewatchd.actions.rotate.moves import Move as Move
from filewatchd.actions.rotate.moves import Sync as Sync
from filewatchd.errors import ActionError
from filewatchd.work.attributes import tolerated
from filewatchd.work.inodes import Inode, inode_of
from filewatchd.work.opening import check, hold_below

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
CHUNK = 16 << 20
_ELSEWHERE = "mount it again, or give `into` another directory"


class Setting(NamedTuple):
    """What a rotation needs of the options. ``beneath``: the directory below which no link is followed.

    ``log_on``, ``into_on``: where something is to be mounted for the log's folder and the archives' (`standing`).
    """

    beneath: str
    into: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    create_owner: str | None = None
    create_group: str | None = None
    create_mode: int | None = None
    codec: str = "none"
    level: int | None = None
    verify: bool = True
    threads: int = 1
    log_on: str = ""
    into_on: str = ""


class Names(NamedTuple):
    """The names that an archive may get, in the order in which they are tried: the base, then with a number.

    ``kept``: those of other archives, which are left out also while their files aren't there: a filesystem may be away.
    """

    base: str
    suffix: str = ""
    most: int = 1
    kept: frozenset[str] = frozenset()

    @property
    def first(self) -> str:
        """The one that it gets unless that is taken."""
        return next(self.all(), self.base + self.suffix)

    def all(self) -> Iterator[str]:
        """All of them."""
        numbered = (f"{self.base}-{number}{self.suffix}" for number in range(2, self.most + 1))
        return (name for name in (self.base + self.suffix, *numbered) if name not in self.kept)


@contextmanager
def folder_of(live: str, beneath: str, on: str = "") -> Iterator[int]:
    """The folder a log is in. ``on``: where something is to be mounted for it.

    Raises:
        OSError, ActionError: it can't be opened, a link is on the way, or nothing is mounted there.
    """
    standing.check(None, os.path.dirname(live), on)  # else the root may be missing, and that tells nobody why
    fd = open_folder(os.path.dirname(live), beneath)
    try:
        standing.check(fd, os.path.dirname(live), on)
        yield fd
    finally:
        os.close(fd)


def open_folder(path: str, beneath: str) -> int:
    """A folder at or beneath a trusted one."""
    if path.rstrip("/") == beneath.rstrip("/"):
        return os.open(beneath, _FOLDER)
    return hold_below(path, beneath, _FOLDER | os.O_NOFOLLOW)


@contextmanager
def archives_of(live: str, setting: Setting) -> Iterator[int]:
    """The folder that the archives of a log go to; it is made if it is missing.

    Raises:
        OSError, ActionError: it can't be opened or made, a link is on the way below the log's folder, or nothing is
            mounted where its filesystem was.
    """
    folder = folder_name(live, setting)
    standing.check(None, folder, setting.into_on, _ELSEWHERE)
    if setting.into is not None and os.path.isabs(setting.into):
        os.makedirs(setting.into, 0o750, exist_ok=True)
        fd = os.open(setting.into, _FOLDER)
    else:
        fd = open_folder(os.path.dirname(live), setting.beneath)
        for step in filter(None, (setting.into or "").split("/")):
            if step != ".":
                fd = _below(fd, step, live)
    try:
        standing.check(fd, folder, setting.into_on, _ELSEWHERE)
        yield fd
    finally:
        os.close(fd)


def _below(above: int, name: str, live: str) -> int:
    """A folder in a folder, which is closed; made like it where it is missing."""
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=above)
        except FileExistsError:
            return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        like = os.fstat(above)
        with tolerated():
            os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, stat.S_IMODE(like.st_mode) & ~0o002)
        os.fsync(above)
        return fd
    except NotADirectoryError as error:
        why = "it is a symlink or a file; name the directory that is meant by its absolute path"
        raise ActionError(f"archives of {live} can't be put into {name}: {why}") from error
    finally:
        os.close(above)


def folder_name(live: str, setting: Setting) -> str:
    """The path of the archives' folder."""
    return folder_in(live, setting.into)


def folder_in(live: str, into: str | None) -> str:
    """The same, by what the options say."""
    return os.path.normpath(os.path.join(os.path.dirname(live), into or ""))


def open_log(folder: int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open a regular file with one name in a folder; the caller closes it.

    Raises:
        OSError, ActionError: it can't be opened, or is something else.
    """
    held = os.open(os.path.basename(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        check(held, path, None)
        return os.open(f"/proc/self/fd/{held}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)


@contextmanager
def opened(folder: int, path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """As `open_log`, closed at the end of the context."""
    fd = open_log(folder, path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def inode_at(folder: int, name: str) -> Inode | None:
    """The inode that has this name in a folder, if any.

    Raises:
        OSError: that can't be told; who took it for missing might remove what is there.
    """
    try:
        return inode_of(name, folder)
    except FileNotFoundError:
        return None


def remove(folder: int, name: str) -> None:
    """Remove a name, if it is there."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    os.fsync(folder)


def fresh(folder: int, name: str) -> int:
    """A new file that only we may open; one that an earlier try of the same rotation left is removed first."""
    remove(folder, name)
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
