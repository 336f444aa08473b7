"""Looking at a set of files on the disk, and reading what is in it. Blocking: for `Context.worker`.

A set is taken when it stands still: a look at every name, a read of what isn't known yet, and the same look again. A
file is read between two fstats of one descriptor, and everything around it between the two looks, so nothing in the set
was written from its first byte to its last. A changed file that somebody has open for writing is waited for, a while:
who saves in pieces may pause. A look takes lstat only; a file whose identity is as it was when it was read isn't read
again, unless its stamps were so fresh then that a later write could hide behind them.

Directories below a root may be others' to write: they are listed, and files in them read, beneath the root's
descriptor, where no symlink put in a directory's place leads anywhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from filewatchd.actions.reload.entries import DIRECTORY, FILE, KINDS, LINK, OTHER, OUTSIDE
from filewatchd.errors import ActionError
from filewatchd.work.files import is_written_to
from filewatchd.work.opening import hold_below, open_directory

MOST_FILES = 200_000
MOST_BYTES = 1 << 30  # of a set
_LEAST = 4096  # bytes read at once: procfs has files that take no odd number
_RACY = 2_000_000_000  # ns: coarser stamps than any filesystem's that a configuration is on
_KEPT_XATTRS = ("user.", "system.posix_acl_", "security.")
OURS = ".filewatchd-"  # how the names begin that we use for a moment
_NEVER = frozenset({".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".jj"})  # version control's own, and large


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
        with _listed(root, below) as listing:
            for entry in listing:
                if is_left_out(entry.name):
                    continue
                name = f"{below}/{entry.name}" if below else entry.name
                try:
                    seen = seen_of(entry.stat(follow_symlinks=False))
                    if seen.kind == LINK:
                        seen = _follow(f"{root}/{name}", seen, real, found)
                except FileNotFoundError:
                    continue  # the second look tells
                found.seen[f"{number}/{name}"] = seen
                if seen.kind == DIRECTORY:
                    waiting.append(name)
                if len(found.seen) > MOST_FILES:
                    raise ActionError(f"the set has more than {MOST_FILES} files: name narrower roots", retryable=False)


@contextlib.contextmanager
def _listed(root: str, below: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in a directory beneath a root.

    Raises:
        OSError: it can't be listed; ENOTDIR: a symlink has taken its place.
    """
    try:
        fd = open_directory(root, below)
    except (NotADirectoryError, ActionError):
        raise NotADirectoryError(errno.ENOTDIR, "a symlink has taken a directory's place", f"{root}/{below}") from None
    try:
        with os.scandir(fd) as listing:
            yield listing
    finally:
        os.close(fd)


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
    kind = KINDS.get(stat.S_IFMT(status.st_mode), OTHER)
    mode = status.st_mode & 0o7777
    if kind == DIRECTORY:
        return Seen(kind, mode, status.st_uid, status.st_gid, 0, status.st_ino, 0, 0)
    times = status.st_mtime_ns, status.st_ctime_ns
    return Seen(kind, mode, status.st_uid, status.st_gid, status.st_size, status.st_ino, *times)


def is_racy(seen: Seen, began_ns: int) -> bool:
    """Whether a later write could leave the same stamps. ``began_ns``: the look's beginning, on the wall clock."""
    return max(seen.mtime_ns, seen.ctime_ns) >= began_ns - _RACY


# ---- reading


def read(paths: list[str], beneath: list[str], expected: list[Seen]) -> list[Content | None]:
    """Read files, links and directories as they were looked at; None for one that is something else by now.

    ``beneath``: the root that each is below; "" for one that is a root itself, or outside them all.

    Raises:
        OSError: one can't be read.
    """
    return [_read(path, root, seen) for path, root, seen in zip(paths, beneath, expected, strict=True)]


def _read(path: str, beneath: str, seen: Seen) -> Content | None:
    if seen.kind in (LINK, OTHER):
        return Content(b"", [])
    try:
        fd = _open(path, beneath, os.O_DIRECTORY if seen.kind == DIRECTORY else 0)
    except (FileNotFoundError, NotADirectoryError, ActionError):
        return None
    try:
        if seen_of(os.fstat(fd)) != seen:
            return None
        data = _all(fd, seen.size) if seen.kind == FILE else b""
        xattrs = list(kept_xattrs(fd))
        whole = seen_of(os.fstat(fd)) == seen and len(data) == seen.size
        return Content(data, xattrs, seen.kind == FILE and bool(is_written_to(fd))) if whole else None
    finally:
        os.close(fd)


def _open(path: str, beneath: str, more: int) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | more
    if not beneath:
        return os.open(path, flags)
    return hold_below(path, beneath, flags | os.O_NOFOLLOW)


def _all(fd: int, size: int) -> bytes:
    """What is in a file, and little more than it says: some have no end."""
    data = b""
    while len(data) <= size and (piece := os.read(fd, max(size + 1 - len(data), _LEAST))):
        data = data + piece if data else piece
    return data


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
