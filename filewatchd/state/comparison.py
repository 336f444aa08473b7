"""What differs between the manifest and a scan of the disk, read in a scan's own thread.

Rows are ordered by path, so a directory's own files stand among those of its subdirectories. They are read by range
scan, and at the first row of a subdirectory the scan seeks past all of it (`dir/sub/` to `dir/sub0`, "0" being the
byte after "/"). Every row is read once and every directory costs two seeks: 1 to 1.5 us a file, where a point lookup
of each would cost 3 to 5.

The subdirectories seen on the way are those that the manifest knows. One that is never fed to `TreeComparison` has
vanished with all its rows. In a walk from the top only its frontier is remembered, whatever the size of the tree.

Only what is at hand is read in one transaction: a scan doesn't hold up checkpoints, and the loop writes meanwhile.
So the answers are hints; whoever gets one looks again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from types import TracebackType
from typing import Any, NamedTuple

from filewatchd.errors import StateError
from filewatchd.state import rows as coding
from filewatchd.state.closing import Closing
from filewatchd.state.opening import mark_suspect
from filewatchd.state.places import Standing
from filewatchd.state.rows import PLACE, RACY, decode, encode
from filewatchd.state.sqlite_errors import typed

Identity = tuple[int, int, int, int]  # ino, size, mtime_ns, ctime_ns
Entries = Mapping[str, Identity]  # by name; a file root has one entry, named ""
_ANYWHERE = Standing()
_BENEATH = "manifest WHERE baseline = ? AND path > ? AND path < ?"


class Differences(NamedTuple):
    """Relative paths: not in the manifest; other than in it, or racy there; in it but not among the entries."""

    new: list[str]
    differing: list[str]
    missing: list[str]

    def extend(self, other: Differences) -> None:
        """Add another's."""
        self.new.extend(other.new)
        self.differing.extend(other.differing)
        self.missing.extend(other.missing)


