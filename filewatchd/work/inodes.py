"""Telling one inode from another, also when its number was used before: by its birth.

A filesystem gives a deleted file's inode number to the next one, ext4 at once. The birth time (statx(2)) of an inode
never changes and never comes again, so (ino, btime) stands for one file through renames, remounts and reboots. Where
a filesystem keeps none it is 0, and the number alone has to do.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
_STATX_BTIME = 0x800
_AT_FDCWD = -100
_ASKED = _STATX_BTIME | 0x7FF
_FIELDS = struct.Struct("=I28xQ40xqI")  # of struct statx: stx_mask, stx_ino, stx_btime
_Room = ctypes.c_char * 256
Buffer = ctypes.Array[ctypes.c_char]
_statx = ctypes.CDLL(None, use_errno=True).statx
_statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, _Room)


class Inode(NamedTuple):
    """One file. ``btime_ns``: when it was made, 0 where nobody knows."""

    ino: int
    btime_ns: int


def inode_of(target: int | str, folder: int = _AT_FDCWD) -> Inode:
    """The inode of a descriptor, or of a name in a folder; a symlink stands for itself.

    Raises:
        OSError: there is none.
    """
    room = statx(target, _ASKED, folder, follow=False)
    mask, ino, seconds, nanoseconds = _FIELDS.unpack_from(room)
    return Inode(ino, seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0)


def statx(target: int | str, asked: int, folder: int = _AT_FDCWD, *, follow: bool = True) -> Buffer:
    """The struct statx of a descriptor, or of a name in a folder. ``asked``: its mask.

    Raises:
        OSError: there is none.
    """
    room = _Room()
    if isinstance(target, int):
        failed = _statx(target, b"", _AT_EMPTY_PATH, asked, room)
    else:
        failed = _statx(folder, os.fsencode(target), 0 if follow else _AT_SYMLINK_NOFOLLOW, asked, room)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target if isinstance(target, str) else None)
    return room
