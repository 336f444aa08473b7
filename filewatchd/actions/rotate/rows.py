"""A row of the ledger, and where the bytes are that it stands for: by inode, never by name.

Where a step can have been taken on disk and not in the row yet, the disk decides: a log that was swapped isn't the
inode that the row names any more; one whose head was cut off begins with the stamp; an archive that was renamed is
found in its folder by its inode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from filewatchd.actions.rotate.machine import UNFINISHED, State
from filewatchd.work.inodes import Inode, inode_of


class Archive(NamedTuple):
    """A row.

    Attributes:
        live: the log's path.
        txn: the rotation's name, part of every temporary name of its.
        ino, btime_ns: the inode that was the log when it began (`work.inodes`).
        begin, end: the range of that inode's bytes in the archive; ``end`` is 0 while it isn't known (swapped).
        cut: how much of its head a collapse takes away.
        position: bytes of the inode below this are in ``path``.
        skip: where the log goes on, as long as it is that inode.
        plain: where that inode is, once it isn't the log (swapped and closed), or its copy (``copytruncate``).
        copy_ino, copy_btime_ns: the copy's inode.
        path: the file with the data; until it is named a temporary one of which ``size`` bytes count.
        file_ino, file_btime_ns: its inode, once it is named.
        was: while numbers shift, where it may still be.
        first_ns, last_ns: no line is older, or younger.
    """

    id: int
    live: str
    state: State
    method: str
    txn: str
    ino: int
    btime_ns: int
    begin: int = 0
    end: int = 0
    cut: int = 0
    position: int = 0
    skip: int = 0
    plain: str | None = None
    path: str | None = None
    was: str | None = None
    size: int = 0
    file_ino: int = 0
    file_btime_ns: int = 0
    codec: str = "none"
    copy_ino: int = 0
    copy_btime_ns: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def inode(self) -> Inode:
        """The inode that was the log."""
        return Inode(self.ino, self.btime_ns)

    @property
    def source(self) -> Inode:
        """The inode that the archive is made of: the log's own, or the copy."""
        return Inode(self.copy_ino, self.copy_btime_ns) if self.copy_ino else self.inode

    @property
    def file(self) -> Inode:
        """The inode of the named archive."""
        return Inode(self.file_ino, self.file_btime_ns)

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done."""
        return self.state in UNFINISHED or self.state is State.EXPIRING


class Part(NamedTuple):
    """A stretch of a log's stream: concatenated, decoded, the parts are the log.

    Attributes:
        codec: of ``filewatchd.codecs``; ``none`` is plain text.
        start: offset in the file (not decoded) at which it begins.
        end: offset behind its last byte; None: to the file's end.
        archive: the row's id; None: the live file.
    """

    path: str
    codec: str
    start: int
    end: int | None
    first_ns: int
    last_ns: int | None
    archive: int | None


_TAIL = 65536  # bytes by which a copy knows its log
_RENAMED = frozenset({State.BEGUN, State.SWAPPED, State.CLOSED})  # a swapped file may have had its own name already
_PATHS = frozenset({"live", "plain", "path", "was"})
COLUMNS = ", ".join(Archive._fields)


def encoded(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as they are in the database: bytes."""
    return {
        name: os.fsencode(value) if name in _PATHS and value is not None else value for name, value in values.items()
    }


def archive_of(row: Sequence[Any]) -> Archive:
    """A row as it comes from the database."""
    values = dict(zip(Archive._fields, row, strict=True))
    values |= {name: os.fsdecode(values[name]) for name in _PATHS if values[name] is not None}
    return Archive(**(values | {"state": State(values["state"])}))


def parts(live: str, archives: Sequence[Archive]) -> list[Part]:
    """A log's whole stream, oldest first: its archives, then the live file (if it is there), every byte once."""
    found = [part for archive in archives for part in _parts(archive)]
    try:
        inode = inode_of(live)
        size = os.stat(live, follow_symlinks=False).st_size
    except OSError:
        return found
    skip = goes_on(live, size, inode, archives)
    since = archives[-1].last_ns if archives else 0
    return [*found, Part(live, "none", skip, None, since, None, None)]


def goes_on(live: str, size: int, inode: Inode, archives: Sequence[Archive]) -> int:
    """The offset at which what isn't archived of a live file begins."""
    mine = [archive for archive in archives if archive.inode == inode]
    if not mine:
        return 0
    newest = mine[-1]
    skip = newest.skip
    if newest.state is State.COPIED and _seems_emptied(newest):
        return 0
    if newest.state is State.STAMPED and stamped(live, newest.txn):
        skip -= newest.cut
    return skip if size >= skip else 0  # somebody else has truncated it


