"""Putting a file back as it was in the last good set, without losing what anybody else writes meanwhile. Blocking.

Nothing can be compared and replaced in one step. So the good file is made beside the live one and both exchange their
names; then what came out is looked at. If it is the rejected content and nobody has it open for writing, it may go: the
store has it. If it is anything else, somebody wrote it since the check, and the names are exchanged back. A name that
shall go is renamed away, one that shall come again takes its name only if that is free: the same with two steps.

The directory is opened once, beneath the root and through no symlink, and all of it happens below its descriptor:
whoever may write a directory below the root could otherwise have root make, exchange and dress files anywhere.

Each call does one name, finds out by itself how far an earlier one came that was killed, and may be repeated. What it
leaves for a moment is named ``.filewatchd-KEY-NUMBER``; what it can neither take nor put back stays under the name it
says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import NamedTuple

from filewatchd.actions.reload.entries import DIRECTORY, FILE, LINK, Entry
from filewatchd.actions.reload.looking import kept_xattrs, seen_of
from filewatchd.actions.reload.staging import dress, held, own, write
from filewatchd.errors import ActionError
from filewatchd.work.exchange import exchange, rename_free
from filewatchd.work.files import has_writers
from filewatchd.work.opening import open_directory


class Item(NamedTuple):
    """A name to put back. ``bad``: what the rejected set has there, ``good``: what the good one has; None: nothing."""

    path: str
    bad: Entry | None
    good: Entry | None
    data: bytes  # of a good file
    beside: str  # a name in the same directory
    beneath: str  # the directory that is trusted: the path's own, or one above


def put_back(item: Item) -> str:
    """Make the name what it was in the good set. Returns why not: somebody else changed it; "" if it is done.

    Raises:
        OSError: the system's own refusals.
    """
    folder = os.path.dirname(item.path)
    try:
        fd = open_directory(item.beneath, folder[len(item.beneath.rstrip("/")) + 1 :])
    except (FileNotFoundError, NotADirectoryError, ActionError):
        return "" if item.good is None else f"{folder} is no directory any more"
    here = f"/proc/self/fd/{fd}"
    try:
        path, beside = (f"{here}/{os.path.basename(each)}" for each in (item.path, item.beside))
        return _put_back(item._replace(path=path, beside=beside)).replace(here, folder)
    finally:
        os.close(fd)


def _put_back(item: Item) -> str:
    if why := _tidy(item):
        return why
    if is_entry(item.path, item.good):
        return ""
    if not is_entry(item.path, item.bad):
        return "it is no longer what was rejected"
    if DIRECTORY in (kind_of(item.good), kind_of(item.bad)):
        return _directory(item)
    if item.good is None:
        return _take_away(item)
    _make(item)
    try:
        return _bring_back(item) if item.bad is None else _swap(item)
    except OSError:
        with contextlib.suppress(OSError):  # as after a kill there
            if why := _tidy(item):
                return why
        raise


def sync(directories: list[str]) -> None:
    """Have the names in these directories survive a power loss."""
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


# ---- the three ways


def _swap(item: Item) -> str:
    exchange(item.beside, item.path)
    if may_go(item.beside, item.bad):
        os.unlink(item.beside)
        return ""
    return _swap_back(item, "somebody changed it meanwhile, or has it open for writing")


def _swap_back(item: Item, why: str) -> str:
    """What came out is somebody's: it gets its name back. What has the name by then may be newer: both stay."""
    exchange(item.beside, item.path)
    if may_go(item.beside, item.good):
        os.unlink(item.beside)
        return why
    exchange(item.beside, item.path)
    return _keep(item, why)


def _take_away(item: Item) -> str:
    rename_free(item.path, item.beside)
    if may_go(item.beside, item.bad):
        os.unlink(item.beside)
        return ""
    return _give_back(item)


def _give_back(item: Item) -> str:
    why = "somebody changed it meanwhile, or has it open for writing"
    try:
        rename_free(item.beside, item.path)
    except FileExistsError:
        return _keep(item, why)
    return why


def _bring_back(item: Item) -> str:
    try:
        rename_free(item.beside, item.path)
    except FileExistsError:
        os.unlink(item.beside)
        return "somebody made it meanwhile"
    return ""


