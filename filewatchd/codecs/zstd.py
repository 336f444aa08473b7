"""Zstandard (RFC 8878), by the extra ``zstd``.

A frame's header says its content's size where the writer knew it (we do), and each block's header its length, so a
frame of 16 MiB is hopped over in at most 128 short reads. Skippable frames, as pzstd writes them, are empty members.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable
from typing import Any

from filewatchd.codecs.base import PIECE, Buffer, DamagedError, Extent, read_at
from filewatchd.codecs.blocks import Block, frame_end

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

name = "zstd"
suffix = ".zst"
levels = range(1, 20)
level = 1
extra = "zstd"
ready = zstandard is not None
_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = 0x184D2A5  # the upper 28 bits
_RLE, _RESERVED = 1, 3  # types of blocks
_WINDOW = 1 << 27  # what zstd(1) itself takes without being told: a bound on memory


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """One frame with size and checksum."""
    stream = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj(size=size)
    parts: list[Buffer] = [part for piece in pieces if (part := stream.compress(piece))]
    return [*parts, stream.flush()]


def measure(fd: int, offset: int, end: int) -> Extent | None:
    """By the headers; a frame without a content size (a writer from a pipe) doesn't say."""
    head = read_at(fd, offset, 18)
    if len(head) >= 8 and int.from_bytes(head[:4], "little") >> 4 == _SKIPPABLE:
        length = 8 + int.from_bytes(head[4:8], "little")
        if offset + length > end:
            raise DamagedError(offset, "it ends within the member that begins there")
        return Extent(length, 0)
    start, size, checksum = header(head, offset)
    stop = frame_end(fd, offset, start, end, 3, block) + checksum
    if stop > end:
        raise DamagedError(offset, "it ends within the member that begins there")
    return None if size is None else Extent(stop - offset, size)


def header(head: bytes, offset: int) -> tuple[int, int | None, int]:
    """Its length, the content's size if it is told, and the checksum's length (RFC 8878, 3.1.1.1)."""
    if head[:4] != _MAGIC or len(head) < 6:
        raise DamagedError(offset, "no zstd frame begins there")
    descriptor = head[4]
    single, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + dictionary
    if len(head) < at + width:
        raise DamagedError(offset, "it ends within the member that begins there")
    size = int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0)
    return at + width, size if width else None, 4 * checksum


def block(head: bytes) -> Block:
    """A block's header: last, type, size."""
    value = int.from_bytes(head, "little")
    kind = value >> 1 & 3
    if kind == _RESERVED:
        return Block(1 << 62, True)  # beyond any end: damaged
    return Block(1 if kind == _RLE else value >> 3, bool(value & 1))


def table(fd: int, end: int) -> None:
    """It is read forwards."""


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`; the frame's end is known from its blocks, so that a cut one is noticed."""
    head = read_at(fd, offset, 18)
    if extent := measure(fd, offset, end):
        length, size = extent
        if not size:
            return length
    else:
        start, size_or_none, checksum = header(head, offset)
        length, size = frame_end(fd, offset, start, end, 3, block) + checksum - offset, -1
        assert size_or_none is None
    source: Any = Window(fd, offset, offset + length)
    done = 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(source, read_size=PIECE)
        while piece := reader.read(PIECE):
            done += len(piece)
            yield piece
    except zstandard.ZstdError as error:
        raise DamagedError(offset, f"the member that begins there can't be decompressed ({error})") from error
    if size not in (-1, done):
        raise DamagedError(offset, f"the member that begins there has {done} bytes of content instead of {size}")
    return length


class Window(io.RawIOBase):
    """A part of a file, to be read by position."""

    def __init__(self, fd: int, offset: int, end: int) -> None:
        self._fd, self._at, self._end = fd, offset, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        data = read_at(self._fd, self._at, min(len(buffer), self._end - self._at))
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)
