"""Lists of checksums: sha256sum's format, BSD's, hashdeep's, JSON and CSV, read and written. Nothing is opened here."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple, get_args

from filewatchd.actions.checksum.formats import hashdeep, records, sums
from filewatchd.actions.checksum.formats.entry import LIKE as LIKE
from filewatchd.actions.checksum.formats.entry import STRONG as STRONG
from filewatchd.actions.checksum.formats.entry import Bad as Bad
from filewatchd.actions.checksum.formats.entry import Entry as Entry
from filewatchd.actions.checksum.formats.entry import FormatError as FormatError
from filewatchd.actions.checksum.formats.entry import hasher as hasher

Format = Literal["sha256sum", "bsd", "hashdeep", "json", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
_HEAD = 64 * 1024
_MARK = b"\xef\xbb\xbf"  # that a text is UTF-8, as Windows' editors say


class Reading(NamedTuple):
    """A list being read. ``notes`` is filled while it is: what in it isn't read, in words."""

    format: str
    entries: Iterator[Entry | Bad]
    notes: list[str]


def read(stream: BinaryIO, *, format: Format | None = None, algorithm: str | None = None) -> Reading:  # noqa: A002
    """A list in this format, or what it looks like; sha256sum's and BSD's may be mixed, and end with NULs (`-z`).

    Raises:
        FormatError: hashdeep's header is damaged (while it is read).
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Raw(stream), _HEAD)
    if buffered.peek(len(_MARK)).startswith(_MARK):
        buffered.read(len(_MARK))
    head = buffered.peek(_HEAD)[:_HEAD]
    known = format or _looks_like(head)
    if known == "hashdeep":
        reader = hashdeep.Reader(buffered)
        return Reading(known, iter(reader), reader.notes)
    if known == "json":
        return Reading(known, records.read_json(buffered), [])
    if known == "csv":
        return Reading(known, records.read_csv(buffered), [])
    notes: list[str] = []
    return Reading(known, sums.read(buffered, algorithm=algorithm, zero=b"\0" in head, notes=notes), notes)


class _Raw(io.RawIOBase):
    """Any binary stream, as what a buffer can be put before."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _looks_like(head: bytes) -> Format:
    if head.startswith(hashdeep.MAGIC):
        return "hashdeep"
    if head.startswith(b"{"):
        return "json"
    first = head.partition(b"\n")[0].strip().split(b",")
    return "csv" if {b"path", b"digest"} <= set(first) else "sha256sum"


_LINES: dict[Format, Callable[[Entry], bytes]] = {
    "hashdeep": hashdeep.row_of, "json": records.json_line, "csv": records.csv_line,
}  # fmt: skip


def write(entries: Iterable[Entry], format: Format, *, zero: bool = False) -> Iterator[bytes]:  # noqa: A002
    """The list, piece by piece. ``zero``: as `-z`, of the formats of sha256sum and BSD alone.

    Raises:
        FormatError: the format can't say it: no size or another algorithm (hashdeep), no `-z`.
    """
    if format in ("sha256sum", "bsd"):
        line = sums.sum_line if format == "sha256sum" else sums.bsd_line
        yield from (line(entry, zero=zero) for entry in entries)
        return
    if zero:
        raise FormatError(f"lines of {format} don't end with NULs; sha256sum's and BSD's may")
    if format == "csv":
        yield records.csv_header()
    algorithm = None
    for entry in entries:
        if format == "hashdeep" and algorithm != entry.algorithm:
            if algorithm is not None:
                raise FormatError("a list of hashdeep's has one algorithm; export each rule by itself")
            yield hashdeep.header(entry.algorithm)
            algorithm = entry.algorithm
        yield _LINES[format](entry)
