"""Logs that were shifted: `app.log` is called `app.log.1`, and a fresh `app.log` has been there ever since.

Of files that may only grow the inode is the log, whatever it is called: where a name has another inode than its row,
and the row's has another name now, the row goes along, and what has the name is new. That holds only if the content is
the row's, or begins with it: an inode's number is given to other files, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from filewatchd.actions.checksum.judging import Content, content_of
from filewatchd.actions.checksum.seeing import Presence
from filewatchd.actions.checksum.settling import Looked
from filewatchd.errors import ActionError
from filewatchd.model import Change, FileIdentity
from filewatchd.state.index.rows import Record, joined, split
from filewatchd.work.opening import open_directory

Now = Mapping[str, FileIdentity | None]


def now_at(places: Mapping[str, Change], old: Mapping[str, str]) -> Now:
    """What is at each path, but for those that are told as moved. ``old``: new path -> old, of those."""
    told = old.keys() | old.values()
    return {path: change.identity for path, change in places.items() if path not in told}


def sought(now: Now, rows: Mapping[str, Record]) -> dict[str, list[int]]:
    """Directory -> inodes that had a name there which another file has now, and that no path is known to have."""
    known = {identity.ino for identity in now.values() if identity is not None}
    found: dict[str, list[int]] = {}
    for path, identity in now.items():
        row = rows.get(path)
        if row is not None and identity is not None and row.identity.ino not in (0, identity.ino, *known):
            found.setdefault(split(path)[0], []).append(row.identity.ino)
    return found


def named(root: str, wanted: dict[str, list[int]]) -> list[tuple[str, FileIdentity]]:
    """The paths that these inodes have in their directories, and what they are. Blocking."""
    found = []
    for directory, inodes in wanted.items():
        with suppress(OSError, ActionError):
            fd = open_directory(root, directory)
            try:
                with os.scandir(fd) as entries:
                    names = [entry.name for entry in entries if entry.inode() in inodes]
                for name in names:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    identity = FileIdentity(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                    found.append((joined(directory, name), identity))
            finally:
                os.close(fd)
    return found


def displaced(now: Now, rows: Mapping[str, Record]) -> dict[str, str]:
    """New path -> old, where another file has taken the old name, or none has it. ``rows``: what was at the paths."""
    left = {}
    for path, identity in now.items():
        row = rows.get(path)
        if row is not None and (identity is None or identity.ino != row.identity.ino):
            left[row.identity.ino] = path, row.identity.size
    found: dict[str, str] = {}
    for path, identity in now.items():
        if identity is not None and identity.ino in left:
            old, size = left[identity.ino]
            found |= {path: old} if identity.size >= size else {}
    return found


def told_apart(
    looked: Sequence[Looked], taken: Mapping[str, str], rows: Mapping[str, Record]
) -> tuple[list[Looked], list[Looked]]:
    """Files that were displaced, and all others: those at a path that such a file had are new there.

    ``taken``: new path -> old, by the inode; one whose content isn't its former path's is another file.
    """
    gone = [each for each in looked if taken.get(each.path) == each.old_path is not None and is_the_same(each)]
    paths = {each.path for each in gone}
    left = {each.old_path for each in gone}
    rest = []
    for each in looked:
        if each.path in left:
            each = each._replace(row=None, old_path=None)
        elif each.path in taken:
            each = each._replace(row=rows.get(each.path), old_path=None)
        rest += [each] if each.path not in paths else []
    return gone, rest


def in_order(looked: Sequence[Looked]) -> list[Looked]:
    """Whoever has left a path comes before what is told of that path now: a move ends what waits of its old one."""
    left = {each.old_path: each for each in looked if each.old_path is not None}
    found: dict[str, Looked] = {}
    for each in looked if left else ():
        way: dict[str, Looked] = {}
        last: Looked | None = each
        while last is not None and last.path not in way and last.path not in found:
            way[last.path] = last
            last = left.get(last.path)
        found.update(reversed(way.items()))
    return list(found.values()) if left else list(looked)


def is_the_same(looked: Looked) -> bool:
    """Whether a file is the one that its row tells of, or that one and more."""
    row, seen = looked.row, looked.seen
    return (
        seen.presence is Presence.HERE
        and row is not None
        and (content_of(row, seen, looked.algorithms) is not Content.OTHER)
    )
