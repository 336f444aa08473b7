"""Whether a folder stands on the filesystem that was mounted there, and not on the bare directory beneath it.

What is unmounted leaves its mount point behind, an empty directory of what is around it. An archive that is made there
disappears when the filesystem comes back, and what isn't found there isn't gone. So the ledger keeps, of a folder of
logs or archives, its *point*: the directory at or above it where its filesystem is mounted. A folder that is opened
while nothing is mounted there is refused. Any filesystem will do: a disk may be replaced by another. Whoever holds a
descriptor while it is unmounted lazily (`umount -l`) goes on in it, and what he has written and synced is there when it
comes back.

A bind mount counts if it shows another directory than is beneath it (`work.mounted`).
"""

from __future__ import annotations

import os

from filewatchd.errors import ActionError
from filewatchd.work.mounted import is_apart, mounted


def point_of(folder: str) -> str:
    """Where the filesystem of a folder is mounted, or would be if it were made; empty for that of the root.

    Raises:
        OSError: that can't be told, and isn't to be taken for the root's.
    """
    inner, point = None, folder
    while True:
        try:
            found = mounted(folder)
        except FileNotFoundError:
            found = None
        except PermissionError:
            return ""
        if inner is not None and (found is None or is_apart(inner, found)):
            return point
        inner, point, folder = found, folder, os.path.dirname(folder)
        if folder == point:
            return ""


def is_within(folder: str, point: str) -> bool:
    """Whether a folder is a point, or below it."""
    return folder == point or folder.startswith(point.rstrip("/") + "/")


def is_mounted(point: str) -> bool:
    """Whether anything is mounted at a point."""
    try:
        return _stands(point, point)
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
        if _stands(point if fd is None else fd, point):
            return
    except FileNotFoundError:
        pass
    what = f", where {folder} was" if folder != point else ""
    raise ActionError(f"nothing is mounted at {point}{what}: {remedy}")


def _stands(what: int | str, point: str) -> bool:
    return is_apart(mounted(what), mounted(os.path.dirname(point)))
