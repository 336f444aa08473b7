"""The method ``copytruncate``: the log is copied beside itself, and emptied at once; the archive is made of the copy.

What is written between the last look at the log and the truncation is lost, so nothing that takes long may lie there.
Most is copied first, in rounds: the log, then what came meanwhile, each synced, until little is left. Then the row says
that there is a copy (``copied``), the last bytes are fetched, and the log is emptied in the next system call. Only then
the copy is synced again, packed, verified and removed, by the same steps as a file that was swapped out.

Copy and log have the same offsets. A crash after ``copied`` asks the disk whether the log was emptied: it was, unless
it still has the copy's last bytes in their place (`rows.emptied`). The copy only grows, so it is always a beginning of
the log until then. A power loss in these milliseconds may take what was fetched last; kill -9 takes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import EINVAL, ENOSYS, EOPNOTSUPP, EXDEV

from filewatchd.actions.rotate.ledger import Archive, emptied, hidden, where_plain
from filewatchd.actions.rotate.machine import Step
from filewatchd.actions.rotate.places import Move, Setting, folder_of, fresh, inode_at, open_log, opened, remove
from filewatchd.errors import ActionError
from filewatchd.work.attributes import take_over
from filewatchd.work.inodes import inode_of

_ROUNDS, _LITTLE = 8, 1 << 20  # copied and synced so often, or until no more came meanwhile
_LAST_ROUNDS, _LAST_LITTLE = 1000, 4096  # the same without a sync, right before the truncation
_PIECE = 1 << 20
_CANT = frozenset({EINVAL, ENOSYS, EOPNOTSUPP, EXDEV})


def copy(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Copy the log, and empty it.

    Raises:
        OSError, ActionError: it couldn't be done; every byte is still there.
    """
    name = spare(archive)
    with (
        folder_of(archive.live, setting.beneath, setting.log_on) as folder,
        opened(folder, archive.live, os.O_RDWR) as log,
    ):
        if inode_of(log) != archive.inode:
            raise ActionError(f"{archive.live} was replaced by another file just now; it is tried again")
        target = fresh(folder, name)
        try:
            try:
                copied(log, target, archive.begin)
                os.fsync(folder)
            except BaseException:
                remove(folder, name)
                raise
            inode = inode_of(target)
            yield Move(Step.COPY, plain=where_plain(archive), copy_ino=inode.ino, copy_btime_ns=inode.btime_ns)
            yield empty(archive, log, target)
        finally:
            os.close(target)


def copied(log: int, target: int, begin: int) -> None:
    """Most of the log, synced; its head that is archived already is a hole."""
    take_over(log, target)
    os.ftruncate(target, begin)
    for _ in range(_ROUNDS):
        came = fetch(log, target)
        os.fsync(target)
        if came < _LITTLE:
            return


def fetch(log: int, target: int) -> int:
    """Copy what the log has behind the end of its copy; returns how much that was."""
    begin = position = os.fstat(target).st_size
    end = os.fstat(log).st_size
    while position < end:
        if not (count := moved(log, target, position, end - position)):
            break
        position += count
    return position - begin


def moved(log: int, target: int, position: int, wanted: int) -> int:
    """Copy a piece, without a copy in memory or on disk where the filesystem can; a short one is read and written."""
    if wanted > _PIECE:
        try:
            return os.copy_file_range(log, target, wanted, position, position)
        except OSError as error:
            if error.errno not in _CANT:
                raise
    return os.pwrite(target, os.pread(log, min(wanted, _PIECE), position), position)


def empty(archive: Archive, log: int, target: int) -> Move:
    """Fetch the last bytes and empty the log."""
    last = os.fstat(log)
    for _ in range(_LAST_ROUNDS):
        if fetch(log, target) < _LAST_LITTLE:
            break
    os.ftruncate(log, 0)
    os.utime(target, ns=(last.st_atime_ns, last.st_mtime_ns))
    os.fsync(target)
    os.fsync(log)
    return truncated(archive, target)


def truncated(archive: Archive, target: int) -> Move:
    """The copy alone has it now."""
    return Move(Step.TRUNCATE, end=os.fstat(target).st_size, position=archive.begin, skip=0)


def empty_again(archive: Archive, setting: Setting) -> Iterator[Move]:
    """After a crash behind ``copied``: the log was emptied, or is now.

    Raises:
        OSError, ActionError: it couldn't be done; every byte is still there.
    """
    with folder_of(archive.live, setting.beneath, setting.log_on) as folder:
        if inode_at(folder, spare(archive)) != archive.source:
            yield Move(Step.UNDO, skip=archive.begin)  # somebody took the copy away; the log may have all
            return
        target = os.open(spare(archive), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if emptied(archive):
                os.fsync(target)
                yield truncated(archive, target)
                return
            log = open_log(folder, archive.live, os.O_RDWR)
            try:
                yield empty(archive, log, target)
            finally:
                os.close(log)
        finally:
            os.close(target)


def discard(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Give up a copy that isn't recorded."""
    with folder_of(archive.live, setting.beneath, setting.log_on) as folder:
        remove(folder, spare(archive))
    yield Move(Step.UNDO, skip=archive.begin)


def spare(archive: Archive) -> str:
    """The copy's name, beside the log."""
    return hidden(os.path.basename(archive.live), archive.txn, "rotated")
