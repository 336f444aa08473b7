"""``none``: the content itself, in members of the usual size."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable

from filewatchd.codecs.base import MEMBER, PIECE, Buffer, DamagedError, Extent

name = "none"
suffix = ""
levels = range(1)
level = 0
extra = None
ready = True


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """Copies, because a piece is used again."""
    return [bytes(piece) for piece in pieces]


def measure(fd: int, offset: int, end: int) -> Extent:
    """As much as there is."""
    length = min(MEMBER, end - offset)
    return Extent(length, length)


def table(fd: int, end: int) -> None:
    """It is read forwards."""


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`."""
    at, stop = offset, offset + min(MEMBER, end - offset)
    while at < stop:
        piece = os.pread(fd, min(PIECE, stop - at), at)
        if not piece:
            raise DamagedError(at, "it became shorter while it was read")
        at += len(piece)
        yield piece
    return at - offset
