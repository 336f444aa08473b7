"""Disk -> identities: the walk that arms directories and lists them, in threads.

A directory is opened below its parent's descriptor, armed through its own, and then listed through it: the
first file in a fresh ``a/b/c`` can't be missed, and a directory renamed meanwhile never gets its old parent
(what is armed is what was opened). A fresh directory's parent is opened by path and proven by arming it again:
the backend must give the token that the event named. Without tokens the whole path is opened name by name, and
no symlink on it is followed: a directory put in another's place then has an event of its own to come.

One thread walks at a time per filesystem, so what is armed reaches the loop in the order in which it was
armed. New directories go before the next step of a long scan: live changes don't wait for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.model import FileIdentity
from filewatchd.watch.backends.base import Armed, Backend, Quieting, WatchLimitError

if TYPE_CHECKING:
    from filewatchd.watch.roots import Root, Subscriber

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # needs no right to read
_DEEPEST = 400  # a walk holds one descriptor a level
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # it went, or something else stands there now
_LONGEST = 4096 - 1 - 256  # bytes of a directory: beyond PATH_MAX no command could be given a file in it
_BATCH = 256  # directories, or
_BATCH_FILES = 2000  # files handed to the loop at a time

Entry = tuple[str, FileIdentity, int]  # name, identity, number of links


class Listed(NamedTuple):
    """What one root's subscriber selects in one directory."""

    scope: Root
    subscriber: Subscriber
    directory: str  # relative to the root
    entries: list[Entry]


class Failed(NamedTuple):
    """A directory that could not be watched or listed. ``parent``: the token of the one it is in, 0 for a top."""

    path: str
    error: OSError
    parent: int


class Portion(NamedTuple):
    """What a stretch of a walk brings to the loop. ``compared``: (subscriber, what its comparison made of it).

    ``tried``: directories that had no watch, about which ``failed`` tells anew.
    """

    armed: list[Armed]
    listed: list[Listed]
    compared: list[tuple[Subscriber, Any]]
    links: list[tuple[Root, str]]  # (scope, relative path) of symlinks in roots that follow them
    failed: list[Failed]
    tried: list[str]


class _Level(NamedTuple):
    """An open directory on the way down. ``below``: the directories in it that are still to be visited, last first."""

    fd: int
    path: str
    token: int
    below: list[tuple[str, list[tuple[Root, str]]]]


