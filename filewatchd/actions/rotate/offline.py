"""Where a log's archives are, for a command that asks no daemon: by the ledger, or by the files' names.

The ledger knows exactly (`stream`). It lies in the daemon's state directory, which only its user may read, and perhaps
the log was never rotated by us: then names have to do, ours and logrotate's, and lines may come twice or be missing
where a rotation has just been cut off. Whoever shows such a stream says so.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Archive, Part, goes_on, parts
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.reader import Reader
from filewatchd.errors import StateError
from filewatchd.work.inodes import Inode, inode_of

_FOLDERS = ("", "archive", "archives", "old")  # beside the log, where archives usually are
_SUFFIXES = tuple(codec.suffix for codec in codecs.CODECS.values() if codec.suffix)
_NUMBER = re.compile(r"[0-9]{1,5}")
_SWAPPED = r"(?P<mark>\d{8}-\d{6}-[0-9a-f]{8})\.rotated"  # not packed yet: `ledger.hidden`
_MARK = r"[.-](?P<mark>[0-9][0-9TZ:_+.-]*?)"


class Ledgers:
    """Asked for one log again and again (`Stream`), it reads the rows anew only when something was written."""

    def __init__(self, reader: Reader, live: str, before: Sequence[Part] = ()) -> None:
        """``before``: archives from before the ledger, see `unknown`."""
        self._before = list(before)
        self._reader = reader
        self._live = live
        self._version = -1
        self._rows: Sequence[Archive] = ()
        self._parts: list[Part] = []

    def rows(self) -> Sequence[Archive]:
        """The log's archives, oldest first.

        Raises:
            StateError: the journal can't be read.
        """
        try:
            version = self._reader.version()
            if version != self._version:
                self._rows = self._reader.archives(self._live)
                self._version = version
                self._parts = []
        except sqlite3.Error as error:
            raise StateError(f"{self._reader.path} can't be read: {error}", path=self._reader.path) from error
        return self._rows

    def __call__(self) -> list[Part]:
        """`ledger.parts`, behind what was there before."""
        return self._before + self._known()

    def _known(self) -> list[Part]:
        rows = self.rows()
        if not all(row.state in (State.DONE, State.GONE) and row.was is None for row in rows):
            return parts(self._live, rows)  # the disk has a say
        if not self._parts:
            self._parts = parts(self._live, rows)
            return self._parts
        with suppress(OSError):
            size = os.stat(self._live, follow_symlinks=False).st_size
            start = goes_on(self._live, size, inode_of(self._live), rows)
            same = self._parts[-1].archive is None and self._parts[-1].start == start
            return self._parts if same else parts(self._live, rows)
        return parts(self._live, rows)


# ---- by names


class Named(NamedTuple):
    """A file that is an archive by its name. ``mark``: the number or time in it."""

    path: str
    codec: str
    mark: str
    mtime_ns: int
    size: int


def named(live: str, folders: Iterable[str] = ()) -> list[Named]:
    """The files that look like archives of a log, oldest first."""
    folder = os.path.dirname(live)
    places = [*(os.path.join(folder, name) for name in _FOLDERS), *folders]
    found: dict[str, Named] = {}
    for place in dict.fromkeys(map(os.path.normpath, places)):
        for each in _in_folder(place, os.path.basename(live)):
            bare = _bare(each.path)
            if bare not in found or each.codec == "none":  # beside the plain file its compression was broken off
                found[bare] = each
    return sorted(found.values(), key=_age([each.mark for each in found.values()]))


def _in_folder(place: str, log: str) -> Iterator[Named]:
    stem, extension = os.path.splitext(log)
    ends = "(?P<packed>" + "|".join(map(re.escape, _SUFFIXES)) + ")?"
    patterns = [re.compile(re.escape(log) + _MARK + ends), re.compile(re.escape(f".{log}.") + _SWAPPED)]
    if extension:
        patterns.append(re.compile(re.escape(stem) + _MARK + re.escape(extension) + ends))
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
        if match is None:
            continue
        path = os.path.join(place, name)
        with suppress(OSError):
            seen = os.stat(path, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                yield Named(path, codecs.codec_of(name).name, match["mark"], seen.st_mtime_ns, seen.st_size)


def _age(marks: Sequence[str]) -> Callable[[Named], Any]:
    """How to sort: numbers fall with time, stamps rise; where both occur the files' own times have to do."""
    if all(_NUMBER.fullmatch(mark) for mark in marks):
        return lambda each: -int(each.mark)
    if not any(_NUMBER.fullmatch(mark) for mark in marks):
        return lambda each: (each.mark, each.mtime_ns)
    return lambda each: (each.mtime_ns, each.mark)