def _directory(item: Item) -> str:
    """Directories come and go empty, and change their rights in place."""
    if kind_of(item.bad) == DIRECTORY == kind_of(item.good):
        return _dress(item.path, item.bad, item.good)
    if kind_of(item.bad) == DIRECTORY:
        try:
            os.rmdir(item.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return "somebody put something into it"
        return _put_back(item._replace(bad=None)) if item.good is not None else ""
    if item.bad is not None and (why := _take_away(item._replace(good=None))):
        return why
    assert item.good is not None
    os.mkdir(item.path, 0o700)
    with held(item.path) as fd:
        dress(fd, item.good, exactly=True)
    return ""


def _dress(path: str, bad: Entry | None, good: Entry | None) -> str:
    assert bad is not None
    assert good is not None
    with held(path) as fd:
        seen = seen_of(os.fstat(fd))
        if (seen.kind, seen.mode, seen.uid, seen.gid) != (bad.kind, bad.mode, bad.uid, bad.gid):
            return "it is no longer what was rejected"
        dress(fd, good, exactly=True)
    return ""


# ---- what an earlier call left


def _tidy(item: Item) -> str:
    try:
        os.lstat(item.beside)
    except FileNotFoundError:
        return ""
    if may_go(item.beside, item.good) or may_go(item.beside, item.bad):
        os.unlink(item.beside)
        return ""
    why = "somebody changed it while it was put back"
    if item.good is None:
        return _give_back(item)
    if is_entry(item.path, item.good):
        return _swap_back(item, why)
    if is_begun(item):
        os.unlink(item.beside)
        return ""
    return _keep(item, why)


def _keep(item: Item, why: str) -> str:
    """Somebody's content that has lost its name gets one that can be seen."""
    for number in range(100):
        name = f"{item.path}.kept-by-filewatchd" + (f"-{number}" if number else "")
        try:
            rename_free(item.beside, name)
        except FileExistsError:
            continue
        return f"{why}; what was there is {name}"
    return f"{why}; what was there is {item.beside}"


def is_begun(item: Item) -> bool:
    """Whether it is a good file of ours that was cut off while it was written: nobody's, and nobody writes to it."""
    if kind_of(item.good) != FILE or not stat.S_ISREG(os.lstat(item.beside).st_mode) or is_written(item.beside):
        return False
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError), os.fdopen(os.open(item.beside, flags), "rb") as file:
        return item.data.startswith(file.read(len(item.data) + 1))
    return False


# ---- looking


def _make(item: Item) -> None:
    """The good file or link, complete, beside the live one."""
    assert item.good is not None
    try:
        if item.good.kind == LINK:
            os.symlink(item.good.content, item.beside)
            with held(item.beside) as fd:
                own(fd, item.good, exactly=True)
        else:
            write(item.beside, item.data, item.good, exactly=True)
    except FileExistsError:
        raise  # that is none of ours
    except Exception:
        with contextlib.suppress(OSError):
            os.unlink(item.beside)
        raise


def kind_of(entry: Entry | None) -> str:
    """An entry's kind; "" for nothing."""
    return entry.kind if entry is not None else ""


def may_go(path: str, entry: Entry | None) -> bool:
    """Whether exactly this is at a name that nobody knows, and nobody writes to it.

    Writers come first: none can come to it any more, so what is read then stays. The other way round one could write
    and close it between the two.
    """
    return not is_written(path) and is_entry(path, entry)


def is_written(path: str) -> bool:
    """Whether somebody has it open for writing."""
    return bool(has_writers(path)) if not os.path.islink(path) else False


def is_entry(path: str, entry: Entry | None) -> bool:
    """Whether exactly this is at a path now."""
    try:
        seen = seen_of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return entry is None
    if entry is None or (seen.kind, seen.mode, seen.uid, seen.gid) != (entry.kind, entry.mode, entry.uid, entry.gid):
        return False
    if seen.kind == LINK:
        return os.readlink(path) == entry.content
    if seen.kind != FILE:
        return seen.kind == DIRECTORY
    if seen.size != entry.size:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == entry.content
        return same and tuple(kept_xattrs(fd)) == entry.xattrs
