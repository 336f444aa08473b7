"""A rule's part of the index: what it knows of files, and what becomes of it after a look; all in pool threads.

A batch of looks is judged and written in one transaction, together with how far the run has come that looked: so a
kill at any moment leaves rows, findings and cursor that agree, and the work since then is simply done again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from filewatchd.actions.checksum.parcels import Sheet
from filewatchd.actions.checksum.seeing import Listing
from filewatchd.actions.checksum.settling import (
    Looked,
    Policy,
    Settled,
    Settling,
    files_in,
    grouped,
    is_beginning,
    where_its_row_is,
)
from filewatchd.clock import Clock
from filewatchd.state.index.editing import Told
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import (
    DIRECTORY,
    WAITS,
    Change,
    Record,
    Run,
    State,
    Verdict,
    encode,
    stamp,
)
from filewatchd.state.index.writing import Index


class Mark(NamedTuple):
    """How far a run has come, written with its rows."""

    run: int
    root: str
    cursor: bytes | None


class Ledger:
    """One root of one rule. Methods may raise `StateError`; `settle` is called one at a time."""

    def __init__(self, index: Index, rule: str, root: str, clock: Clock, former: str | None = None) -> None:
        """``former``: the rule's name before it was renamed."""
        self.index = index
        self.root = root
        self.id = index.root(rule, root, former)
        self._clock = clock
        self._rule = rule
        self._reader = Reader(index.path)
        self._lock = threading.Lock()

    # ---- reading

    def is_blank(self) -> bool:
        """Whether no file is known, and nothing waits."""
        if self.has_waiting():
            return False
        with self._lock:
            return not self._reader.connection.execute(
                "SELECT 1 FROM files JOIN directories ON id = dir WHERE root = ? LIMIT 1", (self.id,)
            ).fetchone()

    def built(self) -> bool:
        """Whether the first build has ended."""
        with self._lock:
            return any(root.id == self.id and root.built_ns is not None for root in self._reader.roots())

    def is_older(self, since_ns: int) -> bool:
        """Whether it was built before that time."""
        with self._lock:
            return any(root.id == self.id and (root.built_ns or 0) < since_ns for root in self._reader.roots())

    def rows(self, paths: Iterable[str]) -> dict[str, Record]:
        """The rows of those paths that have one."""
        with self._lock:
            return {path: row for path in paths if (row := self._reader.row(self.id, path)) is not None}

    def rows_of(self, listing: Listing) -> dict[str, Record]:
        """By name, the rows of the files of a listing, and of those that aren't in it any more."""
        last = None if listing.whole or not listing.entries else listing.entries[-1].name
        with self._lock:
            return self._reader.names(self.id, listing.directory, listing.after, last)

    def filesystem_of(self, directory: str) -> str:
        """The filesystem a directory's files were last seen on; "" if that isn't known."""
        with self._lock:
            found = self._reader.connection.execute(
                "SELECT f.name FROM directories d JOIN filesystems f ON f.id = d.filesystem"
                " WHERE d.root = ? AND d.path = ?",
                (self.id, encode(directory)),
            ).fetchone()
        return str(found[0]) if found else ""

    def waiting(self, path: str) -> list[Change]:
        """What waits of a path."""
        with self._lock:
            return self._reader.waiting(self.id, path)

    def has_waiting(self) -> bool:
        """Whether anything waits."""
        with self._lock:
            return bool(self._reader.waiting_by_state(self.id))

    def directories(self, below: str) -> list[str]:
        """Every directory with rows."""
        with self._lock:
            return [path for _, path in self._reader.directories(self.id, below)]

    def beneath(self, directory: str) -> dict[str, Record]:
        """The rows directly in a directory, by name."""
        with self._lock:
            return self._reader.names(self.id, directory, "", None)

    def racy(self, limit: int = 1000) -> list[str]:
        """Paths whose rows are racy."""
        with self._lock:
            return self._reader.racy(self.id, limit)

    def former(self, path: str) -> frozenset[bytes]:
        """Digests that a path had before."""
        with self._lock:
            return frozenset(
                record.digest for _, record in self._reader.versions(self.id, path) if record.digest is not None
            )

    def by_inode(self, inodes: Iterable[int]) -> dict[int, tuple[str, Record]]:
        """Known files by inode number; reads all rows once."""
        with self._lock:
            return self._reader.by_inode(self.id, set(inodes))

    def some(self, directory: str, after: str, limit: int) -> dict[str, Record]:
        """By name, the next rows directly in a directory, but for its own."""
        with self._lock:
            return self._reader.names(self.id, directory, after, None, limit, DIRECTORY)

    def knows_itself_only(self) -> bool:
        """Whether there is no row but that of the root directory itself."""
        with self._lock:
            return not self._reader.connection.execute(
                "SELECT 1 FROM files JOIN directories ON id = dir WHERE root = ?"
                f" AND NOT (flags >= {DIRECTORY} AND path = x'') LIMIT 1",
                (self.id,),
            ).fetchone()

    def directory_after(self, directory: str) -> str | None:
        """The next directory with rows, in order."""
        with self._lock:
            return self._reader.directory_after(self.id, directory)

    def unreadable(self) -> set[str]:
        """Paths of which it waits that they couldn't be read."""
        with self._lock:
            return {c.path for c in self._reader.changes(root=self.id, verdicts=(Verdict.UNREADABLE,))}

    def selection(self) -> str | None:
        """By which patterns the root was built; None if it wasn't yet."""
        with self._lock:
            found = next(root for root in self._reader.roots() if root.id == self.id)
        return found.selection if found.built_ns is not None else None

    def count(self, below: str = "") -> int:
        """How many rows there are, or beneath a directory."""
        with self._lock:
            return self._reader.count(self.id, below)

    def files(self, below: str = "") -> int:
        """How many of them are files'."""
        with self._lock:
            return self._reader.count(self.id, below, files=True)

    def close(self) -> None:
        """Close the reader."""
        with self._lock:
            self._reader.close()

    def waits(self) -> list[tuple[str, int, str]]:
        """(verdict, how many, one's path) of what waits."""
        with self._lock:
            return self._reader.waits(self.id)

    def rowless(self, after: str, limit: int) -> list[str]:
        """Paths that wait as new or moved there, in their order, behind one."""
        with self._lock:
            return self._reader.rowless(self.id, after, limit)

    def moves(self) -> dict[str, Change]:
        """Moves that wait, by their new path."""
        with self._lock:
            return {change.path: change for change in self._reader.changes(root=self.id, verdicts=(Verdict.MOVED,))}

    # ---- runs

    def run(self, number: int) -> Run | None:
        """A run of this root."""
        with self._lock:
            found = [run for run in self._reader.runs(self._rule, limit=-1) if run.id == number]
        return found[0] if found else None

    def cut_off(self) -> list[Run]:
        """Runs of this root that were under way when the daemon ended."""
        with self._lock:
            return [r for r in self._reader.runs(self._rule, limit=-1) if r.root == self.root and r.state == "running"]

    def whole_runs(self) -> list[Run]:
        """Runs that read every file of this root, newest first: scrubs, first builds and full verifies."""
        with self._lock:
            runs = self._reader.runs(self._rule, limit=-1)
        return [run for run in runs if run.root == self.root and run.mode == "full" and not run.scope]

    def begin_run(self, kind: str, mode: str, scope: str, uid: int | None) -> Run:
        """A run of this root begins."""
        total = self.files(scope)
        with self.index.edit() as edit:
            number = edit.begin_run(self._rule, kind, mode, scope, total, uid)
            edit.advance(number, self.root, None, 0, 0)
            edit.trim()
        found = self.run(number)
        assert found is not None, "it was written just now"
        return found

    def end_run(self, number: int, state: str, selection: str | None = None) -> None:
        """A run has ended; with a ``selection`` it was a build, and the root is complete by these patterns."""
        with self.index.edit() as edit:
            edit.end_run(number, state)
            if selection is not None:
                edit.built(self.id, selection)

    # ---- writing

    def carry(self, old: str, new: str, label: str, *, whole: bool) -> None:
        """A file was moved by another action: its row goes along, ``whole`` or without its digest."""
        row = self.rows([old]).get(old)
        if row is None:
            return
        moved = row if whole else Record(row.identity)
        with self.index.edit() as edit:
            edit.move(self.id, old, new, moved)
            edit.clear(self.id, old)
            edit.tell(Told(self.id, new, Verdict.MOVED, State.ACCEPTED, row, moved, old, label=label))

    def clear(self, path: str) -> None:
        """What waits of a path is over."""
        with self.index.edit() as edit:
            edit.clear(self.id, path)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop rows that aren't the rule's any more."""
        with self.index.edit() as edit:
            for path in paths:
                edit.drop(self.id, path)
                edit.clear(self.id, path)

    def forget_directory(self, directory: str) -> None:
        """A directory that is gone, and has no rows any more."""
        with self.index.edit() as edit:
            edit.drop_directory(self.id, directory)

    def root_gone(self, gone: bool) -> Settled:
        """The whole root is gone, or is there: one finding, which deletes nothing."""
        told = Told(self.id, "", Verdict.ROOT_GONE, State.OPEN, message="nothing is left of it; is it mounted?")
        news: list[Told] = []
        with self.index.edit() as edit:
            if gone:
                news = [told] if edit.tell(told)[1] else []
            else:
                cleared = edit.clear_verdict(self.id, Verdict.ROOT_GONE)
        return Settled(Counter(), news, [], not gone and cleared > 0, 0)

    def settle(
        self,
        looked: Sequence[Looked],
        policy: Policy,
        build: bool = False,
        mark: Mark | None = None,
        filesystems: Mapping[str, str] | None = None,
        quiet: int = 0,
        sheets: Sequence[Sheet] = (),
    ) -> Settled:
        """Judge looks and write what follows. ``build``: what is new is the beginning, and no change.

        ``filesystems``: of directories, by path. ``quiet``: files besides that are as they were and needed no look.
        ``sheets``: files of a build, of which nothing was known.
        """
        now = self._clock.wall_ns() // 1_000_000_000
        looked = [each if each.old_path is None else where_its_row_is(each) for each in looked]
        settling = Settling(self, policy, now)
        beginning = settling.begin(looked) if build else {}
        settling.bytes = sum(each.seen.read for each in looked)
        judged = [(each, settling.judge(each)) for each in looked if not (build and is_beginning(each))]
        with self.index.edit() as edit:
            known = dict(filesystems or {})
            for sheet in sheets:
                settling.take(edit, sheet, known.pop(sheet.directory, ""))
            for directory, records in beginning.items():
                edit.put_many(self.id, directory, records, known.pop(directory, ""))
                settling.begun(edit, directory, records)
            for directory, group in grouped(judged):
                settling.write(edit, directory, group, known.pop(directory, ""))
            for directory, filesystem in known.items():
                self.index.directory(edit.connection, self.id, directory, filesystem)
            if mark is not None:
                files = files_in(looked, sheets) + quiet
                edit.advance(mark.run, mark.root, mark.cursor, files, settling.bytes, settling.findings)
        return Settled(settling.verdicts, settling.news, settling.racy, settling.written, settling.bytes)


def still_waits(ledger: Ledger, path: str, now: tuple[int, int, int, int]) -> bool:
    """Whether what waits of a path is what is there now, as far as its identity tells."""
    return any(
        change.state in WAITS and change.after is not None and stamp(*change.after.identity) == now
        for change in ledger.waiting(path)
    )
