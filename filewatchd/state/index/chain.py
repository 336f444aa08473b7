"""The chain: what was accepted into the index, each entry bound to all before it by a hash.

An entry is appended in the transaction of what it tells of, by triggers of the writer's own connection (TEMP: the file
has none, so no reader and no other program needs the function that they call). So no way to change a row goes past the
chain, but for somebody who writes to the file by other means; and that is what `audit` finds. Entries:

- ``row``: a path's row has other content or attributes than before, is new, or is gone. Times and inode aren't in it.
- ``decision``: a change was approved or rejected, by whom.
- ``built``, ``unbuilt``: from here on a root's rows are complete; what comes into it before isn't chained row by row.
- ``forgotten``: somebody has asked to forget a root for good; its rule and path, and by whom.
- ``seal``: what `index seal` signs: for each root a digest of its rows, as they were after entry ``as_of``.
- ``made``: the first; it holds a random number, so that two indexes have no head in common.

``hash`` is SHA-256 over the hash before and the entry, packed. The oldest entries go when there are too many; the one
that is then the first is believed as it stands.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from filewatchd.state.pack import pack, unpack

KEPT = 200_000
_SLACK = 2_000  # they go in groups
_BUILT = "(SELECT built_ns FROM main.roots WHERE id = (SELECT root FROM main.directories WHERE id = {0}.dir)) NOT NULL"
_PLACE = (
    "(SELECT root FROM main.directories WHERE id = {0}.dir), (SELECT path FROM main.directories WHERE id = {0}.dir)"
)
_CONTENT = "{0}.flags / 4, {0}.digest, {0}.size, (SELECT packed FROM main.attributes WHERE id = {0}.attributes)"
_NOTHING = "NULL, NULL, NULL, NULL"
_OTHER = (
    "(old.digest IS NOT new.digest OR old.size <> new.size OR old.flags / 4 <> new.flags / 4"
    " OR old.attributes IS NOT new.attributes)"
)


def _trigger(name: str, event: str, when: str, values: str) -> str:
    return f"CREATE TEMP TRIGGER chain_{name} AFTER {event} WHEN {when} BEGIN SELECT chained({values}); END"


_TRIGGERS = (
    _trigger("insert", "INSERT ON main.files", _BUILT.format("new"),
             f"'row', {_PLACE.format('new')}, new.name, {_NOTHING}, {_CONTENT.format('new')}"),
    _trigger("update", "UPDATE ON main.files", f"{_OTHER} AND {_BUILT.format('new')}",
             f"'row', {_PLACE.format('new')}, new.name, {_CONTENT.format('old')}, {_CONTENT.format('new')}"),
    _trigger("delete", "DELETE ON main.files", _BUILT.format("old"),
             f"'row', {_PLACE.format('old')}, old.name, {_CONTENT.format('old')}, {_NOTHING}"),
    _trigger("built", "UPDATE OF built_ns ON main.roots", "(new.built_ns IS NULL) <> (old.built_ns IS NULL)",
             "CASE WHEN new.built_ns IS NULL THEN 'unbuilt' ELSE 'built' END, new.id, new.rule, new.root"),
    _trigger("forgotten", "DELETE ON main.roots", "old.built_ns NOT NULL", "'unbuilt', old.id, old.rule, old.root"),
    _trigger("decision", "UPDATE OF state ON main.changes", "new.state IN ('approved', 'rejected')",
             "'decision', new.root, new.path, new.id, new.verdict, new.state, new.uid, new.comment, new.label"),
)  # fmt: skip


class Entry(NamedTuple):
    """An entry. ``path`` is relative to the root; ``before`` and ``after`` are `content`; ``note`` is packed."""

    number: int
    time_ns: int
    kind: str
    root: int | None
    path: bytes | None
    before: bytes | None
    after: bytes | None
    note: bytes | None
    hash: bytes

    @property
    def noted(self) -> Any:
        """What else it says."""
        return None if self.note is None else unpack(self.note)


COLUMNS = ", ".join(Entry._fields)


class Link(NamedTuple):
    """The newest entry's number and hash."""

    number: int
    hash: bytes


def content(algorithm: int | None, digest: bytes | None, size: int | None, attributes: bytes | None) -> bytes | None:
    """What an entry says of a row; None where there is none."""
    return None if size is None else pack([algorithm, digest, size, attributes])


def hashed(before: bytes, entry: Sequence[Any]) -> bytes:
    """An entry's hash, from the hash before it; ``entry``: its fields but the hash."""
    return hashlib.sha256(before + pack(list(entry[:8]))).digest()


class Chain:
    """Appends to the chain of an open index, on the writer's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue: list[tuple[Any, ...]] = []
        connection.create_function("chained", -1, self._noted)
        for trigger in _TRIGGERS:
            connection.execute(trigger)

    def _noted(self, *values: Any) -> None:
        self._queue.append(values)

    def head(self) -> Link | None:
        """The newest entry."""
        found = self._connection.execute("SELECT number, hash FROM chain ORDER BY number DESC LIMIT 1").fetchone()
        return None if found is None else Link(*found)

    def flush(self, now_ns: int) -> None:
        """Append what the transaction under way has queued; call it last in each."""
        if not self._queue:
            return
        queued, self._queue = self._queue, []
        self._append([_MAKERS[values[0]](values) for values in queued], now_ns)

    def discard(self) -> None:
        """The transaction was rolled back."""
        self._queue.clear()

    def forgot(self, root: int, rule: str, path: bytes, uid: int | None) -> None:
        """A root is being forgotten; inside a transaction."""
        self._queue.append(("forgotten", root, rule, path, uid))

    def seal(self, note: Any, now_ns: int) -> Link:
        """Append an entry to be signed; inside a transaction."""
        self.flush(now_ns)
        self._append([("seal", None, None, None, None, pack(note))], now_ns)
        head = self.head()
        assert head is not None
        return head

    def _append(self, made: Sequence[tuple[Any, ...]], now_ns: int) -> None:
        head = self.head()
        number, before = head or (0, b"")
        entries = []
        if head is None:
            made = [("made", None, None, None, None, pack([secrets.token_bytes(16)])), *made]
        for fields in made:
            number += 1
            entry = (number, now_ns, *fields)
            before = hashed(before, entry)
            entries.append((*entry, before))
        self._connection.executemany("INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)
        if number // _SLACK != (number - len(entries)) // _SLACK:
            self._connection.execute("DELETE FROM chain WHERE number < ?", (number - KEPT,))


def _row(values: tuple[Any, ...]) -> tuple[Any, ...]:
    _, root, directory, name, *columns = values
    path = directory + b"/" + name if directory else name
    return "row", root, path, content(*columns[:4]), content(*columns[4:]), None


def _root(values: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, number, *what = values
    return kind, number, None, None, None, pack(what)


def _decision(values: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, root, path, *what = values
    return kind, root, path, None, None, pack(what)


_MAKERS: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "row": _row, "built": _root, "unbuilt": _root, "forgotten": _root, "decision": _decision,
}  # fmt: skip
