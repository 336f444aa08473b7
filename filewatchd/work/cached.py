"""What of a file is in the page cache, so that reading it leaves the cache as it was.

Reading a file brings its pages in and pushes others out; whoever reads a whole disk at night finds a cold machine in
the morning. POSIX_FADV_DONTNEED lets pages go again, but also those that somebody else had there before, so we look
first: cachestat(2) counts the pages of a range (Linux 6.5); before, mincore(2) tells of each page of a mapping. A
mapping that is never touched reads nothing and can't fault. Since Linux 5.2 mincore answers only who may write the
file or owns it, and says that all is there to others: then nothing is let go.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from errno import EINVAL, ENOSYS, EPERM

_CACHESTAT = 451  # the same number on all architectures
_PAGE = mmap.PAGESIZE
_STRETCH = 1 << 20  # bytes looked at together where some of a file is there and some isn't

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
_plain = ctypes.CDLL(None, use_errno=True)
_plain.mmap.restype = ctypes.c_void_p
_plain.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
)  # fmt: skip
_plain.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_plain.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_FAILED = ctypes.c_void_p(-1).value


class Cache:
    """Asks the kernel; one for each thread, since the buffers are its own."""

    def __init__(self) -> None:
        self._range = (ctypes.c_uint64 * 2)()
        self._answer = (ctypes.c_uint64 * 5)()
        self._at = ctypes.addressof(self._range), ctypes.addressof(self._answer)
        self._known = True  # whether the kernel has cachestat

    def pages(self, fd: int, start: int = 0, length: int = 0) -> int | None:
        """How many pages of a range (length 0: to the end) are there; None where that can't be told."""
        if not self._known:
            return None
        self._range[0], self._range[1] = start, length
        if _syscall(_CACHESTAT, fd, *self._at, 0) == 0:
            return self._answer[0]
        if ctypes.get_errno() in (ENOSYS, EPERM, EINVAL):
            self._known = False
        return None

    def absent(self, fd: int, size: int) -> list[tuple[int, int]]:
        """The ranges (start, end) of a file that aren't there, to be let go after reading them."""
        if size <= 0:
            return []
        there = self.pages(fd)
        if there is None:
            return _by_mincore(fd, size)
        if there == 0:
            return [(0, size)]
        if there >= -(-size // _PAGE):
            return []
        found: list[tuple[int, int]] = []
        for start in range(0, size, _STRETCH):
            self._search(fd, start, min(start + _STRETCH, size), found)
        return found

    def _search(self, fd: int, start: int, end: int, found: list[tuple[int, int]]) -> None:
        """Halve a range until all of each part is there or none."""
        pages = -(-(end - start) // _PAGE)
        there = self.pages(fd, start, end - start) or 0
        if there >= pages:
            return
        if there == 0 or pages == 1:
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
            return
        middle = start + pages // 2 * _PAGE
        self._search(fd, start, middle, found)
        self._search(fd, middle, end, found)


def let_go(fd: int, ranges: list[tuple[int, int]]) -> None:
    """Drop these ranges from the page cache, as far as nobody has them dirty or mapped."""
    for start, end in ranges:
        os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)


def _by_mincore(fd: int, size: int) -> list[tuple[int, int]]:
    """The same for kernels without cachestat; nothing where that can't be told."""
    address = _plain.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        return []
    try:
        pages = -(-size // _PAGE)
        vector = ctypes.create_string_buffer(pages)
        if _plain.mincore(address, size, vector) != 0:
            return []
        return _runs(vector.raw[:pages], size)
    finally:
        _plain.munmap(address, size)


def _runs(vector: bytes, size: int) -> list[tuple[int, int]]:
    """Ranges of pages whose lowest bit isn't set."""
    found: list[tuple[int, int]] = []
    start = None
    for number, value in enumerate(vector):
        if value & 1:
            if start is not None:
                found.append((start * _PAGE, number * _PAGE))
            start = None
        elif start is None:
            start = number
    if start is not None:
        found.append((start * _PAGE, size))
    return found
