"""Renaming that loses nothing: two names exchanged in one step, or a name given only if it is free (renameat2(2)).

A plain rename takes whatever has the new name by then away. An exchange leaves it under the other name, so it can be
looked at before anything is done about it, and nobody ever finds either name missing. ext4, xfs, btrfs, tmpfs and
overlay have both. Names are paths, or are in the directory of a descriptor.
"""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
_renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def exchange(one: str, other: str, folder: int = _AT_FDCWD) -> None:
    """Exchange what two names on one filesystem stand for.

    Raises:
        OSError: one isn't there; EINVAL: the filesystem can't.
    """
    _rename(folder, one, folder, other, _EXCHANGE)


def rename_free(old: str, new: str, folder: int = _AT_FDCWD, into: int = _AT_FDCWD) -> None:
    """Rename. ``folder``: of the old name, ``into``: of the new one.

    Raises:
        FileExistsError: the new name is taken.
        OSError: the system's own refusals.
    """
    _rename(folder, old, into, new, _NOREPLACE)


def _rename(folder: int, old: str, into: int, new: str, flags: int) -> None:
    if _renameat2(folder, os.fsencode(old), into, os.fsencode(new), flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old, None, new)
