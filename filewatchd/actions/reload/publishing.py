"""Putting a set that passed into the live directory, in one step. Blocking.

The new tree is made beside the live one, on the same filesystem, with everything on the disk. A live directory
exchanges its name with it (renameat2); a symlink is replaced by one that leads to it. At every moment the live path
leads to all of the old set or all of the new. What came out is looked at before it goes: live files are nobody's to
edit, but if somebody did, their bytes are kept as a version.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import NamedTuple

from filewatchd.actions.reload import staging
from filewatchd.actions.reload.entries import Set, differences
from filewatchd.actions.reload.store import Store, discard
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
    """There must be something for the check to see the candidate at. Returns the directories made for it."""
    made: list[str] = []
    path = live
    while not os.path.lexists(path):
        made.insert(0, path)
        path = os.path.dirname(path)
    for path in made:
        os.mkdir(path, 0o755)
    return made


def unprepare(made: list[str]) -> None:
    """Take these directories away again, unless somebody has put something into them."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def build(store: Store, live: str, entries: Set) -> None:
    """Make the new tree beside the live one, on the disk."""
    place = Place(live)
    discard(place.fresh)
    os.mkdir(place.fresh, 0o700)
    rows = {key: entry for key, entry in entries.items() if key == "0" or key.startswith("0/")}
    staging.change(store, place.fresh, differences({}, rows))
    sync_tree(place.fresh)


def switch(live: str, digest: str) -> str:
    """The new tree becomes the live one. Returns where the old one is now."""
    place = Place(live)
    if os.path.islink(live):
        return _flip(place, digest)
    exchange(f"{place.fresh}/0", live)
    sync_directory(place.parent)
    sync_directory(place.fresh)
    return f"{place.fresh}/0"


def _flip(place: Place, digest: str) -> str:
    with contextlib.suppress(FileExistsError):
        os.mkdir(place.trees, 0o755)
    name = f"{place.trees}/{digest[:16]}-{secrets.token_hex(2)}"
    before = os.path.realpath(place.live)
    rename_free(f"{place.fresh}/0", name)
    sync_directory(place.trees)
    link = f"{place.fresh}/link"
    os.symlink(os.path.relpath(name, place.parent), link)
    os.rename(link, place.live)
    sync_directory(place.parent)
    for old in os.listdir(place.trees):  # the one before stays: who has it open goes on
        if f"{place.trees}/{old}" not in (name, before):
            discard(f"{place.trees}/{old}")
    discard(place.fresh)
    return before


def linked(live: str) -> str:
    """The tree that a live symlink leads to; "" if it is none."""
    return os.path.realpath(live) if os.path.islink(live) else ""


def clear(live: str) -> None:
    """The old tree has been looked at, and goes."""
    discard(Place(live).fresh)


def leftover(live: str) -> str:
    """Where an old tree, or a new one half made, was left by a crash; "" if nowhere."""
    path = f"{Place(live).fresh}/0"
    return path if os.path.isdir(path) else ""


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
