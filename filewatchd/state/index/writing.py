"""Writing the index: one writer for the whole daemon, called from pool threads, one call at a time.

`Index.edit` is a transaction. Inside it rows are put, moved and dropped, changes told, versions kept and runs brought
forward, so that a run's cursor never says more than its rows. A commit isn't synced (a power loss costs the last
moments' rows, which are then found to be missing and read again), but decisions are: `decide` syncs.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from filewatchd.clock import Clock
from filewatchd.state import opening
from filewatchd.state.database import Database
from filewatchd.state.index import audit, schema
from filewatchd.state.index.chain import Chain, Link
from filewatchd.state.index.connecting import Typed
from filewatchd.state.index.editing import Edit
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import (
    Attributes,
    Change,
    State,
    Verdict,
    encode,
    pack_attributes,
)
from filewatchd.state.index.salvage import take_over
from filewatchd.state.sqlite_errors import damaged, typed

_REMEMBERED = 4096  # directories and attributes


class Index:
    """The open index. One for all rules; `filewatchd.actions.checksum.shared` keeps it.

    Attributes:
        created: the file was made at this start.
        set_aside: where a damaged file was moved at this start.
        kept: how many changes were saved from it.

    Raises:
        FatalError, StateError: as `filewatchd.state.database.Database`.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._directories: dict[tuple[int, str], int] = {}
        self._attributes: dict[Attributes, int] = {}
        self._filesystems: dict[str, int] = {}
        with Database(path, clock=clock, migrations=schema.MIGRATIONS, application_id=schema.APPLICATION_ID) as checked:
            self.created, self.set_aside = checked.created, checked.set_aside
        with Typed(path):
            self.connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                self._begin()
            except BaseException:
                self.connection.close()
                raise

    def _begin(self) -> None:
        for setting in (
            "synchronous = NORMAL", "wal_autocheckpoint = 4000", "cache_size = -8192", "mmap_size = 0",
            "trusted_schema = OFF", "temp_store = FILE",
        ):  # fmt: skip
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
        self.chain = Chain(self.connection)
        self.kept = take_over(self.connection, self.set_aside) if self.set_aside else 0

    # ---- writing

    @contextmanager
    def edit(self, *, durable: bool = False) -> Iterator[Edit]:
        """A transaction; with ``durable`` it survives a power loss once it has ended. Blocks.

        Raises:
            StateError: the disk is full or fails, or the file is damaged; then nothing was written.
        """
        with self._lock:
            connection = self.connection
            try:
                if durable:
                    connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                edit = Edit(self, connection, self._clock.wall_ns())
                yield edit
                self.chain.flush(edit.now_ns)
                connection.execute("COMMIT")
            except BaseException as error:
                self._directories.clear()  # what was made in it is not there
                self._attributes.clear()
                self._filesystems.clear()
                self.chain.discard()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    if damaged(error):
                        opening.mark_suspect(self.path)
                    raise typed(error, self.path) from error
                raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    def root(self, rule: str, root: str, former: str | None = None) -> int:
        """A root's number; it is entered if it is new. ``former``: what the rule was called, if it was renamed."""
        with self.edit() as edit:
            key = (rule, encode(root))
            if former is not None:
                edit.connection.execute(
                    "UPDATE OR IGNORE roots SET rule = ? WHERE rule = ? AND root = ?", (rule, former, key[1])
                )
                edit.connection.execute("UPDATE runs SET rule = ? WHERE rule = ? AND root = ?", (rule, former, key[1]))
            edit.connection.execute("INSERT INTO roots (rule, root) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            (number,) = edit.connection.execute("SELECT id FROM roots WHERE rule = ? AND root = ?", key).fetchone()
        return int(number)

    def decide(
        self, changes: Sequence[int], state: State, *, uid: int | None, comment: str = "", label: str | None = None,
        versions: int = 0,
    ) -> list[Change]:  # fmt: skip
        """Approve or reject changes that wait; returns those that did. What is approved becomes the row. Syncs."""
        decided: list[Change] = []
        with Reader(self.path) as reader, self.edit(durable=True) as edit:
            for number in changes:
                found = reader.changes(states=(), after=number - 1, limit=1)
                if not found or found[0].id != number or not self._still_waits(edit, number):
                    continue
                change = found[0]
                if state is State.APPROVED:
                    self._accept(edit, reader, change, versions)
                edit.connection.execute(
                    "UPDATE changes SET state = ?, decided_ns = ?, uid = ?, comment = ?, label = coalesce(?, label)"
                    " WHERE id = ?",
                    (state.value, edit.now_ns, uid, comment or None, label, number),
                )
                decided.append(change)
        return decided

    @staticmethod
    def _still_waits(edit: Edit, number: int) -> bool:
        found = edit.connection.execute("SELECT state FROM changes WHERE id = ?", (number,)).fetchone()
        return found is not None and found[0] in ("open", "pending", "rejected")

    @staticmethod
    def _accept(edit: Edit, reader: Reader, change: Change, versions: int) -> None:
        """What was found becomes the row."""
        row = reader.row(change.root, change.path)
        if row is not None:
            edit.keep_version(change.root, change.path, row, versions)
        if change.verdict in (Verdict.UNREADABLE, Verdict.UNSTABLE, Verdict.ROOT_GONE):
            edit.flag(change.root, change.path, waiting=False)  # seen; there is nothing to put in the row's place
        elif change.after is None:
            edit.drop(change.root, change.path)
        else:
            if change.old_path is not None:
                edit.drop(change.root, change.old_path, change.before)  # what has moved there since stays
            edit.put(change.root, change.path, change.after)

    # ---- seals

    def seal(self) -> Link:
        """Append an entry with a digest of all rows, to be signed. Reads all rows; syncs."""
        with Reader(self.path) as reader:
            taken = audit.snapshot(reader.connection)
        with self.edit(durable=True) as edit:
            return self.chain.seal(audit.packed(taken), edit.now_ns)

    def sealed(self, number: int, statement: str, key: bytes, signature: bytes, *, uid: int | None) -> bool:
        """Keep the signature of an entry; False if there is no such seal. Syncs."""
        with self.edit(durable=True) as edit:
            kept = edit.connection.execute(
                "INSERT OR REPLACE INTO seals SELECT number, ?, ?, ?, ?, ? FROM chain"
                " WHERE number = ? AND kind = 'seal'",
                (edit.now_ns, statement, key, signature, uid, number),
            )
            return kept.rowcount > 0

    # ---- numbers of what many rows share

    def directory(self, connection: sqlite3.Connection, root: int, path: str, filesystem: str = "") -> int:
        """A directory's number; inside `edit`."""
        number = self._directories.get((root, path))
        if number is None or filesystem:
            number = self._enter_directory(connection, root, path, filesystem)
        return number

    def forget_directory(self, root: int, path: str) -> None:
        """Its number isn't known any more."""
        self._directories.pop((root, path), None)

    def forget_root(self, root: int) -> None:
        """None of its directories' numbers is known any more."""
        self._directories = {key: number for key, number in self._directories.items() if key[0] != root}

    def _enter_directory(self, connection: sqlite3.Connection, root: int, path: str, filesystem: str) -> int:
        key = (root, encode(path))
        standing = self._filesystem(connection, filesystem) if filesystem else 0
        found = connection.execute("SELECT id, filesystem FROM directories WHERE root = ? AND path = ?", key).fetchone()
        if found is None:
            made = connection.execute(
                "INSERT INTO directories (root, path, filesystem) VALUES (?, ?, ?)", (*key, standing)
            )
            found = (int(made.lastrowid or 0), standing)
        elif standing and found[1] != standing:
            connection.execute("UPDATE directories SET filesystem = ? WHERE id = ?", (standing, found[0]))
        if len(self._directories) >= _REMEMBERED:
            self._directories.clear()
        self._directories[root, path] = found[0]
        return int(found[0])

    def _filesystem(self, connection: sqlite3.Connection, name: str) -> int:
        number = self._filesystems.get(name)
        if number is None:
            connection.execute("INSERT INTO filesystems (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            (number,) = connection.execute("SELECT id FROM filesystems WHERE name = ?", (name,)).fetchone()
            self._filesystems[name] = int(number)
        return int(number)

    def attributes(self, connection: sqlite3.Connection, attributes: Attributes) -> int:
        """The number of these attributes; inside `edit`."""
        number = self._attributes.get(attributes)
        if number is None:
            packed = pack_attributes(attributes)
            connection.execute("INSERT INTO attributes (packed) VALUES (?) ON CONFLICT DO NOTHING", (packed,))
            (number,) = connection.execute("SELECT id FROM attributes WHERE packed = ?", (packed,)).fetchone()
            if len(self._attributes) >= _REMEMBERED:
                self._attributes.clear()
            self._attributes[attributes] = int(number)
        return int(number)

    # ---- the file

    def statistics(self) -> dict[str, Any]:
        """Bytes of the file and its log."""
        found: dict[str, Any] = {}
        for name, path in (("size", self.path), ("log_size", self.path + "-wal")):
            try:
                found[name] = os.stat(path).st_size
            except OSError:
                found[name] = 0
        return found

    def close(self) -> None:
        """Note that all is well, empty the log, close."""
        with self._lock:
            try:
                self.connection.execute("UPDATE meta SET value = '1' WHERE name = 'clean'")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise typed(error, self.path) from error
            finally:
                self.connection.close()