class ManifestReader(Closing):
    """A read-only connection for one scan at a time, in whatever thread. Methods may raise `StateError`."""

    def __init__(self, path: str, damaged: Callable[[StateError], None] = lambda _: None) -> None:
        """``damaged`` is told, in the thread that reads, when the file turns out to be bad."""
        self._path = path
        self._damaged = damaged
        self._lock = threading.Lock()
        with _typed(path, damaged):
            self._connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
            for setting in ("query_only = ON", "cache_size = -1024", "mmap_size = 0", "trusted_schema = OFF"):
                self._connection.execute(f"PRAGMA {setting}")

    def differences(self, baseline: int, directory: str, entries: Entries, *, strict: bool = False) -> Differences:
        """Compare one directory's own files ("" for the root). ``strict``: a differing ctime alone counts, too."""
        return self.differences_many(baseline, [(directory, entries)], strict=strict)

    def differences_many(
        self, baseline: int, directories: Iterable[tuple[str, Entries]], *, strict: bool = False
    ) -> Differences:
        """The differences of several directories, put together. Much cheaper for many small ones."""
        total = Differences([], [], [])
        for _, found, _ in self.compare(baseline, directories, strict):
            total.extend(found)
        return total

    def compare(
        self, baseline: int, directories: Iterable[tuple[str, Entries]], strict: bool, standing: Standing = _ANYWHERE
    ) -> list[tuple[list[bytes], Differences, list[int]]]:
        """For each directory: the directories below it that have rows, its differences, the flags of files elsewhere.

        All are read in one transaction, which holds up checkpoints: pass what is at hand, not a running walk.
        """
        with self._lock, _typed(self._path, self._damaged):
            self._connection.execute("BEGIN")
            try:
                return [
                    self._compare(baseline, name, entries, strict, standing.numbers(name))
                    for name, entries in directories
                ]
            finally:
                self._connection.execute("COMMIT")

    def _compare(
        self, baseline: int, directory: str, entries: Entries, strict: bool, same: Set[int]
    ) -> tuple[list[bytes], Differences, list[int]]:
        remaining = dict(entries)
        cut = len(encode(directory)) + 1 if directory else 0
        subdirectories: list[bytes] = []
        differing: list[str] = []
        missing: list[str] = []
        elsewhere: list[int] = []
        for columns in coding.children(self._connection, baseline, directory, subdirectories):
            path = columns[0]
            entry = remaining.pop(decode(path[cut:]), None)
            moved = columns[5] >= PLACE and bool(same) and columns[5] // PLACE not in same
            if entry is None:
                if moved:
                    elsewhere.append(columns[5])
                else:
                    missing.append(decode(path))
            elif moved or ((entry != columns[1:5] or columns[5] & RACY) and _differs(entry, columns, strict)):
                differing.append(decode(path))
        start = directory + "/" if directory else ""
        return subdirectories, Differences([start + name for name in remaining], differing, missing), elsewhere

    def below(self, baseline: int, directory: bytes, after: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Up to ``limit`` (path, flags) beneath a directory, from the path after ``after`` on, in order."""
        statement = (
            "SELECT path, flags FROM manifest WHERE baseline = ? AND path > ? AND path < ? ORDER BY path LIMIT ?"
        )
        with self._lock, _typed(self._path, self._damaged):
            found = self._connection.execute(statement, (baseline, after or directory + b"/", directory + b"0", limit))
            return found.fetchall()

    def is_empty(self, baseline: int) -> bool:
        """True if the manifest has no row: then there is nothing to compare."""
        with self._lock, _typed(self._path, self._damaged):
            found = self._connection.execute("SELECT 1 FROM manifest WHERE baseline = ? LIMIT 1", (baseline,))
            return found.fetchone() is None

    def of_inodes(self, baseline: int, inodes: Iterable[int]) -> list[str]:
        """Every path with one of these inodes, flagged as a link or not: one pass over the baseline's rows."""
        wanted = {coding.signed(inode) for inode in inodes}
        statement = "SELECT path, ino FROM manifest WHERE baseline = ?"
        with self._lock, _typed(self._path, self._damaged):
            rows = self._connection.execute(statement, (baseline,))
            return [decode(path) for path, ino in rows if ino in wanted]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


class TreeComparison:
    """A whole tree against the manifest: feed every directory once, in any order; `finish` tells what vanished."""

    def __init__(
        self, reader: ManifestReader, baseline: int, *, strict: bool = False, standing: Standing = _ANYWHERE
    ) -> None:
        self._reader = reader
        self._baseline = baseline
        self._standing = standing
        self.unmounted = 0  # known files on filesystems that aren't there
        self._strict = strict
        self._expected: set[bytes] = set()  # known to the manifest, not fed yet
        self._early: set[bytes] = set()  # fed before its parent told of it

    def feed(self, directory: str, entries: Entries) -> Differences:
        """Compare one directory's own files ("" for the root)."""
        return self.feed_many([(directory, entries)])

    def feed_many(self, directories: Sequence[tuple[str, Entries]]) -> Differences:
        """Compare several directories' own files; much cheaper for many small ones. See `ManifestReader.compare`."""
        total = Differences([], [], [])
        compared = self._reader.compare(self._baseline, directories, self._strict, self._standing)
        for (directory, entries), (subdirectories, found, elsewhere) in zip(directories, compared, strict=True):
            self._count(elsewhere)
            for subdirectory in subdirectories:
                self._expect(subdirectory)
            known = subdirectories or found.missing or elsewhere or len(found.new) < len(entries)
            self._arrive(encode(directory), bool(known))
            total.extend(found)
        return total

    def skip(self, directory: str) -> None:
        """A directory that is there but isn't looked into (unreadable, another mount): nothing below it is missing."""
        self._arrive(encode(directory), known=True)

    def finish(self, slice_size: int = 1000) -> Iterator[list[str]]:
        """The missing paths below directories that were never fed, in slices."""
        for directory in sorted(self._expected):
            after = b""
            while rows := self._reader.below(self._baseline, directory, after, slice_size):
                after = rows[-1][0]
                known = [(decode(path), flags) for path, flags in rows]
                gone = [path for path, flags in known if not self._standing.is_elsewhere(path, flags)]
                if len(gone) < len(known):
                    self._count(flags for path, flags in known if self._standing.is_elsewhere(path, flags))
                yield gone

    def _count(self, flags: Iterable[int]) -> None:
        self.unmounted += sum(map(self._standing.is_unmounted, flags))

    def statistics(self) -> dict[str, Any]:
        """The number of directories remembered."""
        return {"expected": len(self._expected), "early": len(self._early)}

    def _expect(self, directory: bytes) -> None:
        if directory in self._early:
            self._early.remove(directory)
        else:
            self._expected.add(directory)

    def _arrive(self, directory: bytes, known: bool) -> None:
        if directory in self._expected:
            self._expected.remove(directory)
        elif known and directory:
            self._early.add(directory)  # without rows below it, no parent will tell of it


def _differs(entry: Identity, columns: coding.Stored, strict: bool) -> bool:
    row = coding.row(*columns[1:])
    if row.flags & RACY:
        return True
    compared = 4 if strict else 3
    return tuple(entry[:compared]) != row[:compared]


class _typed:  # noqa: N801 - reads as a word
    """Turns SQLite's errors into ours."""

    def __init__(self, path: str, damaged: Callable[[StateError], None]) -> None:
        self._path = path
        self._damaged = damaged

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, sqlite3.Error):
            return
        found = typed(error, self._path)
        if isinstance(found, StateError) and found.corrupt:
            mark_suspect(self._path)
            self._damaged(found)
        raise found from error
