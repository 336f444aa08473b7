"""A log as one stream: its archives, oldest first, then the live file, every byte once, while rotation goes on.

The ledger says which files are the log at a moment (`ledger.parts`), and each of its rows is written before anything
on disk moves. What has been read of the stream is told by two numbers that no rotation changes: the newest row of
which all was read, and how many bytes behind that row's content. For rotation only moves what comes after a row into
newer rows; the content itself stays what it is. So whenever what the ledger says differs from before, the files are
opened anew, as many bytes are dropped as were read, and it goes on.

Bytes of a file that can change under the reader (the live file, whose head may be cut off or punched; a file that was
swapped out and is being compressed) are believed only if the ledger says after reading them what it said before, and
the log's name is still the same inode: what rotation does to them, it wrote down first. They are read by position and
never mapped: a mapping of a file that becomes shorter is a SIGBUS, and its content can't be checked after the fact.

An archive that is missing or damaged is told, and the stream goes on behind it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, NamedTuple

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Part
from filewatchd.codecs import Codec
from filewatchd.errors import ActionError

PIECE = 1 << 20
_BEFORE_ALL = -(1 << 62)


class Piece(NamedTuple):
    """Bytes of the stream, and where they are from. ``made``: what `Stream`'s ``whole`` made of them instead."""

    data: bytes
    part: Part
    made: Any = None


Whole = Callable[[int, Codec, Part], Iterator[tuple[Any, int]]]


class Asked(NamedTuple):
    """What the log is at a moment."""

    parts: Sequence[Part]
    live: tuple[int, int] | None  # device and inode of the log's name


class Missing(NamedTuple):
    """Something of the stream that can't be given."""

    path: str
    why: str


class Stream:
    """Reads one log. ``missing`` tells afterwards what couldn't be given."""

    def __init__(
        self,
        live: str,
        parts: Callable[[], Sequence[Part]],
        *,
        threads: int = 1,
        wanted: Callable[[Part], bool] = lambda part: True,
        whole: Whole | None = None,
    ) -> None:
        """``parts``: asked again and again. ``wanted``: archives of which this is False are left out.

        ``whole``: makes something else of compressed archives that are read from their beginnings, piece by piece
        with how many bytes of content it stands for.
        """
        self._live = live
        self._parts = parts
        self._threads = threads
        self._wanted = wanted
        self._whole = whole
        self._row = _BEFORE_ALL  # the newest of which everything was given
        self._given = 0  # bytes behind it
        self._asked = Asked((), None)
        self.missing: list[Missing] = []

    def __iter__(self) -> Iterator[Piece]:
        """The stream, once."""
        self._asked = self._ask()
        while group := self._next():
            row = group[0].archive
            if row is not None and not all(map(self._wanted, group)):
                self._row, self._given = row, 0
                continue
            whole = yield from self._group(group)
            now = self._ask()
            if not whole or (row is None and now != self._asked):
                self._asked = now
            elif row is None:
                return
            else:
                self._row = row
                self._asked = now

    # ---- what comes next

    def _ask(self) -> Asked:
        """The name is looked at after the ledger was read: a swap in between shows."""
        parts = tuple(self._parts())
        with suppress(OSError):
            found = os.stat(self._live, follow_symlinks=False)
            return Asked(parts, (found.st_dev, found.st_ino))
        return Asked(parts, None)

    def _next(self) -> list[Part]:
        """The parts of the next row, or the live file."""
        left = [part for part in self._asked.parts if part.archive is None or part.archive > self._row]
        return list(takewhile(lambda part: part.archive == left[0].archive, left))

    # ---- reading

    def _group(self, group: Sequence[Part]) -> Generator[Piece, None, bool]:
        """Give what of a row wasn't given yet. Returns False if something moved: then ask again."""
        drop = self._given
        for part in group:
            try:
                fd = self._open(part)
            except OSError as error:
                if self._ask() != self._asked:
                    return False
                self.missing.append(Missing(part.path, error.strerror or str(error)))
                continue
            try:
                drop = yield from self._part(fd, part, drop)
            except ActionError as error:
                self.missing.append(Missing(part.path, str(error)))
                drop = 0
            finally:
                os.close(fd)
            if drop < 0:
                return False
        self._given = drop if group[0].archive is not None else self._given
        return True

    def _open(self, part: Part) -> int:
        """Open a part's file; one that was just renamed isn't there, and the caller asks again.

        Raises:
            OSError: it isn't there, or can't be read.
        """
        fd = os.open(part.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(fd)
        live = part.archive is None
        if not stat.S_ISREG(found.st_mode) or (live and (found.st_dev, found.st_ino) != self._asked.live):
            os.close(fd)
            raise FileNotFoundError(2, "it isn't the file it was", part.path)
        if self._ask() != self._asked:
            os.close(fd)
            raise FileNotFoundError(2, "it has just been moved", part.path)
        return fd

    def _part(self, fd: int, part: Part, drop: int) -> Generator[Piece, None, int]:
        """Give a part's content behind its first ``drop`` bytes. Returns what is left of them, or -1: ask again."""
        if part.codec == "none":
            return (yield from self._plain(fd, part, drop))
        codec = codecs.usable(part.codec)
        if drop:
            size = sum(member.size for member in codecs.members(fd, codec, end=part.end))
            if drop >= size:
                return drop - size
        if self._whole is not None and not drop and codecs.hops(fd, codec, part.end):
            for made, size in self._whole(fd, codec, part):
                self._given += size
                yield Piece(b"", part, made)
            return 0
        for data in decompressed(fd, codec, part.end, drop, self._threads):
            self._given += len(data)
            yield Piece(data, part)
        return 0

    def _plain(self, fd: int, part: Part, drop: int) -> Generator[Piece, None, int]:
        """The same of a file as it is, which may change meanwhile; it ends where it ended when it was opened."""
        end = os.fstat(fd).st_size if part.end is None else part.end
        at = part.start + drop
        if at > end:
            return at - end
        while at < end:
            data = os.pread(fd, min(PIECE, end - at), at)
            if self._ask() != self._asked:
                return -1
            if not data:  # somebody else has truncated it
                return 0
            at += len(data)
            self._given += len(data)
            yield Piece(data, part)
        return 0


def decompressed(fd: int, codec: Codec, end: int | None, start: int, threads: int) -> Iterator[bytes]:
    """An archive's content from ``start``, ahead by threads where that is allowed."""
    if start or threads <= 1 or not codecs.hops(fd, codec, end):
        return codecs.read(fd, codec, start, end=end)
    return codecs.contents(fd, codec, codecs.members(fd, codec, end=end), threads)
