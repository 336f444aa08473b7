"""Looking at what is no file: a symlink, which is never followed, and a directory itself.

Both are taken hold of with O_PATH, which opens nothing and needs no right to read. Where a symlink leads is read from
that descriptor (readlinkat(2) with an empty path); no symlink's text ever changes, another one is another inode, so a
look needs no second one. Extended attributes are read through /proc/self/fd, which leads to the symlink itself.

A directory's size, times and number of names change with every file in it, and tell nothing of it. So its identity is
its inode alone, and what is compared are its attributes. A directory's own row has no name (`rows.split`).
"""

from __future__ import annotations

import os
import stat
import time

from filewatchd.actions.checksum.extended import extended
from filewatchd.actions.checksum.hashing import digest_of
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import Attributes
from filewatchd.work.files import is_racy
from filewatchd.work.granularity import COARSE_CLOCK
from filewatchd.work.opening import hold_below

_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def is_directory_row(root: str, wanted: Wanted) -> bool:
    """Whether a directory itself is meant, and not a root that is a file."""
    if wanted.name:
        return False
    return bool(wanted.directory) or os.path.isdir(root)


def look_at_directory(root: str, wanted: Wanted, tracking: Tracking) -> Seen:
    """Look at a directory beneath the root, or at the root.

    Raises:
        OSError, ActionError: it can't be reached, or isn't there.
    """
    if wanted.directory:
        fd = hold_below(os.path.join(root, wanted.directory), root)
    else:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISDIR(status.st_mode):
            return Seen(wanted.directory, wanted.name, Presence.ABSENT)
        identity = FileIdentity(status.st_ino, 0, 0, 0)
        return Seen(wanted.directory, wanted.name, Presence.HERE, identity, _attributes(fd, status, tracking))
    finally:
        os.close(fd)


def look_at_symlink(directory: int, wanted: Wanted, tracking: Tracking) -> Seen | None:
    """Look at a symlink in an open directory; None if something else is there by now.

    Raises:
        OSError: it is gone.
    """
    began = time.clock_gettime_ns(COARSE_CLOCK) if tracking.granularity_ns else 0
    fd = os.open(wanted.name, _HOLD, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISLNK(status.st_mode):
            return None
        target = os.fsencode(os.readlink("", dir_fd=fd))
        attributes = _attributes(fd, status, tracking)._replace(links=status.st_nlink, target=target)
    finally:
        os.close(fd)
    mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
    return Seen(
        wanted.directory,
        wanted.name,
        Presence.HERE,
        FileIdentity(status.st_ino, status.st_size, mtime, ctime),
        attributes,
        tuple(digest_of(algorithm, target) for algorithm in wanted.algorithms),
        racy=bool(began) and is_racy(mtime, ctime, began - tracking.granularity_ns, tracking.granularity_ns),
    )


def _attributes(fd: int, status: os.stat_result, tracking: Tracking) -> Attributes:
    xattr, acl = extended(f"/proc/self/fd/{fd}") if tracking.xattr or tracking.acl else (None, None)
    return Attributes(status.st_mode, status.st_uid, status.st_gid, None, xattr, acl)
