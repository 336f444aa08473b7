"""gzip (RFC 1952): levels 1-3 by Intel's library at ten times zlib's speed, 4-9 by zlib, smaller and slower.

A member of ours has the subfield ``FW`` in its header: its whole length and its content's size, 64 bits each.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterable
from typing import cast

from filewatchd.codecs.base import Buffer, DamagedError, Decoder, Extent, decoded, read_at

try:
    from isal import igzip_lib, isal_zlib

    fast = True
    _ERRORS: tuple[type[Exception], ...] = (cast(type[Exception], isal_zlib.error), zlib.error, EOFError, ValueError)
except ImportError:  # no wheel for this processor
    fast = False
    _ERRORS = (zlib.error,)

name = "gzip"
suffix = ".gz"
levels = range(1, 10)
level = 2
extra = None
ready = True
_HEAD = struct.Struct("<4BL2BH2sHQQ")  # magic, method, flags, mtime, xfl, os, xlen, id, length of the subfield, lengths
_TAIL = struct.Struct("<LL")
_MAGIC = (0x1F, 0x8B, 8)
_FEXTRA, _UNIX, _ID = 4, 3, b"FW"


class Inflate:
    """zlib's decompressor, as a `Decoder`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        """What it has held back, and this."""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def decoder() -> Decoder:
    """The fastest there is."""
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP) if fast else Inflate()


def encode(pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
    """Raw deflate between a header of ours and the usual trailer."""
    library = isal_zlib if fast and level <= 3 else zlib
    stream = library.compressobj(level, wbits=-15)
    crc = 0
    parts: list[Buffer] = []
    for piece in pieces:
        crc = library.crc32(piece, crc)
        if part := stream.compress(piece):
            parts.append(part)
    parts.append(stream.flush())
    length = _HEAD.size + sum(map(len, parts)) + _TAIL.size
    head = _HEAD.pack(*_MAGIC, _FEXTRA, 0, 0, _UNIX, 20, _ID, 16, length, size)
    return [head, *parts, _TAIL.pack(crc, size & 0xFFFFFFFF)]


def measure(fd: int, offset: int, end: int) -> Extent | None:
    """By the subfield; the trailer has to agree."""
    head = read_at(fd, offset, _HEAD.size)
    if len(head) < 10 or tuple(head[:3]) != _MAGIC:
        raise DamagedError(offset, "no gzip member begins there")
    if len(head) < _HEAD.size or not head[3] & _FEXTRA:
        return None
    *_, xlen, ident, sublength, length, size = _HEAD.unpack(head)
    if (ident, sublength) != (_ID, 16) or xlen < 20:
        return None
    if offset + length > end:
        raise DamagedError(offset, "it ends within the member that begins there")
    tail = read_at(fd, offset + length - _TAIL.size, _TAIL.size)
    if length <= _HEAD.size or _TAIL.unpack(tail)[1] != size & 0xFFFFFFFF:
        raise DamagedError(offset, "the member that begins there contradicts itself")
    return Extent(length, size)


def table(fd: int, end: int) -> None:
    """It is read forwards."""


def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
    """See `Codec.decode`."""
    return decoded(decoder, _ERRORS, fd, offset, end)
