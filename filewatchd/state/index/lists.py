"""The checksum files that were written into roots: of which state of the rows each is, so that a stale one is known.

That is held against the chain, where every change of a row is an entry: a list is stale if its root has one that is
newer. So nothing has to be written down while a list waits to be written, and no way to stop the daemon loses it.
"""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.model import FileIdentity
from filewatchd.state.index.connecting import Connection
from filewatchd.state.index.editing import Edit
from filewatchd.state.index.rows import decode, encode
from filewatchd.state.pack import pack, unpack


class Listed(NamedTuple):
    """A list as it was written. ``entry``: the chain's newest when its rows began to be read."""

    name: str
    algorithm: str
    entry: int
    identity: FileIdentity


def newest(reader: Connection) -> int:
    """The number of the chain's newest entry."""
    return int(reader.connection.execute("SELECT coalesce(max(number), 0) FROM chain").fetchone()[0])


def listed(reader: Connection, root: int) -> Listed | None:
    """The list that was last written into a root."""
    found = reader.connection.execute(
        "SELECT name, algorithm, entry, identity FROM lists WHERE root = ?", (root,)
    ).fetchone()
    if found is None:
        return None
    name, algorithm, entry, identity = found
    return Listed(decode(name), algorithm, entry, FileIdentity(*unpack(identity)))


def is_stale(reader: Connection, root: int, found: Listed) -> bool:
    """Whether rows of the root have changed since; also if the chain doesn't go back so far."""
    return bool(
        reader.connection.execute(
            "SELECT ?1 + 1 < (SELECT min(number) FROM chain)"
            " OR EXISTS (SELECT 1 FROM chain WHERE number > ?1 AND root = ?2)",
            (found.entry, root),
        ).fetchone()[0]
    )


def note(edit: Edit, root: int, found: Listed) -> None:
    """A list was written."""
    edit.connection.execute(
        "INSERT OR REPLACE INTO lists (root, name, algorithm, entry, identity) VALUES (?, ?, ?, ?, ?)",
        (root, encode(found.name), found.algorithm, found.entry, pack(list(found.identity))),
    )
