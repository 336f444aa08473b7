"""Reading the package database's files: whole, as bytes, and never more than one could sensibly hold."""

from __future__ import annotations

import os

_LARGEST = 256 * 1024 * 1024


def contents(path: bytes) -> bytes:
    """What a file holds; nothing where there is none.

    Raises:
        OSError: it can't be read, or is larger than any such file.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST:
                raise OSError(27, f"{size} bytes are too many for a package database's file", os.fsdecode(path))
            return file.read(_LARGEST)
    except FileNotFoundError:
        return b""
