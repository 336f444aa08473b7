"""Looking at files and listing directories: the blocking work, in a pool thread or as the rule's user.

Nothing is reached through a symlink below the root: a directory is opened beneath the root's descriptor with openat2,
and a file below its directory's. A file may have more names than one; it is only read.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from errno import EACCES, EAGAIN, EINVAL, EIO, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO

from filewatchd.actions.checksum.extended import extended
from filewatchd.actions.checksum.hashing import (
    SMALL,
    ChangedError,
    Hashed,
    hash_file,
    hash_small,
    is_regular,
    open_file,
)
from filewatchd.actions.checksum.seeing import Presence, Progress, Seen, Tracking, Wanted
from filewatchd.actions.checksum.unfiled import is_directory_row, look_at_directory, look_at_symlink
from filewatchd.errors import ActionError
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import Attributes
from filewatchd.work.cached import Cache
from filewatchd.work.files import is_racy
from filewatchd.work.granularity import COARSE_CLOCK
from filewatchd.work.opening import open_directory
from filewatchd.work.pool import alive

GONE = frozenset({ENOENT, ENOTDIR, ELOOP, EINVAL, ENXIO, ENODEV})
_OTHERS = {
    stat.S_IFLNK: "a symlink", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_REPORT = 64 << 20  # bytes between two words on a large file


# ---- files


def look(root: str, wanted: list[Wanted], tracking: Tracking) -> list[Seen]:
    """Look at files, and read those of which content is wanted; large ones are left to `look_large`."""
    return [seen for directory, group in _by_directory(wanted) for seen in _look_in(root, directory, group, tracking)]


def look_large(root: str, wanted: Wanted, tracking: Tracking) -> Iterator[Progress]:
    """Read one file, telling now and then how far it is; the last word is what was seen."""
    try:
        directory = open_directory(root, wanted.directory)
    except (OSError, ActionError) as error:
        yield Progress(0, _missed(wanted, error))
        return
    try:
        yield from _look_slowly(directory, root, wanted, tracking)
    finally:
        os.close(directory)


def _by_directory(wanted: Sequence[Wanted]) -> Iterator[tuple[str, list[Wanted]]]:
    group: list[Wanted] = []
    for each in wanted:
        if group and each.directory != group[0].directory:
            yield group[0].directory, group
            group = []
        group.append(each)
    if group:
        yield group[0].directory, group


def _look_in(root: str, directory: str, wanted: list[Wanted], tracking: Tracking) -> Iterator[Seen]:
    alive()
    try:
        fd = open_directory(root, directory)
    except (OSError, ActionError) as error:
        yield from (_directory(root, each, tracking) or _missed(each, error) for each in wanted)
        return
    cache, directories = Cache(), tracking.directories
    try:
        for each in wanted:
            own = _directory(root, each, tracking) if directories else None
            yield own or _look_at(fd, root, each, tracking, cache)
    finally:
        os.close(fd)


def _directory(root: str, wanted: Wanted, tracking: Tracking) -> Seen | None:
    """What is seen of a directory itself; None if that isn't asked for."""
    if not tracking.directories or not is_directory_row(root, wanted):
        return None
    try:
        return look_at_directory(root, wanted, tracking)
    except (OSError, ActionError) as error:
        return _missed(wanted, error)


def _look_at(directory: int, root: str, wanted: Wanted, tracking: Tracking, cache: Cache) -> Seen:
    began = time.clock_gettime_ns(COARSE_CLOCK) if tracking.granularity_ns else 0
    try:
        fd = _open(directory, root, wanted, tracking)
    except OSError as error:
        return _symlink(directory, wanted, tracking, error) or _missed(wanted, error, directory)
    try:
        status = os.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:
            return _absent(wanted, status)
        if not wanted.algorithms:
            return _seen(fd, wanted, status, tracking, began, (), None, 0)
        if status.st_size > SMALL:
            return _seen(fd, wanted, status, tracking, began, (), None, 0)._replace(presence=Presence.LARGE)
        hashed = _hash(fd, status, wanted, tracking, cache)
        return _seen(fd, wanted, hashed.status, tracking, began, hashed.digests, hashed.prefix, hashed.count)
    except ChangedError as error:
        seen = _seen(fd, wanted, os.fstat(fd), tracking, began, (), None, 0)
        return seen._replace(presence=Presence.UNSTABLE, reason=str(error))
    except OSError as error:
        return _missed(wanted, error)
    finally:
        os.close(fd)


