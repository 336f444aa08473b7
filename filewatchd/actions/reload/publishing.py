"""Putting a set that passed into the live directory, in one step. Blocking.

The new tree is made beside the live one, on the same filesystem, with everything on the disk. A live directory
exchanges its name with it (renameat2), a symlink with one that leads to it. At every moment the live path leads to all
of the old set or all of the new. What came out is looked at before it goes: live files are nobody's to edit, but if
somebody did, their bytes are kept as a version (`putting`). If it is no directory, or another link than was looked at,
somebody has just replaced it: it gets its name back.

An error isn't taken for an answer here: os.path.islink and its like say no when the system says nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import NamedTuple

from filewatchd.actions.reload import foreign, staging
from filewatchd.actions.reload.entries import Set, differences
from filewatchd.actions.reload.store import Store, discard
from filewatchd.errors import ActionError
from filewatchd.state.atomic import sync_directory
from filewatchd.work.exchange import exchange, rename_free


class Place(NamedTuple):
    """Where things are around a live path."""

    live: str

    @property
    def parent(self) -> str:
        """The directory it is in."""
        return os.path.dirname(self.live)

    @property
    def fresh(self) -> str:
        """The new tree until it is live; after that the old one."""
        return f"{self.parent}/.{os.path.basename(self.live)}.filewatchd-new"

    @property
    def trees(self) -> str:
        """Where the trees are that a symlink leads to."""
        return f"{self.parent}/.{os.path.basename(self.live)}.filewatchd"


def prepare(live: str) -> list[str]:
    """There must be something for the check to see the candidate at, and it must be ours to exchange.

    Returns the directories made for it.

    Raises:
        ActionError: something is in it that no version could keep.
        OSError: the system's own refusals.
    """
    made: list[str] = []
    path = live
    while not exists(path):
        made.insert(0, path)
        path = os.path.dirname(path)
    for path in made:
        os.mkdir(path, 0o755)
    tree = linked(live) or live
    if tree == live or os.path.dirname(tree) == os.path.realpath(Place(live).trees):  # others' trees stay
        foreign.refuse(tree)
    return made


def exists(path: str) -> bool:
    """Whether the name is there, wherever it leads.

    Raises:
        OSError: that can't be known.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def unprepare(made: list[str]) -> None:
    """Take these directories away again, unless somebody has put something into them."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def build(store: Store, live: str, entries: Set) -> None:
    """Make the new tree beside the live one, on the disk. It has its name only when it is whole."""
    place = Place(live)
    making = f"{place.fresh}/making"
    discard(place.fresh)
    os.makedirs(making, 0o700)
    rows = {key: entry for key, entry in entries.items() if key == "0" or key.startswith("0/")}
    staging.change(store, making, differences({}, rows))
    sync_tree(making)
    os.rename(f"{making}/0", f"{place.fresh}/0")
    sync_directory(place.fresh)


def switch(live: str, digest: str) -> str:
    """The new tree becomes the live one. Returns where the old one is now.

    Raises:
        ActionError: somebody has just replaced the live one.
        OSError: the system's own refusals.
    """
    place = Place(live)
    target = target_of(live)
    if target is not None:
        return _flip(place, digest, target)
    old = f"{place.fresh}/0"
    exchange(old, live)
    if not stat.S_ISDIR(os.lstat(old).st_mode):
        exchange(old, live)
        raise ActionError(f"{live} was replaced meanwhile, by what is no directory; it is left so")
    sync_directory(place.parent)
    sync_directory(place.fresh)
    return old


def _flip(place: Place, digest: str, target: str) -> str:
    with contextlib.suppress(FileExistsError):
        os.mkdir(place.trees, 0o755)
    name = f"{place.trees}/{digest[:16]}-{secrets.token_hex(2)}"
    before = linked(place.live)
    rename_free(f"{place.fresh}/0", name)
    sync_directory(place.trees)
    link = f"{place.fresh}/link"
    os.symlink(os.path.relpath(name, place.parent), link)
    exchange(link, place.live)
    if target_of(link) != target:
        exchange(link, place.live)
        raise ActionError(f"{place.live} was replaced meanwhile, by what leads elsewhere; it is left so")
    sync_directory(place.parent)
    for old in os.listdir(place.trees):  # the one before stays: who has it open goes on
        if f"{place.trees}/{old}" not in (name, before):
            discard(f"{place.trees}/{old}")
    discard(place.fresh)
    return before


def target_of(path: str) -> str | None:
    """What a symlink has in it; None if it is none, or isn't there.

    Raises:
        OSError: that can't be known.
    """
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def linked(live: str) -> str:
    """The tree that a live symlink leads to; "" if it is none, or leads nowhere.

    Raises:
        OSError: that can't be known.
    """
    try:
        return os.path.realpath(live, strict=True) if target_of(live) is not None else ""
    except FileNotFoundError:
        return ""


def former(live: str) -> list[str]:
    """The trees of ours that a live symlink led to before."""
    place, now = Place(live), linked(live)
    try:
        names = os.listdir(place.trees)
    except FileNotFoundError:
        return []
    return [f"{place.trees}/{name}" for name in names if f"{place.trees}/{name}" != now]


def clear(live: str) -> None:
    """What was beside the live one has been looked at, and goes."""
    discard(Place(live).fresh)


def leftover(live: str) -> str:
    """Where an old tree, or a new one, was left by a crash; "" if nowhere."""
    path = f"{Place(live).fresh}/0"
    return path if exists(path) else ""


def set_aside(live: str) -> str:
    """The old tree isn't ours to remove: it gets a name that can be seen, which is returned."""
    place = Place(live)
    for name in asides(live):
        try:
            rename_free(f"{place.fresh}/0", name)
        except FileExistsError:
            continue
        sync_directory(place.parent)
        return name
    raise FileExistsError(errno.EEXIST, f"all names up to {name} are taken; look at what is there")


def asides(live: str) -> list[str]:
    """The names that old trees get."""
    return [f"{live}.kept-by-filewatchd" + (f"-{number}" if number else "") for number in range(100)]


def is_aside(live: str) -> bool:
    """Whether an old tree has such a name."""
    return any(map(exists, asides(live)))


def sync_tree(directory: str) -> None:
    """All files and directories below."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = f"{folder}/{name}"
            if not os.path.islink(path):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        sync_directory(folder)
