"""renameat2(2): two names swapped in one stroke, or a rename that never replaces anything.

RENAME_EXCHANGE: nobody ever finds either name missing. RENAME_NOREPLACE: EEXIST instead of what rename(2) does. ext4,
xfs, btrfs, tmpfs and overlay have both.
"""

from __future__ import annotations

import ctypes
import os

_NOREPLACE, _EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(folder: int, one: str, other: str) -> None:
    """Swap two names in a folder.

    Raises:
        OSError: one of them isn't there, or the filesystem can't.
    """
    _renameat2(folder, one, folder, other, _EXCHANGE)


def rename_new(folder: int, old: str, into: int, new: str) -> None:
    """Give a file a name that nobody has.

    Raises:
        FileExistsError: somebody has it.
        OSError: the system's own refusals.
    """
    _renameat2(folder, old, into, new, _NOREPLACE)


def _renameat2(folder: int, old: str, into: int, new: str, flags: int) -> None:
    names = ctypes.c_char_p(os.fsencode(old)), ctypes.c_char_p(os.fsencode(new))
    done = _libc.renameat2(ctypes.c_int(folder), names[0], ctypes.c_int(into), names[1], ctypes.c_uint(flags))
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old, None, new)
