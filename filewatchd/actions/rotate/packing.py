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
from filewatchd.actions.rotate.ledger import Archive, beside, hidden, where_plain
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.places import (
    CHUNK,
    Move,
    Names,
    Setting,
    Sync,
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
from filewatchd.work.inodes import Inode, inode_of
from filewatchd.work.ranges import aligned, block_size, line_end, punch, write_out

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


def pack(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """Write the archive, or the rest of it. The last move says that it is whole, without its name.

    Raises:
        OSError, ActionError: it couldn't be done; what was recorded stands.
    """
    path = source_of(archive)
    with (
        folder_of(path, setting.beneath, setting.log_on) as folder,
        opened(folder, path, os.O_RDWR) as source,
        archives_of(archive.live, setting) as into,
    ):
        if inode_of(source) != (archive.source if archive.plain is not None else archive.inode):
            raise ActionError(f"{path} was replaced by another file; it is tried again")
        recorded = archive.position > archive.begin
        target, archive, lost = open_target(archive, source, into)
        try:
            for found in _pack(archive, setting, source, target):
                recorded |= isinstance(found, Move)  # or about to be, and then it may be all that has these lines
                if lost and isinstance(found, Move):
                    found, lost = found._replace(lost=lost), 0
                yield found
        except BaseException:
            if not recorded:  # nothing of it counts, and space may be short
                remove(into, temporary(archive))
            raise
        finally:
            os.close(target)


def open_target(archive: Archive, source: int, into: int) -> tuple[int, Archive, int]:
    """The archive under its temporary name, cut to what counts of it.

    If somebody has taken it away, it is made anew, of what is still in its source. Returns also how many bytes aren't.
    """
    name = temporary(archive)
    if archive.position > archive.begin:
        try:
            target = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
        except FileNotFoundError:
            start = left_from(source, archive)
            return fresh(into, name), archive._replace(position=start, size=0), start - archive.begin
        os.ftruncate(target, archive.size)
        return target, archive, 0
    return fresh(into, name), archive._replace(position=archive.begin, size=0), 0


def left_from(source: int, archive: Archive) -> int:
    """Where what is left in the source begins, if what was archived of it has been freed already: behind the hole."""
    try:
        hole = os.lseek(source, archive.begin, os.SEEK_HOLE)
        if hole >= aligned(source, archive.position):
            return archive.begin
        return min(os.lseek(source, hole, os.SEEK_DATA), archive.position)
    except OSError:  # no data at all behind it
        return archive.position


def _pack(archive: Archive, setting: Setting, source: int, target: int) -> Iterator[Move | Sync]:
    path = os.path.join(folder_name(archive.live, setting), temporary(archive))
    live = archive.state in (State.BEGUN, State.WRITING)
    short = (archive.method in FREEING or not live) and short_of_space(target, archive.end - archive.position)
    done, size = archive.position, archive.size
    unread: list[codecs.Member] = []
    for member in written(archive, setting, source, target, 1 if short else setting.threads):
        unread.append(member)
        begun_at, done, size = done, member.stop, member.end
        write_out(target)  # while the next ones are made: the sync before they are recorded has less to do
        if done < archive.end and (short or (not live and len(unread) >= _RECORDED)):
            yield Sync(target)
            check(target, setting, unread)
            if short:
                still_there(archive, setting, target)
            yield _member(archive, setting, path, source, target, done, size)
            if short:
                free_head(source, begun_at, done, keep_first=live)
    dress(source, target, setting)
    yield Sync(target)
    check(target, setting, unread)
    yield _member(archive, setting, path, source, target, done, size)


def still_there(archive: Archive, setting: Setting, target: int) -> None:
    """Nothing is freed for an archive that somebody has taken away: it is written into nowhere.

    Raises:
        ActionError: it isn't where it is looked for.
    """
    with archives_of(archive.live, setting) as into:
        if inode_at(into, temporary(archive)) != inode_of(target):
            raise ActionError(f"somebody has taken the unfinished archive of {archive.live} away; it is tried again")


def written(archive: Archive, setting: Setting, source: int, target: int, threads: int) -> Iterator[codecs.Member]:
    """The rest of the archive, member by member."""
    return codecs.compress(
        source, target, codecs.usable(setting.codec), level=setting.level, start=archive.position, end=archive.end,
        at=archive.size, threads=threads, digest=setting.verify,
    )  # fmt: skip


def check(target: int, setting: Setting, unread: list[codecs.Member]) -> None:
    """What is on the disk reads back as it was written."""
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


def give_name(archive: Archive, setting: Setting, names: Names) -> Iterator[Move | Sync]:
    """The archive gets the first of these names that nobody has.

    Raises:
        FileExistsError: all of them are taken.
        OSError, ActionError: it couldn't be done.
    """
    with archives_of(archive.live, setting) as into:
        name = renamed(archive, temporary(archive), into, into, names)
        yield Sync(into)
        yield _named(archive, setting, into, name, archive.codec, archive.file)


def give_plain_name(archive: Archive, setting: Setting, names: Names) -> Iterator[Move | Sync]:
    """The swapped file itself becomes the archive: it is to stay as it is, and on the same filesystem.

    Raises:
        OSError: EXDEV: another filesystem.
    """
    plain = where_hidden(archive)
    with folder_of(plain, setting.beneath, setting.log_on) as folder, archives_of(archive.live, setting) as into:
        name = renamed(archive, os.path.basename(plain), folder, into, names)
        dress_plain(into, name, setting)
        yield Sync(into)
        if not os.path.samestat(os.fstat(folder), os.fstat(into)):
            yield Sync(folder)
        # It is its own source: there is nothing to take away, and no reader to wait for.
        yield _named(archive, setting, into, name, "none", archive.inode)._replace(also=(Step.FREE,))


def named_at_once(archive: Archive, setting: Setting, folder: int, into: int, names: Names, move: Move) -> Move:
    """The same for a file that was swapped just now; ``move``: that step, which becomes all of them."""
    name = _first_free(os.path.basename(beside(archive)), folder, into, names)
    dress_plain(into, name, setting)
    values = _named(archive, setting, into, name, "none", archive.inode).values
    return move._replace(also=(Step.NAME, Step.FREE), **values)


def dress_plain(into: int, name: str, setting: Setting) -> None:
    """An archive that is the log itself has owner and mode already, but for what the options want."""
    if (setting.owner, setting.group, setting.mode) != (None, None, None):
        with opened(into, name, os.O_RDONLY) as fd:
            dress(fd, fd, setting)


def renamed(archive: Archive, old: str, folder: int, into: int, names: Names) -> str:
    """Give it the first name that is free; if a crash came after that, it has it already."""
    try:
        return _first_free(old, folder, into, names)
    except FileNotFoundError:
        name = named(archive, into)
        if name is None:
            raise
        return name


def named(archive: Archive, into: int) -> str | None:
    """The name that it has already, if a crash came after the rename."""
    wanted = archive.inode if archive.state in (State.BEGUN, State.SWAPPED) else archive.file
    others = os.path.basename(where_hidden(archive)), os.path.basename(archive.live)
    with os.scandir(into) as entries:
        names = [entry.name for entry in entries if entry.inode() == wanted.ino and entry.name not in others]
    return next((name for name in names if inode_at(into, name) == wanted), None)


def has_name(archive: Archive, into: int, name: str) -> bool:
    """Whether a name is a whole archive's: by its inode, or, if that is nowhere, by its size: it was copied back."""
    try:
        if inode_at(into, name) == archive.file:
            return True
        found = os.stat(name, dir_fd=into, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return found.st_size == archive.size and named(archive, into) is None


def where_hidden(archive: Archive) -> str:
    """The hidden name of what is about to get its own."""
    return where_plain(archive._replace(path=None)) if archive.state is State.SWAPPED else temporary(archive)


def _first_free(old: str, folder: int, into: int, names: Names) -> str:
    for name in names.all():
        with suppress(FileExistsError):
            rename_free(old, name, folder, into)
            return name
    raise FileExistsError(17, "every name for the archive is taken", names.first)


def _named(archive: Archive, setting: Setting, into: int, name: str, codec: str, inode: Inode) -> Move:
    path = os.path.join(folder_name(archive.live, setting), name)
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
