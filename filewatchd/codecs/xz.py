"""xz: a stream's sizes stand in an index at its end, so a file is read from its end (xz-file-format.txt, 2 and 4)."""

from __future__ import annotations

import lzma
from collections.abc import Generator, Iterable

from filewatchd.codecs.base import Buffer, DamagedError, Decoder, Extent, decoded, read_at

name = "xz"
suffix = ".xz"
levels = range(10)
level = 1
extra = None
ready = True
_MAGIC = b"\xfd7zXZ\x00"
_EDGE = 12  # bytes of a stream's header, and of its footer
_MEMORY = 128 << 20  # a decoder that needs more isn't fed


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """One stream; a dictionary larger than a quarter of a member costs memory for nothing."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": 1 << (20 if level <= 1 else 22)}]
    stream = lzma.LZMACompressor(lzma.FORMAT_XZ, lzma.CHECK_CRC64, filters=filters)
    parts: list[Buffer] = [part for piece in pieces if (part := stream.compress(piece))]
    return [*parts, stream.flush()]


def measure(fd: int, offset: int, end: int) -> None:
    """Whether one begins there at all."""
    if read_at(fd, offset, 6) != _MAGIC:
        raise DamagedError(offset, "no xz stream begins there")


def table(fd: int, end: int) -> list[Extent] | None:
    """The streams' extents, from their indexes; None if the file doesn't end with a whole stream."""
    found: list[Extent] = []
    at = end
    while at > 0:
        extent = last_stream(fd, at)
        if extent is None:
            return None
        found.append(extent)
        at -= extent.length
    return found[::-1]


def last_stream(fd: int, end: int) -> Extent | None:
    """The stream that ends at ``end``; None if none does."""
    footer = read_at(fd, end - _EDGE, _EDGE) if end >= 2 * _EDGE else b""
    if footer[10:12] != b"YZ":
        return None
    indexed = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if indexed > min(end - 2 * _EDGE, 1 << 24):
        return None
    try:
        padded, size = sums(read_at(fd, end - _EDGE - indexed, indexed))
    except (IndexError, ValueError):
        return None
    length = padded + indexed + 2 * _EDGE
    whole = length <= end and read_at(fd, end - length, 6) == _MAGIC
    return Extent(length, size) if whole else None


def sums(index: bytes) -> tuple[int, int]:
    """Bytes of all blocks, each rounded up to 4, and of their content.

    Raises:
        ValueError, IndexError: it is no index.
    """
    if index[0] != 0:
        raise ValueError("no index")
    count, at = number(index, 1)
    if count > len(index):
        raise ValueError("more records than bytes")
    padded = size = 0
    for _ in range(count):
        unpadded, at = number(index, at)
        content, at = number(index, at)
        padded += (unpadded + 3) & ~3
        size += content
    return padded, size


def number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where the next begins (1.2)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 56:
            raise ValueError("a number too long")


def decoder() -> Decoder:
    """lzma's, with bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`."""
    return decoded(decoder, (lzma.LZMAError, EOFError), fd, offset, end)
