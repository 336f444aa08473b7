"""Taking what is archived away from its source; until then every byte of it is in two places.

``collapse`` cuts the archived head off the live file, as far as whole blocks go. A crash must be able to tell whether
that had happened, whatever is at the head by then. So what will be the new head, the rest of what is archived, is made
newlines that begin with the rotation's stamp, the row says so, and only then the head is cut off. A file that begins
with the stamp was cut; any other one wasn't. Last the stamp becomes newlines, too. Nobody who opens the file anew may
come between the last look at its writers and the cut: `work.holders.Hold` keeps them waiting for those milliseconds.
If a look finds that it isn't safe any more, the head is punched out instead.

``punch`` frees the head's blocks but for the first, by which readers know the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EOPNOTSUPP

from filewatchd.actions.rotate.ledger import Archive, stamp, stamped, where_plain
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.packing import free_head, has_name
from filewatchd.actions.rotate.places import (
    Move,
    Setting,
    Sync,
    archives_of,
    folder_name,
    folder_of,
    inode_at,
    open_folder,
    opened,
)
from filewatchd.work.holders import Hold, holders_of
from filewatchd.work.inodes import inode_of
from filewatchd.work.ranges import aligned, collapse, write_out

_NEWLINES = b"\n" * 65536


def free(archive: Archive, setting: Setting, proven: bool) -> Iterator[Move | Sync]:
    """Take the archived bytes away from their source. ``proven``: a collapse must be safe by proof.

    Raises:
        OSError, ActionError: it couldn't be done; every byte is still there.
    """
    if archive.plain is not None:  # a swapped file, or a copy
        yield from unlink(archive, setting)
        return
    with folder_of(archive.live, setting.beneath, setting.log_on) as folder:
        name = os.path.basename(archive.live)
        if inode_at(folder, name) != archive.inode:  # somebody has taken it away: it isn't ours to free
            yield Move(Step.FREE, skip=archive.skip)
            return
        flags = os.O_RDONLY if archive.method == "copy" else os.O_RDWR
        with opened(folder, archive.live, flags) as fd:
            if inode_of(fd) != archive.inode:
                yield Move(Step.FREE, skip=archive.skip)
                return
            yield from _free(archive, fd, proven)


def _free(archive: Archive, fd: int, proven: bool) -> Iterator[Move]:
    match archive.method:
        case "punch":
            yield punched_out(archive, fd)
        case "collapse":
            yield from collapsed(archive, fd, proven)
        case _:
            yield Move(Step.FREE, skip=archive.end)


def unlink(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """The swapped file goes, once the archive has all of it; if it has grown since, it stays for another archive."""
    plain = where_plain(archive)
    if plain == archive.path:  # it is the archive itself
        yield Move(Step.FREE)
        return
    name = os.path.basename(plain)
    with folder_of(plain, setting.beneath, setting.log_on) as folder:
        if inode_at(folder, name) == archive.source:
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_size > archive.end:
                yield Move(Step.FREE, grown=True)
                return
            os.unlink(name, dir_fd=folder)
            yield Sync(folder)
    yield Move(Step.FREE)


def punched_out(archive: Archive, fd: int) -> Move:
    """The head's blocks are freed, the offsets stay."""
    free_head(fd, 0, archive.end, keep_first=True)
    os.fsync(fd)
    return Move(Step.FREE, skip=archive.end)


def collapsed(archive: Archive, fd: int, proven: bool) -> Iterator[Move]:
    """The head is cut off, as far as whole blocks go."""
    cut, mark = archive.cut, stamp(archive.txn)
    if archive.state is State.NAMED:
        cut = aligned(fd, archive.end - len(mark))
        if cut <= 0 or not safe(fd, proven):
            yield punched_out(archive, fd)
            return
        pad(fd, cut, archive.end, mark)
        yield Move(Step.STAMP, cut=cut)
    if not stamped(fd, archive.txn) and not cut_off(fd, cut, proven):
        yield punched_out(archive, fd)
        return
    yield Move(Step.FREE, skip=archive.end - cut)
    pad(fd, 0, len(mark))


