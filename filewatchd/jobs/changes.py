"""The history of changes: what each job was made for, one row a batch, written by the transaction that starts the job.

So kill -9 neither loses a change that has a job nor invents one, and who reads the rows in their order, from where it
stopped, misses none: over its own restarts and ours.

A change's number is its row's plus its place in the row. A power cut may take the last rows; a reader who had them
must not take what comes in their place for what it knows. So the upper bits count the lives of the journal, durably,
and every life's numbers are above those of all before. The lower bits go on over lives: what lies between two
changes can be counted. The newest row is never forgotten, since it says where the next begins.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from filewatchd.jobs.records import unpack_changes
from filewatchd.model import Change, Hint
from filewatchd.state.database import Database

_LIFE = 1 << 40
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9a-f]{1,16})", re.ASCII)
_EPOCH, _LIVES = "changes_epoch", "changes_lives"


class Source(IntEnum):
    """How a change was noticed. A row keeps one byte a change."""

    LIVE = 0  # by an event
    SCAN = 1  # by a first look: at the start, into a directory or root that appeared, or below one that went
    RESCAN = 2  # by comparing once more, after events were lost
    POLL = 3  # by a backend that compares by itself, again and again
    MANUAL = 4  # not at all: somebody asked, or a timer
    RETRY = 5  # it had been attempted without an outcome, and is taken up again


_LIVE, _SCAN, _RESCAN, _POLL, _MANUAL, _RETRY = Source
_COMPARED = Hint.RESCAN | Hint.AGAIN


def source_of(hint: int, *, again: bool, polled: bool) -> Source:
    """How a path's change was noticed, by what was known of it.

    ``again``: it had been attempted without an outcome. ``polled``: its events are a polling backend's.
    """
    if hint & Hint.LIVE:
        return _POLL if polled else _LIVE
    if again:
        return _RETRY
    if hint & Hint.FORCED:
        return _MANUAL
    return _RESCAN if hint & _COMPARED and not hint & Hint.STARTUP else _SCAN


class Stub(NamedTuple):
    """A row without what is in it."""

    first: int
    size: int  # changes
    rule: str


class Row(NamedTuple):
    """The changes of one batch."""

    first: int
    time_ns: int
    rule: str
    job: int
    sources: bytes
    changes: Sequence[Change]


class CursorError(Exception):
    """Text that isn't a cursor of any journal."""


class LostCursorError(Exception):
    """A cursor that can't be gone on from; the text says why not."""


_ADD = "INSERT INTO changes (first, count, time_ns, rule, job, sources, work) VALUES (?, ?, ?, ?, ?, ?, ?)"
_NEWEST = "SELECT first, count FROM changes ORDER BY first DESC LIMIT 1"
_AFTER = """
SELECT first, count, rule FROM changes
WHERE first >= coalesce((SELECT first FROM changes WHERE first <= ?1 ORDER BY first DESC LIMIT 1), 0)
    AND first + count > ?1
ORDER BY first LIMIT ?2
"""
_BEFORE = "SELECT first, count, rule FROM changes WHERE first <= ? ORDER BY first DESC LIMIT ?"
_OLDEST = "SELECT first, count, rule FROM changes ORDER BY first LIMIT ?"
_ROW = "SELECT first, time_ns, rule, job, sources, work FROM changes WHERE first = ?"
_NEW_LIFE = (
    f"INSERT OR IGNORE INTO meta VALUES ('{_EPOCH}', lower(hex(randomblob(8))))",
    f"INSERT OR IGNORE INTO meta VALUES ('{_LIVES}', '0')",
    f"UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE name = '{_LIVES}'",
)


class ChangeHistory:
    """The history of all rules. Every method may raise `StateError`.

    ``told`` is called whenever there is more: somebody may follow.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.told: Callable[[], None] = lambda: None
        lives = self._begin()
        newest = database.execute(_NEWEST)
        last = sum(newest[0]) - 1 if newest else 0
        self._next = lives * _LIFE + last % _LIFE + 1

    def _begin(self) -> int:
        """Another life, which no power cut takes back."""
        with self._database.durable() as connection:
            for statement in _NEW_LIFE:
                connection.execute(statement)
            meta = dict(connection.execute("SELECT name, value FROM meta WHERE name IN (?, ?)", (_EPOCH, _LIVES)))
        self._epoch = meta[_EPOCH]
        return int(meta[_LIVES])

    # ---- writing

    def add(
        self, connection: sqlite3.Connection, when_ns: int, rule: str, job: int, sources: bytes, work: bytes
    ) -> None:
        """Write a batch, in the transaction that starts its job. ``work``: its changes, packed."""
        connection.execute(_ADD, (self._next, len(sources), when_ns, rule, job, sources, work))

    def added(self, count: int) -> None:
        """That transaction has been committed."""
        self._next += count
        self.told()

    # ---- numbers and cursors

    @property
    def newest(self) -> int:
        """The number of the newest change, or one below all that will come."""
        return self._next - 1

    def begin(self) -> int:
        """The number before the oldest change that is kept."""
        ((first,),) = self._database.execute("SELECT min(first) FROM changes")
        return self.newest if first is None else int(first) - 1

    def forgotten(self, number: int, begin: int) -> int:
        """How many changes after the one of this number are forgotten. ``begin``: as the method says."""
        return max(0, begin % _LIFE - number % _LIFE) if number < begin else 0

    def cursor(self, number: int) -> str:
        """What a reader gives to go on after the change of this number."""
        return f"{self._epoch}-{number:x}"

    def number(self, cursor: str) -> int:
        """The number in a cursor; ``0`` stands for the oldest that is kept.

        Raises:
            CursorError: it isn't a cursor.
            LostCursorError: it is one from which nobody can go on without a gap.
        """
        if cursor == "0":
            return self.begin()
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise CursorError(f"{cursor!r} is no cursor: give one that a change came with, or 0 for all that are kept")
        number = int(found[2], 16)
        if found[1] != self._epoch:
            raise LostCursorError("this cursor is of another history: the job journal began anew since")
        if number > self.newest:
            raise LostCursorError("this cursor is newer than the history: the job journal is an older copy of itself")
        if number < self.begin():
            raise LostCursorError("the changes after this cursor are forgotten (daemon.history.changes)")
        return number

    # ---- reading

    def after(self, number: int, most: int) -> list[Stub]:
        """The next rows with changes after this number, oldest first."""
        return [Stub(*row) for row in self._database.execute(_AFTER, (number + 1, most))]

    def before(self, number: int, most: int) -> list[Stub]:
        """The last rows with changes up to this number, newest first."""
        return [Stub(*row) for row in self._database.execute(_BEFORE, (number, most))]

    def row(self, first: int) -> Row | None:
        """The row that begins with this number; None if it is forgotten."""
        for number, time_ns, rule, job, sources, work in self._database.execute(_ROW, (first,)):
            return Row(number, time_ns, rule, job, sources, unpack_changes(work))
        return None

    def statistics(self) -> dict[str, Any]:
        """How many changes are kept."""
        return {"changes": (self.newest - self.begin()) % _LIFE}


def excess(execute: Callable[[str, Sequence[int]], list[tuple[Any, ...]]], keep: int, most: int) -> list[Stub]:
    """The oldest rows, ``most`` of them or fewer, without which ``keep`` changes are left, or more; never the newest.

    ``execute`` reads the table.
    """
    rows = [Stub(*row) for row in execute(_OLDEST, (most,))]
    newest = execute(_NEWEST, ())
    last = sum(newest[0]) - 1 if newest else 0
    return [row for row in rows if (last - (row.first + row.size - 1)) % _LIFE >= max(keep, 1)]
