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
_libc = ctypes.CDLL(None, use_errno=True)


class Inode(NamedTuple):
    """One file. ``btime_ns``: when it was made, 0 where nobody knows."""

    ino: int
    btime_ns: int


def inode_of(target: int | str, folder: int = _AT_FDCWD) -> Inode:
    """The inode of a descriptor, or of a name in a folder; a symlink stands for itself.

    Raises:
        OSError: there is none.
    """
    room = ctypes.create_string_buffer(256)
    if isinstance(target, int):
        where, name, flags = target, b"", _AT_EMPTY_PATH
    else:
        where, name, flags = folder, os.fsencode(target), _AT_SYMLINK_NOFOLLOW
    asked = ctypes.c_uint(_STATX_BTIME | 0x7FF)
    if _libc.statx(ctypes.c_int(where), name, ctypes.c_int(flags), asked, room) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target if isinstance(target, str) else None)
    (mask,) = struct.unpack_from("=I", room, 0)
    (ino,) = struct.unpack_from("=Q", room, 32)
    seconds, nanoseconds = struct.unpack_from("=qI", room, 80)
    return Inode(ino, seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0)
