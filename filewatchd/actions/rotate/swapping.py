"""The method ``exchange``: the log's name gets a fresh file in one stroke, and the old one waits beside it.

The fresh file is made under the rotation's hidden name, with owner and mode of the log, before it gets the log's. The
names are swapped, so the hidden name has the old inode afterwards; that is how a crash in between is told from one
before: by the inode that the log's name has. The old inode is then the archive, whoever writes to it. Once a lease
proves that nobody does, its end is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

from filewatchd.actions.rotate.freeing import folder_for
from filewatchd.actions.rotate.ledger import Archive, beside, hidden, where_plain
from filewatchd.actions.rotate.machine import Step
from filewatchd.actions.rotate.packing import named, named_at_once, source_of
from filewatchd.actions.rotate.places import (
    Move,
    Names,
    Setting,
    Sync,
    archives_of,
    folder_of,
    fresh,
    inode_at,
    open_log,
    opened,
    remove,
)
from filewatchd.errors import ActionError
from filewatchd.work.attributes import gid_of, take_over, uid_of
from filewatchd.work.exchange import exchange
from filewatchd.work.files import is_written_to
from filewatchd.work.holders import holders_of, holders_of_each
from filewatchd.work.inodes import inode_of


def swap(archive: Archive, setting: Setting, names: Names | None = None) -> Iterator[Move | Sync]:
    """Swap the log with a fresh file. ``names``: the old one is to stay as it is, and gets one of these at once.

    Raises:
        OSError, ActionError: it couldn't be done, and wasn't.
    """
    name = os.path.basename(archive.live)
    spare = hidden(name, archive.txn, "rotated")
    with folder_of(archive.live, setting.beneath, setting.log_on) as folder:
        try:
            target, foreign = make_spare(archive, setting, folder, spare)
            try:
                yield Sync(target)
            finally:
                os.close(target)
            swapped(archive, folder, name, spare)
        except BaseException:
            if inode_at(folder, spare) != archive.inode:
                remove(folder, spare)
            raise
        move = Move(Step.SWAP, plain=beside(archive), skip=0, foreign=foreign)
        if names is not None:
            # What fails here is tried again beside the jobs: it has been swapped.
            with suppress(OSError, ActionError), archives_of(archive.live, setting) as into:
                whole = named_at_once(archive, setting, folder, into, names, move)
                if not os.path.samestat(os.fstat(folder), os.fstat(into)):
                    yield Sync(into)
                move = whole
        yield Sync(folder)
        yield move


def make_spare(archive: Archive, setting: Setting, folder: int, spare: str) -> tuple[int, str]:
    """The fresh file, like the log or as the options want it, and whose it couldn't be. Sync and close it."""
    source = open_log(folder, archive.live)
    try:
        target = fresh(folder, spare)
        try:
            foreign = take_over(
                source, target, owner=uid_of(setting.create_owner), group=gid_of(setting.create_group),
                mode=setting.create_mode, times=False,
            )  # fmt: skip
        except BaseException:
            os.close(target)
            raise
        return target, foreign
    finally:
        os.close(source)


def not_given(live: str, foreign: str, user: str | None) -> str:
    """What is told of a fresh log that isn't the old one's owner's or group's: who could read or write may not now."""
    who = f"the user {user}" if user is not None else "the daemon's user"
    remedy = "make it a member of the group, set the directory's setgid bit, or have root do the rule's work"
    return f"{live} belonged to {foreign}; the fresh log doesn't, for {who} can't give files to it: {remedy}"


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


