"""What a codec is, what a member is, and how damage is told.

An archive is a row of members: each is a whole stream of its format with about 16 MiB of content, so that the
format's own tools read them all as one (gzip(1), zstd(1), lz4(1) and xz(1) promise that for concatenated streams),
while we read any of them alone. To get to one without decompressing those before, a reader hops by lengths:

- gzip has none, so our members carry their own in a subfield of the header (RFC 1952, 2.3.1.1), as BGZF does;
- a zstd frame tells its content's size, and each of its blocks its length (RFC 8878); an lz4 frame likewise;
- an xz file has an index at the end of each stream, so it is read from its end to its beginning;
- bzip2 has no room for a length, and ``none`` needs none.

Where a length is missing (bzip2, other people's gzip) the way is decompressed, in pieces of at most `PIECE`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Protocol

from filewatchd.errors import ActionError

#: Content of a member, in bytes.
MEMBER = 1 << 24
#: What is read, or decompressed, at once: fits into a processor's second cache.
PIECE = 1 << 18

Buffer = bytes | bytearray | memoryview


class DamagedError(ActionError):
    """An archive, or what should be one, can't be read on from a place; trying again doesn't help."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"damaged at byte {offset}: {why}", retryable=False)
        self.offset = offset
        self.why = why

    def __reduce__(self) -> tuple[type[DamagedError], tuple[int, str]]:
        return DamagedError, (self.offset, self.why)


class Member(NamedTuple):
    """One member. ``digest``: SHA-256 of its content in hexadecimal, empty where nobody asked for it."""

    start: int  # where its content begins in the whole content
    size: int  # its content's bytes
    offset: int  # where it begins in the archive
    length: int  # its bytes there
    digest: str = ""

    @property
    def stop(self) -> int:
        """Where its content ends in the whole content."""
        return self.start + self.size

    @property
    def end(self) -> int:
        """Where it ends in the archive."""
        return self.offset + self.length


class Extent(NamedTuple):
    """What a member says of itself: its bytes in the archive, and of content."""

    length: int
    size: int


class Codec(Protocol):
    """A format. All of it is stateless; whatever touches a file reads it by position."""

    @property
    def name(self) -> str: ...
    @property
    def suffix(self) -> str:
        """With its dot; empty for ``none``."""
        ...

    @property
    def levels(self) -> range: ...
    @property
    def level(self) -> int:
        """The level meant where none is named."""
        ...

    @property
    def extra(self) -> str | None:
        """The pip extra that it needs."""
        ...

    @property
    def ready(self) -> bool:
        """Whether what it needs is loaded."""
        ...

    def encode(self, pieces: Iterable[Buffer], size: int, level: int) -> list[Buffer]:
        """A whole member of pieces that make ``size`` bytes. A piece is used before the next is asked for."""
        ...

    def measure(self, fd: int, offset: int, end: int) -> Extent | None:
        """The member at ``offset`` of an archive that ends at ``end``, without decompressing; None: it doesn't say.

        Raises:
            DamagedError: there is no whole member.
        """
        ...

    def table(self, fd: int, end: int) -> list[Extent] | None:
        """All members, for a format that is read from its end; None for the others, and if it doesn't add up."""
        ...

    def decode(self, fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
        """The content of the member at ``offset`` in pieces of at most `PIECE`; returns its length in the archive.

        Raises:
            DamagedError: it is cut off, or its checksum differs.
        """
        ...


class Decoder(Protocol):
    """The way of `lzma.LZMADecompressor` and its kin."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


def read_at(fd: int, offset: int, length: int) -> bytes:
    """So many bytes from there, fewer only at the file's end."""
    data = os.pread(fd, length, offset)
    while 0 < len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def decoded(
    new: Callable[[], Decoder], errors: tuple[type[Exception], ...], fd: int, offset: int, end: int
) -> Generator[bytes, None, int]:
    """`Codec.decode` by a decoder that finds the member's end itself; ``errors`` are what it raises for damage."""
    decoder, at = new(), offset
    while not decoder.eof:
        data = b""
        if decoder.needs_input:
            data = os.pread(fd, min(PIECE, end - at), at) if at < end else b""
            if not data:
                raise DamagedError(offset, "it ends within the member that begins there")
            at += len(data)
        try:
            piece = decoder.decompress(data, PIECE)
        except errors as error:
            raise DamagedError(offset, f"the member that begins there can't be decompressed ({error})") from error
        if piece:
            yield piece
    return at - len(decoder.unused_data or b"") - offset
