"""Writing an archive: from the swapped file, the copy, or the head of the live one.

It is written under the rotation's hidden name in the archives' folder, in members of about 16 MiB that stand by
themselves. When a member is on disk and the row says so (``position`` in the source, ``size`` of the archive), a crash
costs nothing before it: the rest is cut off and written anew. Where space is short, and what was archived may go, the
member's range is then punched out of the source: so free space never falls by more than what is under way.

With ``verify`` the archive is read back and compared with its source before the source goes; where space is short,
member by member, which is before each is punched. At last it gets its owner and mode, and only then its name, which is
never taken from another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Archive, hidden, where_plain
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.places import (
    CHUNK,
    Move,
    Setting,
    archives_of,
    folder_name,
    folder_of,
    fresh,
    inode_at,
    opened,
    remove,
)
from filewatchd.errors import ActionError
from filewatchd.work.attributes import gid_of, take_over, uid_of
from filewatchd.work.exchange import rename_free
from filewatchd.work.inodes import inode_of
from filewatchd.work.ranges import aligned, block_size, line_end, punch

FREEING = frozenset({"exchange", "punch", "collapse"})  # methods after which the source may have holes meanwhile
_READY = [codecs.codec(name) for name in codecs.CODECS]  # once a worker has dropped its rights it may not import
_RECORDED = 16  # members between two records where the source stays anyway: a quarter of a GiB
_SPARE = 3 * CHUNK


def source_of(archive: Archive) -> str:
    """The path of the inode that is archived."""
    return where_plain(archive) if archive.plain is not None else archive.live


def temporary(archive: Archive) -> str:
    """The archive's name until it has its own."""
    return hidden(os.path.basename(archive.live), archive.txn, "archive")


def measure(live: str, beneath: str, begin: int) -> int:
    """Where an archive of the live file's lines would end: behind its last whole line; ``begin`` if there is none.

    Raises:
        OSError, ActionError: it can't be read.
    """
    with folder_of(live, beneath) as folder, opened(folder, live) as fd:
        return line_end(fd, begin, os.fstat(fd).st_size)