def _parts(archive: Archive) -> Iterator[Part]:
    match archive.state:
        case State.BEGUN if archive.method == "exchange" and not is_at(archive.live, archive.inode):
            yield from _plain(archive)
        case State.COPIED if _seems_emptied(archive):
            yield _part(archive, where_plain(archive), "none", archive.begin, None)
        case State.SWAPPED | State.CLOSED:
            if archive.position > archive.begin and archive.path is not None:
                yield _part(archive, where_written(archive), archive.codec, 0, archive.size)
            yield from _plain(archive)
        case State.WRITING:
            yield _part(archive, where_written(archive), archive.codec, 0, archive.size)
        case State.NAMED | State.STAMPED | State.DONE | State.EXPIRING:
            path = where_named(archive)
            if archive.state is not State.EXPIRING or os.path.lexists(path):
                yield _part(archive, path, archive.codec, 0, None)
        case _:
            return


def _plain(archive: Archive) -> Iterator[Part]:
    start = max(archive.begin, archive.position)
    yield _part(archive, where_plain(archive), "none", start, archive.end or None)


def where_plain(archive: Archive) -> str:
    """Where an inode waits that was swapped out: under its hidden name, or where it was about to get its own."""
    plain = archive.plain or beside(archive)
    if archive.state in _RENAMED and archive.path is not None and not is_at(plain, archive.inode):
        found = found_in(os.path.dirname(archive.path), archive.inode)
        return found if found is not None and found != archive.live else plain
    return plain


def beside(archive: Archive) -> str:
    """The path under which an inode waits that is swapped out."""
    folder, name = os.path.split(archive.live)
    return os.path.join(folder, hidden(name, archive.txn, "rotated"))


def emptied(archive: Archive) -> bool:
    """Whether the log that was copied has lost what the copy has: unless it still has the copy's last bytes there.

    Raises:
        OSError: that can't be told.
    """
    try:
        copy = _tail(where_plain(archive), None)  # the copy first: it may grow until the log is emptied
    except FileNotFoundError:
        return False
    try:
        return inode_of(archive.live) != archive.inode or _tail(archive.live, copy[0]) != copy
    except FileNotFoundError:
        return True


def _seems_emptied(archive: Archive) -> bool:
    """The same for who only reads: what he can't read he will be told of."""
    try:
        return emptied(archive)
    except OSError:
        return False


def _tail(path: str, end: int | None) -> tuple[int, bytes]:
    """A file's last bytes, or those before an offset."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        end = os.fstat(fd).st_size if end is None else end
        start = max(0, end - _TAIL)
        return end, os.pread(fd, end - start, start)
    finally:
        os.close(fd)


def found_in(folder: str, inode: Inode) -> str | None:
    """The path of an inode in a folder."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.inode() == inode.ino]
    except OSError:
        return None
    found = (os.path.join(folder, name) for name in names)
    return next((path for path in found if is_at(path, inode)), None)


def where_written(archive: Archive) -> str:
    """Where an unfinished archive is: under its temporary name, or under its own if a crash came right after that."""
    path = archive.path or ""
    if is_at(path, archive.file):
        return path
    return found_in(os.path.dirname(path), archive.file) or path


def where_named(archive: Archive) -> str:
    """Where a named archive is. While numbers shift its new name may still be another one's: the inode tells."""
    path = archive.path or ""
    moved = archive.was is not None and not is_at(path, archive.file) and is_at(archive.was, archive.file)
    return archive.was if moved and archive.was is not None else path


def hidden(name: str, txn: str, what: str) -> str:
    """A temporary name of a rotation's: nobody else makes such, and it is found again by its transaction."""
    shortened = os.fsdecode(os.fsencode(name)[:180])
    return f".{shortened}.{txn}.{what}"


def stamp(txn: str) -> bytes:
    """What marks the place that becomes the head of a live file when what is before it is cut off."""
    return f"\n#filewatchd-rotation {txn}\n".encode("ascii")


def stamped(path: str | int, txn: str) -> bool:
    """Whether a file begins with the stamp: its archived head was cut off."""
    mark = stamp(txn)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) if isinstance(path, str) else path
    except OSError:
        return False
    try:
        return os.pread(fd, len(mark), 0) == mark
    finally:
        if isinstance(path, str):
            os.close(fd)


def _part(archive: Archive, path: str, codec: str, start: int, end: int | None) -> Part:
    return Part(path, codec, start, end, archive.first_ns, archive.last_ns, archive.id)


def is_at(path: str, inode: Inode) -> bool:
    """Whether this inode has this name."""
    try:
        return inode_of(path) == inode
    except OSError:
        return False
