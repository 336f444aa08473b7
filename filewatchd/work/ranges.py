"""Taking a range out of a file: fallocate(2), which Python doesn't have.

FALLOC_FL_PUNCH_HOLE frees blocks and leaves zeros; every offset stays. FALLOC_FL_COLLAPSE_RANGE cuts a range out, so
that what is behind it moves to the front; offset and length are multiples of the block size and end before the file's
end. Both are done when the call returns, and lost like any other write without an fsync.
"""

from __future__ import annotations

import ctypes
import os
from errno import EINVAL, ENOSYS, ESPIPE

_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE_RANGE = 0x01, 0x02, 0x08
_CANT = frozenset({EINVAL, ENOSYS, ESPIPE})
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 0x01, 0x02, 0x04  # of sync_file_range(2)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(fd: int, start: int, end: int) -> None:
    """Free a range; what lies in it reads as zeros.

    Raises:
        OSError: EOPNOTSUPP where the filesystem can't.
    """
    if end > start:
        _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)


def collapse(fd: int, length: int) -> None:
    """Cut off a file's head, a multiple of its block size.

    Raises:
        OSError: EOPNOTSUPP where the filesystem can't; EINVAL if that is no such multiple, or all of the file.
    """
    _fallocate(fd, _COLLAPSE_RANGE, 0, length)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_out(fd: int, *, wait: bool = False) -> None:
    """Write a file's dirty pages to the disk, or (without ``wait``) begin to: a later fsync or collapse has less to do.

    It neither writes what finds them again, nor takes the inode's lock: writers go on meanwhile.

    Raises:
        OSError: with ``wait``: they couldn't be written, which no fsync of this descriptor tells again.
    """
    how = _WAIT_BEFORE | _WRITE | _WAIT_AFTER if wait else _WRITE
    failed = _libc.sync_file_range(ctypes.c_int(fd), ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(how))
    if failed and wait and (number := ctypes.get_errno()) not in _CANT:
        raise OSError(number, os.strerror(number))


def block_size(fd: int) -> int:
    """The unit in which a file's filesystem allocates."""
    return os.fstatvfs(fd).f_bsize


def aligned(fd: int, offset: int) -> int:
    """The last block boundary at or before an offset."""
    size = block_size(fd)
    return offset // size * size


def line_end(fd: int, start: int, end: int, furthest: int = 16 << 20) -> int:
    """The offset behind the last newline in a range; ``start`` if there is none, ``end`` if none is near."""
    position = end
    while position > start:
        low = max(start, position - 65536)
        found = os.pread(fd, position - low, low).rfind(b"\n")
        if found >= 0:
            return low + found + 1
        position = low
        if end - position >= furthest:
            return end
    return start