def swap_again(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """After a crash in `swap`: it had happened, or is undone."""
    name = os.path.basename(archive.live)
    spare = hidden(name, archive.txn, "rotated")
    with folder_of(archive.live, setting.beneath, setting.log_on) as folder:
        if inode_at(folder, spare) == archive.inode:
            yield Sync(folder)
            yield Move(Step.SWAP, plain=beside(archive), skip=0)
            return
        if archive.path is not None and inode_at(folder, name) != archive.inode:  # it may have its own name already
            into = folder_for(archive.live, archive.path, setting)
            try:
                if named(archive, into) is not None:
                    yield Sync(folder)
                    yield Sync(into)
                    yield Move(Step.SWAP, plain=beside(archive), skip=0)
                    return
            finally:
                os.close(into)
        remove(folder, spare)
    yield Move(Step.UNDO, skip=archive.begin)


class Left(NamedTuple):
    """Whether there may be writers, as `writers_left` has it; ``gone``: the swapped file isn't there.

    ``failed``: why that can't be told.
    """

    writers: bool | None = None
    gone: str = ""
    failed: str = ""


def writers_left_each(archives: list[tuple[Archive, Setting]]) -> list[Left]:
    """The same of several swapped files."""
    return [_left(archive, setting) for archive, setting in archives]


def _left(archive: Archive, setting: Setting) -> Left:
    try:
        return Left(writers_left(archive, setting))
    except FileNotFoundError:
        return Left(gone=where_plain(archive))
    except ActionError as error:  # of this one, not of the others
        return Left(failed=str(error))


def writers_left(archive: Archive, setting: Setting) -> bool | None:
    """Whether anybody may still write to the swapped file; None where a lease can't tell and nobody is seen to.

    Raises:
        FileNotFoundError: it is gone.
    """
    path = where_plain(archive)
    with folder_of(path, setting.beneath, setting.log_on) as folder, opened(folder, path) as fd:
        told = is_written_to(fd)
        if told is None and holders_of(fd).writers:
            return True
        return told


def still_written(archive: Archive, setting: Setting) -> str:
    """What is told of a swapped file whose writer doesn't go.

    Raises:
        FileNotFoundError: it is gone.
    """
    path = where_plain(archive)
    with folder_of(path, setting.beneath, setting.log_on) as folder, opened(folder, path) as fd:
        writers = sorted({f"{writer.program} ({writer.pid})" for writer in holders_of(fd).writers})
    who = ", ".join(writers[:3]) or "somebody"
    remedy = "have it open its log anew (see to reopen), or restart it"
    return f"{archive.live} isn't archived yet: {who} still writes to the old file, {path}: {remedy}"


def close(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """Nobody writes to the swapped file any more: this is its end."""
    path = where_plain(archive)
    with folder_of(path, setting.beneath, setting.log_on) as folder, opened(folder, path) as fd:
        yield Sync(fd)
        end = os.fstat(fd).st_size
    yield Move(Step.CLOSE, end=end, position=max(archive.position, archive.begin))


def size_of(archive: Archive, setting: Setting) -> int:
    """The swapped file's size."""
    path = where_plain(archive)
    with folder_of(path, setting.beneath, setting.log_on) as folder, opened(folder, path) as fd:
        return os.fstat(fd).st_size


def readers_behind_each(archives: list[tuple[Archive, Setting]]) -> list[int]:
    """How many readers of each source haven't come to the end of what is archived; none, if it is gone.

    One look through /proc serves all. A source that can't be opened may have one.
    """
    behind = [0] * len(archives)
    sources: dict[int, int] = {}
    with ExitStack() as stack:
        for number, (archive, setting) in enumerate(archives):
            path = source_of(archive)
            try:
                folder = stack.enter_context(folder_of(path, setting.beneath, setting.log_on))
                fd = stack.enter_context(opened(folder, path))
            except FileNotFoundError:
                continue
            except (OSError, ActionError):
                behind[number] = 1
                continue
            if inode_of(fd) == archive.inode:
                sources[number] = fd
        found = holders_of_each(list(sources.values())) if sources else []
    for number, holders in zip(sources, found, strict=True):
        behind[number] = sum(holder.position < archives[number][0].end for holder in holders.readers)
    return behind
