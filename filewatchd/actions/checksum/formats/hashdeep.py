"""The format of hashdeep 4.4: two lines of header, comments, and rows ``SIZE,HASH,...,NAME`` with the header's hashes.

It writes names as they are: one with a line break goes on in the next line. So a line that can't begin a row belongs
to the name, or to the comment, before it. Source: hashdeep's README and what hashdeep 4.4 writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from filewatchd.actions.checksum.formats.entry import DIGEST_SIZES, MAX_NAME, Bad, Entry, FormatError, digest_of, fits
from filewatchd.actions.checksum.formats.lines import Line, lines

MAGIC = b"%%%% HASHDEEP-1.0"
_BEST = ("sha256", "sha1", "md5")  # the strongest that is there is the one to check


class Reader:
    """Reads one list. ``notes``, filled by the header: what in it isn't read."""

    def __init__(self, stream: BinaryIO) -> None:
        self.notes: list[str] = []
        self._lines = lines(stream)
        self._columns: Sequence[str] = ()
        self._read: Sequence[str] = ()

    def __iter__(self) -> Iterator[Entry | Bad]:
        """All rows.

        Raises:
            FormatError: the header isn't hashdeep's.
        """
        self._header()
        before: Entry | None = None
        commented = False  # and so the command line in the comment may go on, which has names as well
        for line in self._lines:
            row = self._row(line)
            if before is None and (row is None or (commented and isinstance(row, Bad))):
                commented = True
            elif isinstance(row, Entry):
                if before is not None:
                    yield before
                before = row
            elif row is not None:
                before, bad = _continued(before, line, row)
                if bad is not None:
                    yield bad
        if before is not None:
            yield before

    def _header(self) -> None:
        first, second = next(self._lines, Line(1, b"")), next(self._lines, Line(2, b""))
        columns = (second.text or b"").removesuffix(b"\r").removeprefix(b"%%%% ").decode("ascii", "replace").split(",")
        if not (first.text or b"").startswith(MAGIC) or columns[0] != "size" or columns[-1] != "filename":
            raise FormatError("this is no list of hashdeep's: its header is missing or damaged")
        self._columns = columns[1:-1]
        known = [name for name in self._columns if name in _BEST]
        if not known:
            raise FormatError(f"there is no hash in it that can be checked; {', '.join(_BEST)} can")
        self._read = [name for name in _BEST if name in known][:1]
        unread = [name for name in self._columns if name not in DIGEST_SIZES]
        if unread:
            self.notes.append(f"the hashes {', '.join(unread)[:200]} are not checked; {self._read[0]} is")

    def _row(self, line: Line) -> Entry | Bad | None:
        if line.text is None:
            return Bad(line.number, "the line is longer than any name")
        if line.text.startswith((b"##", b"%%%%")):
            return None
        cells = line.text.split(b",", len(self._columns) + 1)
        if len(cells) != len(self._columns) + 2 or not cells[0].isdigit() or len(cells[0]) > 19:
            return Bad(line.number, "it isn't `SIZE,HASH,...,NAME` as the header says")
        digests = dict(zip(self._columns, cells[1:-1], strict=True))
        algorithm = self._read[0]
        digest = digest_of(digests[algorithm])
        if digest is None or not fits(algorithm, digest):
            return Bad(line.number, f"it has no digest of {algorithm}")
        if not cells[-1] or len(cells[-1]) > MAX_NAME or b"\0" in cells[-1]:
            return Bad(line.number, "no file can have this name")
        return Entry(cells[-1], algorithm, digest, int(cells[0]), line.number)


def _continued(before: Entry | None, line: Line, row: Bad) -> tuple[Entry | None, Bad | None]:
    """The row before with this line added to its name, where that can be; else what is wrong with the line."""
    if before is None or line.text is None:
        return before, row
    name = before.path + b"\n" + line.text
    return (before, row) if len(name) > MAX_NAME or b"\0" in name else (before._replace(path=name), None)


def header(algorithm: str) -> bytes:
    """The lines before the first row of a list of this algorithm.

    Raises:
        FormatError: hashdeep has no such hash.
    """
    if algorithm not in _BEST:
        raise FormatError(f"hashdeep knows no {algorithm}; write another format")
    return b"%s\n%%%%%%%% size,%s,filename\n" % (MAGIC, algorithm.encode())


def row_of(entry: Entry) -> bytes:
    """A row of it.

    Raises:
        FormatError: its size isn't known.
    """
    if entry.size is None:
        raise FormatError("hashdeep's format needs each file's size")
    return b"%d,%s,%s\n" % (entry.size, entry.digest.hex().encode(), entry.path)
