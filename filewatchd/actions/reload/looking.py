"""Looking at a set of files on the disk, and reading what is in it. Blocking: for `Context.worker`.

A set is taken when it stands still: a look at every name, a read of what isn't known yet, and the same look again. A
file is read between two fstats of one descriptor, and everything around it between the two looks, so nothing in the set
was written from its first byte to its last. A changed file that somebody has open for writing is waited for, a while:
who saves in pieces may pause. A look takes lstat only; a file whose identity is as it was when it was read isn't read
again, unless its stamps were so fresh then that a later write could hide behind them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from filewatchd.actions.reload.entries import DIRECTORY, FILE, LINK, OTHER, OUTSIDE
from filewatchd.errors import ActionError
from filewatchd.work.files import has_writers

MOST_FILES = 200_000
MOST_BYTES = 1 << 30  # of a set
_RACY = 2_000_000_000  # ns: coarser stamps than any filesystem's that a configuration is on
_KEPT_XATTRS = ("user.", "system.posix_acl_", "security.")
OURS = ".filewatchd-"  # how the names begin that we use for a moment
_NEVER = frozenset({".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".jj"})  # version control's own, and large
_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: LINK}


class Seen(NamedTuple):
    """What a look found at a name. Of directories no times and sizes: what is in them is looked at itself."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    ino: int
    mtime_ns: int
    ctime_ns: int
    target: str = ""  # of a symlink


class Names(NamedTuple):
    """A look at a set. ``missing``: roots that aren't there; ``leading_out``: symlinks to directories outside."""

    seen: dict[str, Seen]
    missing: list[str]
    leading_out: list[str]


class Content(NamedTuple):
    """What was read of a name."""

    data: bytes
    xattrs: list[tuple[str, str]]
    written: bool = False  # somebody has it open for writing


def look(roots: list[str], besides: list[str]) -> Names:
    """Look at every name below these roots, and at what symlinks lead to outside them.

    ``besides``: where the set itself will be. A link that leads there leads to the set, whatever is there now.

    Raises:
        ActionError: there is too much of it.
        OSError: a directory can't be read.
    """
    found = Names({}, [], [])
    real = [os.path.realpath(root) for root in (*roots, *besides)]
    for number, root in enumerate(roots):
        try:
            seen = seen_of(os.stat(root))
        except FileNotFoundError:
            found.missing.append(root)
            continue
        found.seen[str(number)] = seen
        if seen.kind == DIRECTORY:
            _look_below(number, root, real, found)
    if sum(seen.size for seen in found.seen.values() if seen.kind == FILE) > MOST_BYTES:
        raise ActionError(f"the set has more than {MOST_BYTES >> 20} MiB: name narrower roots", retryable=False)
    return found


def _look_below(number: int, root: str, real: Sequence[str], found: Names) -> None:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(f"{root}/{below}" if below else root) as listing:
            for entry in listing:
                if is_left_out(entry.name):
                    continue
                name = f"{below}/{entry.name}" if below else entry.name
                try:
                    seen = seen_of(entry.stat(follow_symlinks=False))
                    if seen.kind == LINK:
                        seen = _follow(entry.path, seen, real, found)
                except FileNotFoundError:
                    continue  # the second look tells
                found.seen[f"{number}/{name}"] = seen
                if seen.kind == DIRECTORY:
                    waiting.append(name)
        if len(found.seen) > MOST_FILES:
            raise ActionError(f"the set has more than {MOST_FILES} files: name narrower roots", retryable=False)


def is_left_out(name: str) -> bool:
    """Whether what has this name is never of a set."""
    return name in _NEVER or name.startswith(OURS)


def _follow(path: str, seen: Seen, real: Sequence[str], found: Names) -> Seen:
    """A symlink with its target; what that leads to outside the roots is of the set, too."""
    seen = seen._replace(target=os.readlink(path))
    try:
        behind = seen_of(os.stat(path))
    except OSError:
        return seen  # it leads nowhere
    place = os.path.realpath(path)
    if not any(place == root or place.startswith(f"{root}/") for root in real):
        if behind.kind == FILE:
            found.seen[OUTSIDE + place] = behind
        elif behind.kind == DIRECTORY:
            found.leading_out.append(path)
    return seen


def seen_of(status: os.stat_result) -> Seen:
    """What stat found."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), OTHER)
    mode = status.st_mode & 0o7777
    if kind == DIRECTORY:
        return Seen(kind, mode, status.st_uid, status.st_gid, 0, status.st_ino, 0, 0)
    times = status.st_mtime_ns, status.st_ctime_ns
    return Seen(kind, mode, status.st_uid, status.st_gid, status.st_size, status.st_ino, *times)


def is_racy(seen: Seen, began_ns: int) -> bool:
    """Whether a later write could leave the same stamps. ``began_ns``: the look's beginning, on the wall clock."""
    return max(seen.mtime_ns, seen.ctime_ns) >= began_ns - _RACY


# ---- reading


def read(paths: list[str], expected: list[Seen]) -> list[Content | None]:
    """Read files, links and directories as they were looked at; None for one that is something else by now.

    Raises:
        OSError: one can't be read.
    """
    return [_read(path, seen) for path, seen in zip(paths, expected, strict=True)]


def _read(path: str, seen: Seen) -> Content | None:
    if seen.kind in (LINK, OTHER):
        return Content(b"", [])
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | (os.O_DIRECTORY if seen.kind == DIRECTORY else 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if seen_of(os.fstat(fd)) != seen:
            return None
        data = b"".join(iter(lambda: os.read(fd, 1 << 20), b"")) if seen.kind == FILE else b""
        xattrs = list(kept_xattrs(fd))
        whole = seen_of(os.fstat(fd)) == seen and len(data) == seen.size
        return Content(data, xattrs, seen.kind == FILE and bool(has_writers(path, follow=True))) if whole else None
    finally:
        os.close(fd)


def kept_xattrs(fd: int) -> Iterator[tuple[str, str]]:
    """The extended attributes that a file made anew shall have: ACLs, labels, people's own."""
    try:
        names = sorted(os.listxattr(fd))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return  # the filesystem has none
    for name in names:
        if name.startswith(_KEPT_XATTRS):
            yield name, os.getxattr(fd, name).hex()
