"""A state database: one SQLite file in WAL mode, written by the loop's thread alone.

What SQLite does: in WAL mode a commit appends its pages to the log, a checkpoint copies them into the database.
With synchronous=NORMAL only a checkpoint syncs, and so does the first commit after it, which starts the log anew.
A power loss may then cost the last commits, never their order; with FULL every commit syncs the log.

So under ``normal`` nothing on the loop's thread syncs: automatic checkpoints are off; `Database.checkpoint` runs in
a pool thread on a connection of its own, which also makes that first commit. It copies without locks (PASSIVE),
which leaves little to do under the write lock when it then empties the log (TRUNCATE); readers in the way are not
waited for. Steps that guard data use `Database.durable`, which syncs once.

The write lock is the loop's own but for the moments in which a pool thread empties the log, so the loop's thread waits
for it only briefly (`busy_timeout`). If a stranger holds it for longer, the write fails; from then on `health` holds
all writes back until `Database.probe`, in a pool thread, has got through.

A descriptor of the file or its log must never be opened and closed by hand while it is open here: closing it would
drop SQLite's own locks (https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from filewatchd.clock import Clock, SystemClock
from filewatchd.errors import FatalError, StateError
from filewatchd.state import opening, schema
from filewatchd.state.closing import Closing
from filewatchd.state.health import Health
from filewatchd.state.sqlite_errors import code, typed

Durability = Literal["normal", "full"]

_CHECKPOINT_GROWTH = 1000 * 4096  # bytes of log
_PROBE = 32 * 1024  # bytes that a probe writes, lest writing begins again for the last free page
_SETTINGS = (
    "wal_autocheckpoint = 0",
    "cache_size = -2048",  # KiB
    "mmap_size = 0",
    "trusted_schema = OFF",
    "busy_timeout = 250",  # ms; the loop stands still meanwhile
)


class Transaction:
    """A context that commits at its end, or rolls back on an error; inside another one it joins that one."""

    __slots__ = ("_database", "_durable", "_joined")

    def __init__(self, database: Database, *, durable: bool = False) -> None:
        self._database = database
        self._durable = durable
        self._joined = False

    def __enter__(self) -> sqlite3.Connection:
        connection = self._database.connection
        self._joined = connection.in_transaction
        if not self._joined:
            self._database.health.check()
            try:
                if self._durable:
                    connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                self._database.restore_synchronous()
                raise self._database.failure(error) from error
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._joined:
            try:
                self._end(error)
            except sqlite3.Error as failure:
                raise self._database.failure(failure) from failure
        if isinstance(error, sqlite3.Error):
            raise self._database.failure(error) from error

    def _end(self, error: BaseException | None) -> None:
        connection = self._database.connection
        try:
            if error is None:
                connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if self._durable:
                self._database.restore_synchronous()


class Database(Closing):
    """An open database.

    Attributes:
        created: the file was made at this start.
        set_aside: where a bad file was moved at this start.
        backup: the copy that was made before a migration.
        salvaged: the actions whose tables were taken over of the bad file.
        promise_broken_since: wall clock (ns) from which changes may have been missed, because a bad file was set
            aside at this start or an earlier one.

    Raises:
        FatalError: exit code 78 if the file's schema is newer than ours, 77 if it can't be opened or is refused.
        StateError: the disk is full, or fails.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: Durability = "normal",
        clock: Clock | None = None,
        migrations: Sequence[schema.Migration] = schema.MIGRATIONS,
        application_id: int = schema.APPLICATION_ID,
    ) -> None:
        self.path = path
        self.synchronous = durability.upper()
        clock = clock or SystemClock()
        self.health = Health(clock)
        try:
            opened = opening.open_database(path, migrations, application_id, clock)
            self.connection, self.created, self.set_aside, self.backup, self.salvaged = opened
            self.promise_broken_since = self._set_up()
        except sqlite3.Error as error:
            if code(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
                raise FatalError(str(typed(error, path)), exit_code=77) from error
            raise self._typed(error) from error
        self._log_floor = 0
        self._checkpoints = 0
        self._closed = False

    def _set_up(self) -> int | None:
        """Make the settings; returns since when the promise is broken."""
        try:
            for setting in (f"synchronous = {self.synchronous}", *_SETTINGS):
                self.connection.execute(f"PRAGMA {setting}")
            since = self.connection.execute("SELECT value FROM meta WHERE name = 'promise_broken_since'").fetchone()
        except sqlite3.Error:
            self.connection.close()
            raise
        return int(since[0]) if since else None

    def transaction(self) -> Transaction:
        """Begin, then commit at the end of the context. An error in a joined transaction must pass the outer one.

        Raises:
            StateError: the disk is full, fails or is read-only, or another program holds the file; and so at once,
                without a try, until `health` is mended.
        """
        return Transaction(self)

    def durable(self) -> Transaction:
        """As `transaction`, but when it ends it survives a power loss: one fsync, on this thread.

        Raises:
            StateError: as `transaction`.
            RuntimeError: inside a transaction, which would end later.
        """
        if self.connection.in_transaction:
            raise RuntimeError("a durable transaction can't join another one")
        return Transaction(self, durable=True)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, in a transaction of its own if there is none, and return its rows.

        Raises:
            StateError: as `transaction`.
        """
        if not statement.startswith(("SELECT", "PRAGMA")) and not self.connection.in_transaction:
            self.health.check()
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self.failure(error) from error

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row, in one transaction.

        Raises:
            StateError: as `transaction`.
        """
        with self.transaction() as connection:
            connection.executemany(statement, rows)

    @property
    def wants_checkpoint(self) -> bool:
        """True once the log has grown by 1,000 pages since the last checkpoint. Costs a stat."""
        return self._log_size() - self._log_floor > _CHECKPOINT_GROWTH

    def checkpoint(self) -> bool:
        """Copy the log into the database and empty it. Blocks and syncs: call it in a pool thread, one at a time.

        Returns False if somebody who reads or writes was in the way: then not all was copied, or the log isn't empty.

        Raises:
            StateError: the disk is full or fails.
        """
        whole = False
        try:
            whole = _copy_log(self.path)
        except sqlite3.Error as error:
            if code(error) != sqlite3.SQLITE_BUSY:
                raise self._typed(error) from error
        self._checkpoints += 1
        self._log_floor = self._log_size()
        return whole

    def probe(self) -> None:
        """Write something, on a connection of its own and whatever `health` says. Blocks: call it in a pool thread.

        Raises:
            StateError: as `transaction`.
        """
        try:
            _write_something(self.path)
        except sqlite3.Error as error:
            raise self._typed(error) from error

    def mend_promise(self) -> None:
        """Forget the broken promise: an operator has seen it."""
        self.execute("DELETE FROM meta WHERE name = 'promise_broken_since'")
        self.promise_broken_since = None

    def failure(self, error: sqlite3.Error) -> Exception:
        """The error to raise for one of SQLite's: a `StateError` for what an operator can mend, else itself."""
        found = self._typed(error)
        if isinstance(found, StateError):
            self.health.failed(found)
        return found

    def _typed(self, error: sqlite3.Error) -> Exception:
        found = typed(error, self.path)
        if isinstance(found, StateError) and found.corrupt:
            opening.mark_suspect(self.path)
        return found

    def restore_synchronous(self) -> None:
        """Commits sync again as configured."""
        self.connection.execute(f"PRAGMA synchronous = {self.synchronous}")

    def close(self) -> None:
        """Note that all is well, empty the log, close. Syncs. A second call does nothing.

        Raises:
            StateError: the disk is full or fails; what was committed is kept.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.connection.execute("UPDATE meta SET value = '1' WHERE name = 'clean'")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise self._typed(error) from error
        finally:
            self.connection.close()

    def statistics(self) -> dict[str, Any]:
        """Sizes in bytes, pages of 4 KiB, and the number of checkpoints so far. What can't be read is left out."""
        found: dict[str, Any] = {
            "size": _size(self.path),
            "log_size": self._log_size(),
            "checkpoints": self._checkpoints,
        }
        with contextlib.suppress(StateError):
            (found["pages"],) = self.execute("PRAGMA page_count")[0]
            (found["free_pages"],) = self.execute("PRAGMA freelist_count")[0]
        return found

    def _log_size(self) -> int:
        return _size(self.path + "-wal")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _copy_log(path: str) -> bool:
    """Whether all of it was copied, and the log is empty (https://sqlite.org/pragma.html#pragma_wal_checkpoint)."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        # The first commit syncs the new log's head. It must write something to count as a commit.
        connection.execute("REPLACE INTO meta VALUES ('checkpointed', hex(randomblob(8)))")
        return not busy
    finally:
        connection.close()


def _write_something(path: str) -> None:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("REPLACE INTO meta VALUES ('probe', hex(randomblob(?)))", (_PROBE // 2,))
        connection.execute("DELETE FROM meta WHERE name = 'probe'")  # in the same commit it would not be written at all
    finally:
        connection.close()