def scrub(archive: Archive, setting: Setting) -> None:
    """Take away a stamp that a crash left at the head of a log that was cut."""
    with (
        folder_of(archive.live, setting.beneath, setting.log_on) as folder,
        opened(folder, archive.live, os.O_RDWR) as fd,
    ):
        if inode_of(fd) == archive.inode and stamped(fd, archive.txn):
            pad(fd, 0, len(stamp(archive.txn)))


def cut_off(fd: int, cut: int, proven: bool) -> bool:
    """Cut the head off if that is safe now."""
    write_out(fd, wait=True)
    with Hold(fd) as hold:
        if (proven and not hold.held) or not safe(fd, proven):
            return False
        write_out(fd, wait=True)  # what is dirty the kernel writes while it holds up the writers
        try:
            collapse(fd, cut)
        except OSError as error:
            if error.errno not in (EOPNOTSUPP, 22):
                raise
            return False
    os.fsync(fd)
    return True


def safe(fd: int, proven: bool) -> bool:
    """Whether every writer appends: those that can be seen, or provably all."""
    found = holders_of(fd)
    if not all(writer.appends for writer in found.writers):
        return False
    return not proven or (bool(found.writers) and not found.hidden and found.initial)


def pad(fd: int, start: int, end: int, mark: bytes = b"") -> None:
    """Make a range of what is archived newlines, behind a mark."""
    position = start + os.pwrite(fd, mark, start)
    while position < end:
        position += os.pwrite(fd, _NEWLINES[: end - position], position)
    os.fsync(fd)


def drop_empty(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """The swapped file had nothing that wasn't archived."""
    plain = where_plain(archive)
    name = os.path.basename(plain)
    with folder_of(plain, setting.beneath, setting.log_on) as folder:
        if inode_at(folder, name) == archive.source:
            os.unlink(name, dir_fd=folder)
            yield Sync(folder)
    yield Move(Step.DELETE)


def space(path: str) -> tuple[int, int]:
    """Free and total bytes of the filesystem that an archive is on.

    Raises:
        OSError: it can't be asked.
    """
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def delete(archive: Archive, setting: Setting) -> Iterator[Move | Sync]:
    """Delete an archive that is expiring; another file that has its name by now stays."""
    for path in _paths(archive):
        with suppress(FileNotFoundError):
            yield from _delete(archive, path, setting)
    yield Move(Step.DELETE)


def _delete(archive: Archive, path: str, setting: Setting) -> Iterator[Sync]:
    folder = folder_for(archive.live, path, setting)
    try:
        name = os.path.basename(path)
        ours = inode_at(folder, name) == archive.file if archive.was is not None else has_name(archive, folder, name)
        if ours:
            os.unlink(name, dir_fd=folder)
            yield Sync(folder)
    finally:
        os.close(folder)


def there(archives: Sequence[Archive], setting: Setting) -> set[int]:
    """The rows whose archives are where they say.

    Raises:
        OSError, ActionError: that can't be told.
    """
    return {archive.id for archive in archives if any(_is_there(archive, path, setting) for path in _paths(archive))}


def _is_there(archive: Archive, path: str, setting: Setting) -> bool:
    try:
        folder = folder_for(archive.live, path, setting)
    except FileNotFoundError:
        return False
    try:
        return inode_at(folder, os.path.basename(path)) is not None
    finally:
        os.close(folder)


def _paths(archive: Archive) -> list[str]:
    """Where it is: while numbers shift at one of the two."""
    return [path for path in (archive.path, archive.was) if path is not None]


def folder_for(live: str, path: str, setting: Setting) -> int:
    """The folder that an archive is in: the one that archives go to now, or went to before."""
    above = os.path.dirname(path)
    if above == folder_name(live, setting):
        with archives_of(live, setting) as into:
            return os.dup(into)
    if above.startswith(setting.beneath.rstrip("/") + "/"):
        return open_folder(above, setting.beneath)
    return os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
