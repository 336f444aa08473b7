"""LZ4 frames, by the extra ``lz4``: the content's size and each block's length stand in them (lz4_Frame_format.md)."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from filewatchd.codecs.base import Buffer, DamagedError, Decoder, Extent, decoded, read_at
from filewatchd.codecs.blocks import Block, frame_end

try:
    from lz4 import frame  # type: ignore[import-untyped]
except ImportError:
    frame = None

name = "lz4"
suffix = ".lz4"
levels = range(13)
level = 0
extra = "lz4"
ready = frame is not None
_MAGIC = b"\x04\x22\x4d\x18"
_SKIPPABLE = 0x184D2A5  # the upper 28 bits


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """One frame with size and checksum."""
    stream = frame.LZ4FrameCompressor(block_size=frame.BLOCKSIZE_MAX1MB, compression_level=level, content_checksum=True)
    parts: list[Buffer] = [stream.begin(size)]
    parts += [part for piece in pieces if (part := stream.compress(piece))]
    return [*parts, stream.flush()]


def measure(fd: int, offset: int, end: int) -> Extent | None:
    """By the headers; a frame without a content size doesn't say."""
    head = read_at(fd, offset, 15)
    if len(head) >= 8 and int.from_bytes(head[:4], "little") >> 4 == _SKIPPABLE:
        length = 8 + int.from_bytes(head[4:8], "little")
        if offset + length > end:
            raise DamagedError(offset, "it ends within the member that begins there")
        return Extent(length, 0)
    if head[:4] != _MAGIC or len(head) < 7:
        raise DamagedError(offset, "no lz4 frame begins there")
    flags = head[4]
    sized, per_block, whole, dictionary = flags >> 3 & 1, flags >> 4 & 1, flags >> 2 & 1, flags & 1
    start = 7 + 8 * sized + 4 * dictionary

    def block(data: bytes) -> Block:
        value = int.from_bytes(data, "little")
        return Block((value & 0x7FFFFFFF) + 4 * per_block, False) if value else Block(4 * whole, True)

    stop = frame_end(fd, offset, start, end, 4, block)
    return Extent(stop - offset, int.from_bytes(head[6:14], "little")) if sized else None


def table(fd: int, end: int) -> None:
    """It is read forwards."""


def decoder() -> Decoder:
    """lz4's own."""
    made: Decoder = frame.LZ4FrameDecompressor()
    return made


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`."""
    extent = measure(fd, offset, end)
    if extent is not None and not extent.size:
        return extent.length
    stop = end if extent is None else offset + extent.length
    return (yield from decoded(decoder, (RuntimeError, ValueError, EOFError), fd, offset, stop))
