"""Renaming that loses nothing: two names exchanged in one step, or a name given only if it is free (renameat2(2)).

A plain rename takes whatever has the new name by then away. An exchange leaves it under the other name, so it can be
looked at before anything is done about it.
"""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: str, other: str) -> None:
    """Exchange what two names on one filesystem stand for.

    Raises:
        OSError: one isn't there; EINVAL: the filesystem can't.
    """
    _rename(one, other, _EXCHANGE)


def rename_free(old: str, new: str) -> None:
    """Rename.

    Raises:
        FileExistsError: the new name is taken.
        OSError: the system's own refusals.
    """
    _rename(old, new, _NOREPLACE)


def _rename(old: str, new: str, flags: int) -> None:
    paths = os.fsencode(old), os.fsencode(new)
    if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(flags)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old, None, new)
