"""Listing directories: the blocking work of a walk, in a pool thread or as the rule's user."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filewatchd.actions.checksum.looking import GONE
from filewatchd.actions.checksum.seeing import Entry, Listing, Tracking
from filewatchd.actions.checksum.selecting import selected
from filewatchd.errors import ActionError
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import Type
from filewatchd.work.opening import open_directory
from filewatchd.work.pool import alive

_BATCH = 1000  # files that a walk hands on at once


def walk(
    root: str,
    scopes: tuple[str, ...],
    after: tuple[str, str] | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    looked: bool,
    tracking: Tracking,
    files: bool,
) -> Iterator[list[Listing]]:
    """List what is below each of ``scopes`` ("": the root): directories before what is in them, in their names' order.

    ``after``: go on behind this (directory, name). ``looked``: with each file's identity. ``files`` False: only what
    is no file, as far as ``tracking`` says. Some thousand files at once.
    """
    choose = selected(include, exclude)
    kinds = _Kinds(files, tracking.follow, tracking.symlinks, tracking.directories)
    batch: list[Listing] = []
    count = 0
    stack = list(reversed(scopes))
    while stack:
        directory = stack.pop()
        if after is not None and is_behind(directory, after[0]):
            continue
        listing, inside = _list(root, directory, choose.chooser(directory), kinds, looked=looked)
        if listing is None:
            continue
        stack.extend(path for path in reversed(inside) if not choose.prunes(path))
        skipped = after is not None and precedes(directory, after[0])
        if skipped:
            continue  # it is done, but not all below it
        entries = listing.entries
        if after is not None and directory == after[0]:
            entries = [entry for entry in entries if os.fsencode(entry.name) > os.fsencode(after[1])]
        behind = after[1] if after is not None and directory == after[0] else ""
        for start in range(0, len(entries) or 1, _BATCH):
            part = entries[start : start + _BATCH]
            whole = start + _BATCH >= len(entries)
            batch.append(listing._replace(entries=part, whole=whole, after=behind))
            behind = part[-1].name if part else ""
            count += len(part) + 1
            if count >= _BATCH:
                alive()
                yield batch
                batch, count = [], 0
    if batch:
        yield batch


def is_behind(directory: str, last: str) -> bool:
    """Whether a directory, with all below it, comes before ``last`` in a walk."""
    mine, other = key_of(directory), key_of(last)
    return mine < other and other[: len(mine)] != mine


def precedes(directory: str, last: str) -> bool:
    """Whether a directory itself comes before ``last``."""
    return key_of(directory) < key_of(last)


def key_of(directory: str) -> list[bytes]:
    """What a walk orders directories by."""
    return os.fsencode(directory).split(b"/") if directory else []


class _Kinds(NamedTuple):
    """What is listed."""

    files: bool
    follow: bool
    symlinks: bool
    directories: bool


def _list(
    root: str, directory: str, chooses: Callable[[str], bool], kinds: _Kinds, *, looked: bool
) -> tuple[Listing | None, list[str]]:
    """What is in a directory; None if it is gone since it was listed itself: what is missed there finds its rows."""
    if not directory and (alone := _alone(root, looked=looked)) is not None:
        return Listing("", [alone]), []
    try:
        fd = open_directory(root, directory)
    except (OSError, ActionError) as error:
        if directory and is_gone(error):
            return None, []
        return Listing(directory, [], error=os.strerror(getattr(error, "errno", 0) or 0)), []
    try:
        inside, entries = _found(fd, chooses, kinds, looked=looked)
    except OSError as error:
        return Listing(directory, [], error=os.strerror(error.errno or 0)), []
    finally:
        os.close(fd)
    entries.sort(key=_name)
    inside.sort(key=os.fsencode)
    top = f"{directory}/" if directory else ""
    return Listing(directory, entries), [top + name for name in inside]


def _found(fd: int, chooses: Callable[[str], bool], kinds: _Kinds, *, looked: bool) -> tuple[list[str], list[Entry]]:
    """Names of the directories in an open one, and what has rows."""
    regular, follow, symlinks, directories = kinds
    links = follow or symlinks
    inside: list[str] = []
    entries = [Entry("", _own(fd) if looked else None, Type.DIRECTORY)] if directories else []
    with os.scandir(fd) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.name)
            elif regular and entry.is_file(follow_symlinks=False):
                if chooses(entry.name):
                    entries.append(Entry(entry.name, _identity(fd, entry, follow) if looked else None))
            elif links and entry.is_symlink() and chooses(entry.name):
                kind = Type.FILE if follow else Type.SYMLINK
                entries.append(Entry(entry.name, _identity(fd, entry, follow) if looked else None, kind))
    return inside, entries


def _alone(root: str, *, looked: bool) -> Entry | None:
    """The only entry of a root that is a file: it has no name below itself, and what is beside it isn't the rule's."""
    try:
        found = os.stat(root)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Entry("", _identity_of(found) if looked else None)


def _name(entry: Entry) -> bytes:
    return os.fsencode(entry.name)


def _identity(fd: int, entry: os.DirEntry[str], follow: bool) -> FileIdentity | None:
    try:
        found = os.stat(entry.name, dir_fd=fd, follow_symlinks=follow)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) and (follow or not stat.S_ISLNK(found.st_mode)):
        return None
    return _identity_of(found)


def _own(fd: int) -> FileIdentity:
    """A directory's own identity (`unfiled`)."""
    return FileIdentity(os.fstat(fd).st_ino, 0, 0, 0)


def _identity_of(found: os.stat_result) -> FileIdentity:
    return FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_bare(root: str) -> bool:
    """Whether there is nothing at a root: no file, or a directory without anything in it."""
    try:
        status = os.stat(root)
        if not stat.S_ISDIR(status.st_mode):
            return not stat.S_ISREG(status.st_mode)
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError as error:
        return error.errno in GONE


def is_away(root: str) -> bool:
    """Whether a root's directory isn't there at all."""
    try:
        return not stat.S_ISDIR(os.stat(root).st_mode)
    except OSError as error:
        return error.errno in GONE


def is_gone(error: OSError | ActionError) -> bool:
    """Whether that is why a directory isn't opened: something else is there, or nothing."""
    return isinstance(error, ActionError) or error.errno in GONE


def standing(root: str, directories: list[str]) -> list[bool]:
    """Which of these directories are there, and real directories beneath the root."""
    found = []
    for directory in directories:
        try:
            os.close(open_directory(root, directory))
        except (OSError, ActionError) as error:
            found.append(not is_gone(error))
        else:
            found.append(True)
    return found
