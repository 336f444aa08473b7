r"""Searching a log's lines: in one buffer after the other, and in the members of archives by several processes.

A pattern is searched in a whole buffer, and what it finds is widened to the line and asked again, because it may have
matched across a line's end: that is a tenth of the time that asking each line takes. A few constructs can see beyond
their line, or give up there (look-around, ``\A``, possessive repeats): with those each line is asked.

A member of an archive is searched where it is decompressed, in a process of its own, and only the lines found come
back, with the beginnings of lines at its two ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BY_LINE = re.compile(r"\\[AZzB]|\(\?[=!<>(]|[*+?}]\+")


LONGEST = 16 << 20  # bytes of a line: a longer one is taken as several, so that no log can fill the memory


class Query(NamedTuple):
    """What is searched. ``pattern``: a regular expression of Python's for bytes, as text; with ``fixed`` plain text."""

    pattern: str
    fixed: bool = False
    ignore_case: bool = False
    invert: bool = False

    def compiled(self) -> re.Pattern[bytes]:
        """Raises re.error."""
        text = os.fsencode(self.pattern)
        flags = re.MULTILINE | (re.IGNORECASE if self.ignore_case else 0)
        return re.compile(re.escape(text) if self.fixed else text, flags)


class Found(NamedTuple):
    """What a stretch of the stream holds: wanted lines, and what is before its first line end and behind its last."""

    head: bytes
    lines: list[bytes]
    tail: bytes
    whole: bool  # there is a line end


class Searcher:
    """Searches buffers."""

    def __init__(self, query: Query) -> None:
        self._pattern = query.compiled()
        self._invert = query.invert
        self._by_line = query.invert or (not query.fixed and _BY_LINE.search(query.pattern) is not None)

    def matches(self, line: bytes) -> bool:
        """Whether a line (with or without its end) is one that is wanted."""
        return (self._pattern.search(line.removesuffix(b"\n")) is not None) != self._invert

    def lines(self, data: bytes) -> Iterator[bytes]:
        """The wanted lines of whole lines."""
        if self._by_line:
            yield from filter(self.matches, data.splitlines(keepends=True) if b"\r" not in data else _lines(data))
            return
        at = 0
        while (match := self._pattern.search(data, at)) is not None and match.start() < len(data):
            start = data.rfind(b"\n", 0, match.start()) + 1
            end = data.find(b"\n", match.start()) + 1 or len(data)
            line = data[start:end]
            if self.matches(line):
                yield line
            at = end

    def search(self, data: bytes) -> Found:
        """A stretch that may begin and end within a line."""
        first, last = data.find(b"\n") + 1, data.rfind(b"\n") + 1
        if not first:
            return Found(data, [], b"", False)
        return Found(data[:first], list(self.lines(data[first:last])), data[last:], True)


def _lines(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        yield data[at:end]
        at = end


def joined(searcher: Searcher, stretches: Iterable[Found]) -> Iterator[bytes]:
    """The wanted lines of stretches that follow one another; one that is longer than `LONGEST` is several."""
    pending = bytearray()
    for head, lines, tail, whole in stretches:
        pending += head
        while len(pending) > LONGEST:
            if searcher.matches(line := bytes(pending[:LONGEST])):
                yield line
            del pending[:LONGEST]
        if not whole:
            continue
        if searcher.matches(line := bytes(pending)):
            yield line
        yield from lines
        pending = bytearray(tail)
    if pending and searcher.matches(line := bytes(pending)):
        yield line
