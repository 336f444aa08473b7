"""Whether a folder stands on the filesystem that was mounted there, and not on the bare directory beneath it.

What is unmounted leaves its mount point behind, an empty directory of what is around it. An archive that is made there
disappears when the filesystem comes back, and what isn't found there isn't gone. So the ledger keeps, of a folder of
logs or archives, its *point*: the directory at or above it where its filesystem is mounted. A folder that is opened
while nothing is mounted there is refused. Any filesystem will do: a disk may be replaced by another. Whoever holds a
descriptor while it is unmounted lazily (`umount -l`) goes on in it, and what he has written and synced is there when it
comes back.

A bind mount of the filesystem that is around it isn't seen: it has its device.
"""

from __future__ import annotations

import os

from filewatchd.errors import ActionError


def point_of(folder: str) -> str:
    """Where the filesystem of a folder is mounted, or would be if it were made; empty for that of the root.

    Raises:
        OSError: that can't be told, and isn't to be taken for the root's.
    """
    device, point = None, folder
    while True:
        try:
            found = os.stat(folder).st_dev
        except FileNotFoundError:
            found = None
        except PermissionError:
            return ""
        if device is not None and found != device:
            return point
        device, point, folder = found, folder, os.path.dirname(folder)
        if folder == point:
            return ""


def is_within(folder: str, point: str) -> bool:
    """Whether a folder is a point, or below it."""
    return folder == point or folder.startswith(point.rstrip("/") + "/")


def is_mounted(point: str) -> bool:
    """Whether anything is mounted at a point."""
    try:
        return os.stat(point).st_dev != os.stat(os.path.dirname(point)).st_dev
    except OSError:
        return False


def check(fd: int | None, folder: str, point: str, remedy: str = "mount it again") -> None:
    """What was opened as a folder stands on what is mounted at its point; None: it isn't opened yet.

    Raises:
        ActionError: nothing is mounted there.
    """
    if not point:
        return
    try:
        mounted = os.stat(point).st_dev if fd is None else os.fstat(fd).st_dev
        if mounted != os.stat(os.path.dirname(point)).st_dev:
            return
    except FileNotFoundError:
        pass
    what = f", where {folder} was" if folder != point else ""
    raise ActionError(f"nothing is mounted at {point}{what}: {remedy}")