class Walk:
    """One walk, step by step: `steps` yields after every directory."""

    def __init__(
        self, backend: Backend, top: str, scopes: list[tuple[Root, str]], parent: int = 0, *, every: bool = False
    ) -> None:
        """``top``: a real directory. ``scopes``: (scope, the top relative to its root). ``parent``: 0 for a root's top.

        ``every``: directories without selected files are listed too.
        """
        self._every = every
        self._backend = backend
        self._top = top
        self._scopes = scopes
        self._parent = parent
        self._batch = _empty()
        self._files = 0
        self.limited = False  # it met the limit of watches
        self.begun = False  # the disk is being looked at
        self.misled = False  # another directory stands where it was to begin

    def flush(self) -> Portion:
        """Take what was gathered since the last flush."""
        gathered, self._batch = self._batch, _empty()
        self._files = 0
        return gathered

    @property
    def full(self) -> bool:
        """True if it is time to flush."""
        return len(self._batch.armed) >= _BATCH or self._files >= _BATCH_FILES

    def steps(self) -> Iterator[None]:
        """Walk; after each step a batch may be flushed."""
        self.begun = True
        try:
            fd = open_top(self._backend, self._top, self._parent)
        except OSError as error:
            self._batch.failed.append(Failed(self._top, error, self._parent))
            return
        if fd is None:
            self.misled = True
        else:
            yield from self._descend(fd)

    def _descend(self, fd: int) -> Iterator[None]:
        """Go through the tree below an open top, depth first, without recursion: it is 52,000 calls for such a tree."""
        top = os.fsencode(self._top if not self._parent else os.path.basename(self._top))
        open_now = [self._visit(fd, self._top, self._parent, top, self._scopes)]
        try:
            yield
            while open_now:
                at = open_now[-1]
                if not at.below:
                    os.close(open_now.pop().fd)
                    continue
                name, scopes = at.below.pop()
                path = f"{at.path}/{name}"
                child = self._open(at, name, path, len(open_now))
                if child is not None:
                    encoded = name.encode("utf-8", "surrogateescape")
                    open_now.append(self._visit(child, path, at.token, encoded, scopes))
                    yield
        finally:
            for level in open_now:
                os.close(level.fd)

    def _open(self, at: _Level, name: str, path: str, depth: int) -> int | None:
        """Open a directory below another; None, with the reason noted, where that can't be done."""
        try:
            if depth > _DEEPEST or _too_long(at.path, name):
                raise OSError(0, f"deeper than {_DEEPEST} levels or {_LONGEST} bytes")
            return os.open(name, _OPEN, dir_fd=at.fd)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                self._batch.failed.append(Failed(path, error, at.token))
            return None

    def _visit(self, fd: int, path: str, parent: int, name: bytes, scopes: list[tuple[Root, str]]) -> _Level:
        """Arm and list an open directory."""
        try:
            token = self._arm(fd, scopes)
            self._batch.armed.append(Armed(token, parent, name))
            below = self._list(fd, scopes)
            below.sort(key=itemgetter(0), reverse=True)  # taken from the end: rows are read and written in their order
            return _Level(fd, path, token, below)
        except OSError as error:
            self.limited = self.limited or isinstance(error, WatchLimitError)
            self._batch.failed.append(Failed(path, error, parent))
            return _Level(fd, path, 0, [])

    def _arm(self, fd: int, scopes: list[tuple[Root, str]]) -> int:
        if isinstance(self._backend, Quieting) and scopes and all(scope.quiet for scope, _ in scopes):
            return self._backend.arm_quietly(fd)
        return self._backend.arm(fd)

    def _list(self, fd: int, scopes: list[tuple[Root, str]]) -> list[tuple[str, list[tuple[Root, str]]]]:
        below: list[tuple[str, list[tuple[Root, str]]]] = []
        found: dict[int, Listed] = {}
        if self._every:
            for scope, directory in scopes:
                found.update((id(s), Listed(scope, s, directory, [])) for s in scope.subscribers)
        if len(scopes) == 1 and scopes[0][0].sole is not None:  # as it nearly always is
            return self._list_for_one(fd, *scopes[0])
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    inner = self._narrow(scopes, entry.name)
                    if inner:
                        below.append((entry.name, inner))
                else:
                    self._file(entry, scopes, found)
        for listed in found.values():
            self._batch.listed.append(listed)
            self._files += len(listed.entries)
        return below

    def _list_for_one(self, fd: int, scope: Root, directory: str) -> list[tuple[str, list[tuple[Root, str]]]]:
        """The same for one subscriber who follows no symlinks, in a third of the time."""
        subscriber = scope.subscribers[0]
        selects, scopes = subscriber.selection.chooser(directory), [(scope, directory)]
        below: list[tuple[str, list[tuple[Root, str]]]] = []
        files: list[Entry] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_file(follow_symlinks=False):
                    if selects(name) and (found := _look(entry)) is not None:
                        files.append((name, *found))
                elif entry.is_dir(follow_symlinks=False) and (inner := self._narrow(scopes, name)):
                    below.append((name, inner))
        if files or self._every:
            self._batch.listed.append(Listed(scope, subscriber, directory, files))
            self._files += len(files)
        return below

    def _file(self, entry: os.DirEntry[str], scopes: list[tuple[Root, str]], found: dict[int, Listed]) -> None:
        name = entry.name
        identity: FileIdentity | None = None
        links = 1
        for scope, directory in scopes:
            wanted = scope.wants(directory, name)
            if not wanted:
                continue
            if identity is None:
                follow = scope.follows() and entry.is_symlink()
                if follow:
                    self._batch.links.append((scope, f"{directory}/{name}" if directory else name))
                elif not entry.is_file(follow_symlinks=False):
                    return
                look = _look(entry, follow)
                if look is None:
                    return
                identity, links = look
            for subscriber in wanted:
                listed = found.get(id(subscriber))
                if listed is None:
                    listed = found[id(subscriber)] = Listed(scope, subscriber, directory, [])
                listed.entries.append((scope.known_as(name), identity, links))

    def _narrow(self, scopes: list[tuple[Root, str]], name: str) -> list[tuple[Root, str]]:
        if len(scopes) == 1:  # nearly always
            scope, directory = scopes[0]
            child = f"{directory}/{name}" if directory else name
            return [(scope, child)] if scope.goes_on(child) else []
        children = [(scope, f"{directory}/{name}" if directory else name) for scope, directory in scopes]
        return [(scope, child) for scope, child in children if scope.goes_on(child)]


def _look(entry: os.DirEntry[str], follow: bool = False) -> tuple[FileIdentity, int] | None:
    """A regular file's identity and number of links; None where there is none any more."""
    try:
        found = entry.stat(follow_symlinks=follow)
    except OSError:
        return None
    if found.st_mode & 0o170000 != 0o100000:  # S_ISREG, a call cheaper
        return None
    return FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), found.st_nlink


def _empty() -> Portion:
    return Portion([], [], [], [], [], [])


def open_top(backend: Backend, path: str, parent: int) -> int | None:
    """Open the directory that a walk begins with; None if it isn't in the one with this token any more.

    Then another directory stands there now, and its own event will come.
    """
    if not parent:
        return _open_real(path)
    above, name = os.path.split(path)
    fd = os.open(above, _OPEN)
    try:
        return os.open(name, _OPEN, dir_fd=fd) if backend.proves(fd, parent) else None
    finally:
        os.close(fd)


def _open_real(path: str) -> int:
    """Open a real directory: a symlink that came to be anywhere on its path is an error, and isn't followed."""
    fd = os.open("/", _OPEN)
    parts = [part for part in path.split("/") if part]
    for number, part in enumerate(parts, 1):
        try:
            inner = os.open(part, _OPEN if number == len(parts) else _PASS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _too_long(directory: str, name: str) -> bool:
    characters = len(directory) + 1 + len(name)  # of at most 4 bytes each
    return characters > _LONGEST // 4 and len(os.fsencode(directory)) + 1 + len(os.fsencode(name)) > _LONGEST