def pack(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Write the archive, or the rest of it. The last move says that it is whole, without its name.

    Raises:
        OSError, ActionError: it couldn't be done; what was recorded stands.
    """
    path = source_of(archive)
    with (
        folder_of(path, setting.beneath) as folder,
        opened(folder, path, os.O_RDWR) as source,
        archives_of(archive.live, setting) as into,
    ):
        if inode_of(source) != (archive.source if archive.plain is not None else archive.inode):
            raise ActionError(f"{path} was replaced by another file; it is tried again")
        target, archive = open_target(archive, source, into)
        recorded = archive.position > archive.begin
        try:
            for move in _pack(archive, setting, source, target):
                recorded = True  # or about to be, and then it may be all that has these lines
                yield move
        except BaseException:
            if not recorded:  # nothing of it counts, and space may be short
                remove(into, temporary(archive))
            raise
        finally:
            os.close(target)


def open_target(archive: Archive, source: int, into: int) -> tuple[int, Archive]:
    """The archive under its temporary name, cut to what counts of it."""
    name = temporary(archive)
    if archive.position > archive.begin:
        try:
            target = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
        except FileNotFoundError:
            if punched(source, archive):
                raise ActionError(
                    f"the unfinished archive of {archive.live} is gone, and {archive.position - archive.begin} bytes "
                    "with it; the rest is archived",
                    retryable=False,
                ) from None
            return fresh(into, name), archive._replace(position=archive.begin, size=0)
        os.ftruncate(target, archive.size)
        return target, archive
    return fresh(into, name), archive._replace(position=archive.begin, size=0)


def punched(source: int, archive: Archive) -> bool:
    """Whether what was archived has been freed in the source."""
    try:
        return os.lseek(source, archive.begin, os.SEEK_DATA) >= aligned(source, archive.position)
    except OSError:  # no data at all behind it
        return archive.position > archive.begin


def _pack(archive: Archive, setting: Setting, source: int, target: int) -> Iterator[Move]:
    path = os.path.join(folder_name(archive.live, setting), temporary(archive))
    live = archive.state in (State.BEGUN, State.WRITING)
    short = (archive.method in FREEING or not live) and short_of_space(target, archive.end - archive.position)
    done, size = archive.position, archive.size
    unread: list[codecs.Member] = []
    for member in written(archive, setting, source, target, 1 if short else setting.threads):
        unread.append(member)
        begun_at, done, size = done, member.stop, member.end
        if done < archive.end and (short or (not live and len(unread) >= _RECORDED)):
            secure(target, setting, unread)
            yield _member(archive, setting, path, source, target, done, size)
            if short:
                free_head(source, begun_at, done, keep_first=live)
    dress(source, target, setting)
    secure(target, setting, unread)
    yield _member(archive, setting, path, source, target, done, size)


def written(archive: Archive, setting: Setting, source: int, target: int, threads: int) -> Iterator[codecs.Member]:
    """The rest of the archive, member by member."""
    return codecs.compress(
        source, target, codecs.usable(setting.codec), level=setting.level, start=archive.position, end=archive.end,
        at=archive.size, threads=threads, digest=setting.verify,
    )  # fmt: skip


def secure(target: int, setting: Setting, unread: list[codecs.Member]) -> None:
    """What is written is on the disk, and reads back as it was written."""
    os.fsync(target)
    if setting.verify:
        codecs.verify(target, codecs.usable(setting.codec), unread, setting.threads)
    unread.clear()


def _member(archive: Archive, setting: Setting, path: str, source: int, target: int, done: int, size: int) -> Move:
    skip = done if archive.state in (State.BEGUN, State.WRITING) else None
    inode = inode_of(target)
    return Move(
        Step.MEMBER,
        position=done, size=size, path=path, codec=setting.codec, skip=skip,
        file_ino=inode.ino, file_btime_ns=inode.btime_ns,
    )  # fmt: skip


def short_of_space(target: int, wanted: int) -> bool:
    """Whether the archive, were it as large as its source, would leave less than three chunks."""
    found = os.fstatvfs(target)
    return found.f_bavail * found.f_frsize < wanted + _SPARE


def free_head(source: int, start: int, end: int, *, keep_first: bool) -> None:
    """Free what is archived; of a live file not its first block, by which readers know it."""
    first = block_size(source) if keep_first else 0
    with suppress(OSError):  # a filesystem that can't: then there must be room
        punch(source, max(aligned(source, start), first), aligned(source, end))


def dress(source: int, target: int, setting: Setting) -> None:
    """Owner, mode, times and extended attributes of the log, or those that the options want."""
    take_over(source, target, owner=uid_of(setting.owner), group=gid_of(setting.group), mode=setting.mode)


def give_name(archive: Archive, setting: Setting, names: list[str]) -> Iterator[Move]:
    """The archive gets the first of these names that nobody has.

    Raises:
        FileExistsError: all of them are taken.
        OSError, ActionError: it couldn't be done.
    """
    with archives_of(archive.live, setting) as into:
        name = named(archive, into) or _first_free(temporary(archive), into, into, names)
        os.fsync(into)
        yield _named(archive, setting, into, name, archive.codec)


def give_plain_name(archive: Archive, setting: Setting, names: list[str]) -> Iterator[Move]:
    """The swapped file itself becomes the archive: it is to stay as it is, and on the same filesystem.

    Raises:
        OSError: EXDEV: another filesystem.
    """
    plain = where_hidden(archive)
    with folder_of(plain, setting.beneath) as folder, archives_of(archive.live, setting) as into:
        name = named(archive, into) or _first_free(os.path.basename(plain), folder, into, names)
        with opened(into, name, os.O_RDONLY) as fd:
            if (setting.owner, setting.group, setting.mode) != (None, None, None):
                dress(fd, fd, setting)
        os.fsync(into)
        if not os.path.samestat(os.fstat(folder), os.fstat(into)):
            os.fsync(folder)
        yield _named(archive, setting, into, name, "none")
        yield Move(Step.FREE)  # it is its own source: there is nothing to take away, and no reader to wait for


def named(archive: Archive, into: int) -> str | None:
    """The name that it has already, if a crash came after the rename."""
    wanted = archive.inode if archive.state is State.SWAPPED else archive.file
    hidden_name = os.path.basename(where_hidden(archive))
    with os.scandir(into) as entries:
        names = [entry.name for entry in entries if entry.inode() == wanted.ino and entry.name != hidden_name]
    return next((name for name in names if inode_at(into, name) == wanted), None)


def where_hidden(archive: Archive) -> str:
    """The hidden name of what is about to get its own."""
    return where_plain(archive._replace(path=None)) if archive.state is State.SWAPPED else temporary(archive)


def _first_free(old: str, folder: int, into: int, names: list[str]) -> str:
    for name in names:
        with suppress(FileExistsError):
            rename_free(old, name, folder, into)
            return name
    raise FileExistsError(17, "every name for the archive is taken", names[0])


def _named(archive: Archive, setting: Setting, into: int, name: str, codec: str) -> Move:
    path = os.path.join(folder_name(archive.live, setting), name)
    inode = inode_of(name, into)
    size = os.stat(name, dir_fd=into, follow_symlinks=False).st_size
    return Move(
        Step.NAME, path=path, size=size, file_ino=inode.ino, file_btime_ns=inode.btime_ns, codec=codec,
        position=archive.end or None,
    )  # fmt: skip


def discard(archive: Archive, setting: Setting) -> Iterator[Move]:
    """Give up a rotation of which nothing is recorded but its beginning."""
    with archives_of(archive.live, setting) as into:
        remove(into, temporary(archive))
    yield Move(Step.UNDO, skip=archive.begin)
