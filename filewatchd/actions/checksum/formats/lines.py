"""Lines of a binary stream, none held longer than it may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from filewatchd.actions.checksum.formats.entry import MAX_LINE

_CHUNK = 64 * 1024


class Line(NamedTuple):
    """A line without its end; ``text`` is None where it is too long."""

    number: int
    text: bytes | None


def lines(stream: BinaryIO, end: bytes = b"\n", longest: int = MAX_LINE) -> Iterator[Line]:
    """All lines; ``end``: one byte. What follows the last end is a line as well, if there is anything."""
    number, rest, skipping = 0, b"", False
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(end)
        for text in whole:
            number += 1
            yield Line(number, None if skipping or len(text) > longest else text)
            skipping = False
        if len(rest) > longest:
            skipping, rest = True, b""
    if rest or skipping:
        yield Line(number + 1, None if skipping else rest)