def named_parts(live: str, folders: Iterable[str] = ()) -> list[Part]:
    """The stream that the names tell of."""
    found: list[Part] = []
    last = 0
    for number, each in enumerate(named(live, folders), 1):
        found.append(Part(each.path, each.codec, 0, None, last, each.mtime_ns, number))
        last = each.mtime_ns
    with suppress(OSError):
        found.append(Part(live, "none", _hole(live), None, last, None, None))
    return found


def unknown(live: str, rows: Sequence[Archive], folders: Iterable[str] = ()) -> list[Part]:
    """Archives from before the first that the ledger knows: another program's, or ours of a journal that was lost.

    Those of a log that was copied and emptied are younger than its inode, but none is younger than our first rotation.
    """
    return _numbered([each for each in _foreign(live, rows, folders) if each.mtime_ns < _first_ns(rows)])


def strangers(live: str, rows: Callable[[], Sequence[Archive]], folders: Sequence[str] = ()) -> list[str]:
    """Files with names of archives that are neither ours nor from before: another program may rotate the log, too.

    ``rows``: the log's, read again where there are some: one may have been rotated in between.
    """
    found: list[str] = []
    for turn in range(2):
        known = rows()
        young = [each.path for each in _foreign(live, known, folders) if each.mtime_ns >= _first_ns(known)]
        found = [path for path in young if not path.endswith(".rotated") and (turn == 0 or path in found)]
        if not found:
            break
    return found


def unlisted(live: str, paths: Collection[str], first_ns: int, folders: Iterable[str] = ()) -> list[Part]:
    """As `unknown`, where only the paths of our archives are known."""
    return _numbered([each for each in _others(live, paths, folders) if each.mtime_ns < first_ns])


def _first_ns(rows: Sequence[Archive]) -> int:
    return min((row.last_ns for row in rows), default=0)


def _foreign(live: str, rows: Sequence[Archive], folders: Iterable[str]) -> list[Named]:
    """Our own is known by its inode as well: its number may be shifting just now."""
    ours = {inode for row in rows for inode in (row.file, row.inode)}
    paths = [path for row in rows for path in (row.path, row.plain, row.was) if path is not None]
    return [each for each in _others(live, paths, folders) if _inode(each.path) not in ours]


def _others(live: str, paths: Collection[str], folders: Iterable[str]) -> list[Named]:
    """Archives by name, but for these paths, compressed or not.

    They are looked for where these are, too, but only below the log's folder: elsewhere logs of one name may share a
    folder.
    """
    below, known = os.path.join(os.path.dirname(live), ""), set(map(_bare, paths))
    places = [os.path.dirname(path) for path in paths if path.startswith(below)]
    return [each for each in named(live, [*folders, *places]) if _bare(each.path) not in known]


def _numbered(older: Sequence[Named]) -> list[Part]:
    """Their numbers are below all of ours."""
    return [
        Part(each.path, each.codec, 0, None, 0, each.mtime_ns, number - len(older)) for number, each in enumerate(older)
    ]


def _bare(path: str) -> str:
    return path.removesuffix(codecs.codec_of(path).suffix)


def _inode(path: str) -> Inode | None:
    with suppress(OSError):
        return inode_of(path)
    return None


def _hole(path: str) -> int:
    """Where the data of a file begins whose head was punched out."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_DATA) if os.fstat(fd).st_size else 0
    except OSError:  # all of it is a hole, or no filesystem that tells
        return 0
    finally:
        os.close(fd)
