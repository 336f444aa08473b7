"""The method ``exchange``: the log's name gets a fresh file in one stroke, and the old one waits beside it.

The fresh file is made under the rotation's hidden name, with owner and mode of the log, before it gets the log's. The
names are swapped, so the hidden name has the old inode afterwards; that is how a crash in between is told from one
before: by the inode that the log's name has. The old inode is then the archive, whoever writes to it. Once a lease
proves that nobody does, its end is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from filewatchd.actions.rotate.ledger import Archive, hidden, where_plain
from filewatchd.actions.rotate.machine import Step
from filewatchd.actions.rotate.packing import source_of
from filewatchd.actions.rotate.places import Move, Setting, folder_of, fresh, inode_at, open_log, opened, remove
from filewatchd.errors import ActionError
from filewatchd.work.attributes import gid_of, take_over, uid_of
from filewatchd.work.exchange import exchange
from filewatchd.work.files import has_writers
from filewatchd.work.holders import holders_of
from filewatchd.work.inodes import inode_of


def swap(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Swap the log with a fresh file.

    Raises:
        OSError, ActionError: it couldn't be done, and wasn't.
    """
    name = os.path.basename(archive.live)
    spare = hidden(name, archive.txn, "rotated")
    with folder_of(archive.live, setting.beneath) as folder:
        make_spare(archive, setting, folder, spare)
        try:
            swapped(archive, folder, name, spare)
        except BaseException:
            if inode_at(folder, spare) != archive.inode:
                remove(folder, spare)
            raise
        os.fsync(folder)
    yield Move(Step.SWAP, plain=where_plain(archive), skip=0)


def make_spare(archive: Archive, setting: Setting, folder: int, spare: str) -> None:
    """The fresh file: like the log, or as the options want it."""
    source = open_log(folder, archive.live)
    try:
        target = fresh(folder, spare)
        try:
            take_over(
                source, target, owner=uid_of(setting.create_owner), group=gid_of(setting.create_group),
                mode=setting.create_mode, times=False,
            )  # fmt: skip
            os.fsync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def swapped(archive: Archive, folder: int, name: str, spare: str) -> None:
    """Swap the names, and back again if it wasn't the inode that was meant.

    Raises:
        ActionError: somebody had put another file there meanwhile.
    """
    if inode_at(folder, name) != archive.inode:
        raise ActionError(f"{archive.live} was replaced by another file just now; it is tried again")
    exchange(name, spare, folder)
    if inode_at(folder, spare) != archive.inode:
        exchange(name, spare, folder)
        raise ActionError(f"{archive.live} was replaced by another file just now; it is tried again")


def swap_again(archive: Archive, setting: Setting) -> Iterator[Move]:
    """After a crash in `swap`: it had happened, or is undone."""
    name = os.path.basename(archive.live)
    spare = hidden(name, archive.txn, "rotated")
    with folder_of(archive.live, setting.beneath) as folder:
        if inode_at(folder, spare) == archive.inode:
            os.fsync(folder)
            yield Move(Step.SWAP, plain=where_plain(archive), skip=0)
            return
        remove(folder, spare)
    yield Move(Step.UNDO, skip=archive.begin)


def writers_left(archive: Archive, setting: Setting) -> bool | None:
    """Whether anybody may still write to the swapped file; None where a lease can't tell and nobody is seen to.

    Raises:
        FileNotFoundError: it is gone.
    """
    path = where_plain(archive)
    with folder_of(path, setting.beneath) as folder, opened(folder, path) as fd:
        told = has_writers(f"/proc/self/fd/{fd}", follow=True)
        if told is None and holders_of(fd).writers:
            return True
        return told


def close(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Nobody writes to the swapped file any more: this is its end."""
    path = where_plain(archive)
    with folder_of(path, setting.beneath) as folder, opened(folder, path) as fd:
        os.fsync(fd)
        end = os.fstat(fd).st_size
    yield Move(Step.CLOSE, end=end, position=max(archive.position, archive.begin))


def size_of(archive: Archive, setting: Setting) -> int:
    """The swapped file's size."""
    path = where_plain(archive)
    with folder_of(path, setting.beneath) as folder, opened(folder, path) as fd:
        return os.fstat(fd).st_size


def readers_behind(archive: Archive, setting: Setting) -> int:
    """How many readers of the source haven't come to the end of what is archived; none, if it is gone."""
    path = source_of(archive)
    try:
        with folder_of(path, setting.beneath) as folder, opened(folder, path) as fd:
            if inode_of(fd) != archive.inode:
                return 0
            return sum(holder.position < archive.end for holder in holders_of(fd).readers)
    except FileNotFoundError:
        return 0