def _symlink(directory: int, wanted: Wanted, tracking: Tracking, error: OSError) -> Seen | None:
    """What is seen of a symlink, if that is why there is no file to open and the rule has rows of such."""
    if not tracking.symlinks or error.errno != ELOOP or not wanted.name:
        return None
    try:
        return look_at_symlink(directory, wanted, tracking)
    except OSError as gone:
        return _missed(wanted, gone)


def _hash(fd: int, status: os.stat_result, wanted: Wanted, tracking: Tracking, cache: Cache) -> Hashed:
    """The digests of a small file."""
    if status.st_size and wanted.prefix < 0 and len(wanted.algorithms) == 1 and not tracking.growing:
        hashed = hash_small(fd, status, wanted.algorithms[0], cache)
        if hashed is not None:
            return hashed
    for step in hash_file(fd, wanted.algorithms, cache, prefix=wanted.prefix, growing=tracking.growing):
        if isinstance(step, Hashed):
            return step
    raise ChangedError("it could not be read")


def _look_slowly(directory: int, root: str, wanted: Wanted, tracking: Tracking) -> Iterator[Progress]:
    began = time.clock_gettime_ns(COARSE_CLOCK) if tracking.granularity_ns else 0
    try:
        fd = _open(directory, root, wanted, tracking)
    except OSError as error:
        yield Progress(0, _missed(wanted, error))
        return
    try:
        if not is_regular(os.fstat(fd)):
            yield Progress(0, _absent(wanted, os.fstat(fd)))
            return
        told = 0
        for step in hash_file(fd, wanted.algorithms, Cache(), prefix=wanted.prefix, growing=tracking.growing):
            if isinstance(step, Hashed):
                seen = _seen(fd, wanted, step.status, tracking, began, step.digests, step.prefix, step.count)
                yield Progress(step.count, seen)
            elif step - told >= _REPORT or step < told:
                told = step
                yield Progress(step)
    except ChangedError as error:
        seen = _seen(fd, wanted, os.fstat(fd), tracking, began, (), None, 0)
        yield Progress(0, seen._replace(presence=Presence.UNSTABLE, reason=str(error)))
    except OSError as error:
        yield Progress(0, _missed(wanted, error))
    finally:
        os.close(fd)


def _open(directory: int, root: str, wanted: Wanted, tracking: Tracking) -> int:
    if not wanted.name:  # the root is the file; its path may lead through links
        return open_file(os.path.basename(root), directory, follow=True)
    return open_file(wanted.name, directory, follow=tracking.follow)


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False) if name else None
    except OSError:
        return None


def _absent(wanted: Wanted, status: os.stat_result | None = None) -> Seen:
    """No file is there; ``status``: what has its name."""
    word = None if status is None else _OTHERS.get(stat.S_IFMT(status.st_mode))
    reason = "" if word is None else f"{word} has its name now"
    return Seen(wanted.directory, wanted.name, Presence.ABSENT, reason=reason)


def _missed(wanted: Wanted, error: Exception, directory: int | None = None) -> Seen:
    number = error.errno if isinstance(error, OSError) else EACCES
    if number in GONE or isinstance(error, ActionError):
        return _absent(wanted, None if directory is None else _status(wanted.name, directory))
    if number == EAGAIN:
        reason = "somebody holds a lease on it"
        return Seen(wanted.directory, wanted.name, Presence.UNSTABLE, reason=reason)
    words = os.strerror(number or 0)
    remedy = "check the disk (journalctl -k)" if number == EIO else "let the rule's user read it, or exclude it"
    return Seen(wanted.directory, wanted.name, Presence.UNREADABLE, reason=f"{words}; {remedy}")


def _seen(
    fd: int,
    wanted: Wanted,
    status: os.stat_result,
    tracking: Tracking,
    began: int,
    digests: tuple[bytes, ...],
    prefix: bytes | None,
    count: int,
) -> Seen:
    mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
    racy = False
    if began:
        since = began - tracking.granularity_ns
        racy = (mtime >= since or ctime >= since) and is_racy(mtime, ctime, since, tracking.granularity_ns)
    xattr = acl = None
    if tracking.xattr or tracking.acl:
        xattr, acl = extended(fd)
    return Seen(
        wanted.directory,
        wanted.name,
        Presence.HERE,
        FileIdentity(status.st_ino, status.st_size, mtime, ctime),
        Attributes(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, xattr, acl),
        digests,
        prefix,
        racy,
        "",
        count,
    )
