"""A kept set as files again: the staged tree that a check sees, and what `publish` puts in place. Blocking.

Staged files are copies, not links to kept contents: whatever a check that isn't held back does to them, no version
changes. The tree is kept from one check to the next and only what differs is made anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator

from filewatchd.actions.reload.entries import DIRECTORY, FILE, KINDS, LINK, Difference, Entry, Set, differences
from filewatchd.actions.reload.store import Store, discard

_UNSUITED = ("security.",)  # attributes that may not be set by us, and need not


class Stage:
    """The staged tree of one rule, a directory with an entry ``0``, ``1``, ... for each root."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.directory = f"{store.directory}/staged"
        self._made: Set | None = None  # what is there; None: nobody knows

    def place(self, root: int) -> str:
        """Where a root is staged."""
        return f"{self.directory}/{root}"

    def doubt(self) -> None:
        """Somebody may have changed it: it is made anew the next time."""
        self._made = None

    def make(self, entries: Set) -> None:
        """Have exactly these entries staged.

        Raises:
            OSError, ActionError: it can't be made.
        """
        wanted = {key: entry for key, entry in entries.items() if key[0].isdigit()}
        before, self._made = self._made, None
        if before is None:
            discard(self.directory)
            os.mkdir(self.directory, 0o700)
            before = {}
        change(self._store, self.directory, differences(before, wanted))
        self._made = wanted


def change(store: Store, directory: str, changed: list[Difference]) -> None:
    """Make these differences true below a directory. Rights of directories come last: they may forbid writing."""
    for each in reversed(changed):
        if each.before is not None and (each.after is None or each.after.kind != each.before.kind):
            remove(f"{directory}/{each.key}", each.before)
    for each in changed:
        if each.after is not None:
            make(store, f"{directory}/{each.key}", each.after)
    for each in reversed(changed):
        if each.after is not None and each.after.kind == DIRECTORY:
            with held(f"{directory}/{each.key}") as fd:
                dress(fd, each.after)


def remove(path: str, entry: Entry) -> None:
    """Take away what was staged."""
    if entry.kind == DIRECTORY:
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def make(store: Store, path: str, entry: Entry) -> None:
    """Make an entry anew. Sockets, devices and pipes are left out."""
    if entry.kind == DIRECTORY:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if entry.kind == LINK:
        os.symlink(entry.content, path)
        with held(path) as fd:
            own(fd, entry)
    elif entry.kind == FILE:
        write(path, store.content(entry), entry)


def write(path: str, data: bytes, entry: Entry, *, exactly: bool = False) -> None:
    """A new file with this content. ``exactly``: as `dress`, and on the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        dress(file.fileno(), entry, exactly=exactly)
        if exactly:
            os.fsync(file.fileno())


@contextlib.contextmanager
def held(path: str) -> Iterator[int]:
    """A descriptor of whatever has this name, also of a symlink: what is done to it is done to that alone."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def dress(fd: int, entry: Entry, *, exactly: bool = False) -> None:
    """Owner, attributes and mode, in this order: a change of owner clears set-user-ID.

    By a descriptor: whoever may write the directory could have the name lead to another file by now. ``exactly``: an
    owner that can't be given is an error also for who isn't root.
    """
    own(fd, entry, exactly=exactly)
    path = f"/proc/self/fd/{fd}"  # works for what is only held, too
    for name, value in entry.xattrs:
        try:
            os.setxattr(path, name, bytes.fromhex(value))
        except OSError:
            if not name.startswith(_UNSUITED):
                raise
    os.chmod(path, entry.mode)


def own(fd: int, entry: Entry, *, exactly: bool = False) -> None:
    """Give it its owner.

    Raises:
        OSError: ENOENT: it isn't what it was made as, so somebody has exchanged it.
    """
    found = os.fstat(fd)
    if KINDS.get(stat.S_IFMT(found.st_mode)) != entry.kind:
        raise FileNotFoundError(errno.ENOENT, "somebody has put something else in its place")
    if (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
        try:
            os.chown(f"/proc/self/fd/{fd}", entry.uid, entry.gid)
        except PermissionError:
            if exactly or os.geteuid() == 0:
                raise
