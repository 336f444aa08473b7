"""bzip2: the format has no room for lengths, so what isn't recorded elsewhere is decompressed on the way."""

from __future__ import annotations

import bz2
from collections.abc import Generator, Iterable

from filewatchd.codecs.base import Buffer, DamagedError, decoded, read_at

name = "bz2"
suffix = ".bz2"
levels = range(1, 10)
level = 9
extra = None
ready = True


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """One stream."""
    stream = bz2.BZ2Compressor(level)
    parts: list[Buffer] = [part for piece in pieces if (part := stream.compress(piece))]
    return [*parts, stream.flush()]


def measure(fd: int, offset: int, end: int) -> None:
    """Whether one begins there at all."""
    if read_at(fd, offset, 3) != b"BZh":
        raise DamagedError(offset, "no bzip2 stream begins there")


def table(fd: int, end: int) -> None:
    """It has none."""


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`."""
    return decoded(bz2.BZ2Decompressor, (OSError, ValueError, EOFError), fd, offset, end)
