"""Hashing that can be trusted: a digest is of one content that the file had at one time, or there is none.

The kernel lets anybody write while we read, so every reading is bracketed: fstat before and after in nanoseconds, and
the bytes read are counted. If anything differs the file is read again, at most twice; then it is `unstable`. A write
that the timestamps don't show yet is seen by other means: a writer through a mapping, or one that is still at work,
has the file open for writing, which a read lease tells; a write within the clock's tick makes the record racy, and it
is read again later (`filewatchd.work.files`). A mapping isn't used to read: a truncation would kill the daemon with
SIGBUS.

A hole is read as zeros from memory: SEEK_DATA and SEEK_HOLE tell where nothing is stored. The page cache is left as it
was (`filewatchd.work.cached`), and so is the access time where the file is ours (O_NOATIME).

Some files lie about their size (procfs says 0). What is read until the end counts, but only if it is twice the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from errno import EAGAIN, EINVAL, EPERM
from typing import Any, Protocol

from filewatchd.work.cached import Cache, let_go
from filewatchd.work.files import take_and_drop_lease
from filewatchd.work.pool import alive

try:
    from blake3 import blake3
except ImportError:  # the extra; `filewatchd check` says so where it is asked for
    blake3 = None  # type: ignore[assignment, misc]

SMALL = 1 << 18  # bytes: read in one go
CHUNK = 1 << 19  # stays in the processor's cache between reading and hashing
_TRIES = 3
_ENDLESS = 64 << 20  # bytes of a file that says that it has none
_ZEROS = memoryview(bytes(CHUNK))
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Hasher(Protocol):
    """What hashlib's and blake3's objects have in common."""

    def update(self, data: Any, /) -> object: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Hasher: ...


def _new_blake3() -> Hasher:
    return blake3()


HASHERS: dict[str, Callable[[], Hasher]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "blake2b": hashlib.blake2b,
    "blake3": _new_blake3,
}


def digest_of(algorithm: str, data: bytes) -> bytes:
    """The digest of some bytes."""
    if algorithm == "sha256":
        return hashlib.sha256(data).digest()
    hasher = HASHERS[algorithm]()
    hasher.update(data)
    return bytes(hasher.digest())


class ChangedError(Exception):
    """The file changed while it was read, or is being written."""


class Hashed:
    """The digests of one reading."""

    __slots__ = ("count", "digests", "prefix", "status")

    def __init__(self, status: os.stat_result, digests: tuple[bytes, ...], prefix: bytes | None, count: int) -> None:
        self.status = status
        self.digests = digests
        self.prefix = prefix
        self.count = count


def open_file(name: str, directory: int, *, follow: bool) -> int:
    """Open a file of an open directory for reading, without an effect on what isn't a regular file.

    Raises:
        OSError: the system's refusal; EINVAL for what isn't a regular file.
    """
    flags = _FLAGS | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except OSError as error:
        if error.errno != EPERM:  # not ours
            raise
    return os.open(name, flags, dir_fd=directory)


def same(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether nothing was written between two looks at an open file, as far as its timestamps tell."""
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_size == after.st_size
        and before.st_ctime_ns == after.st_ctime_ns
    )


def hash_small(fd: int, status: os.stat_result, algorithm: str, cache: Cache) -> Hashed | None:
    """The digest of a small file, read in one go; None if it has to be read with more care."""
    size = status.st_size
    absent = cache.absent(fd, size)
    data = os.read(fd, size + 1)
    if absent:
        let_go(fd, absent)
    if len(data) != size:
        return None
    taken, error = take_and_drop_lease(fd)
    if (not taken and error == EAGAIN) or not same(status, os.fstat(fd)):
        return None
    return Hashed(status, (digest_of(algorithm, data),), None, size)


def hash_file(
    fd: int, algorithms: tuple[str, ...], cache: Cache, *, prefix: int = -1, growing: bool = False
) -> Iterator[int | Hashed]:
    """Read an open file as often as it takes; yields bytes read now and then, and the digests at the end.

    Raises:
        ChangedError: it changed each time, or somebody has it open for writing. Says which.
        OSError: it can't be read.
    """
    found: Hashed | None = None
    for _ in range(_TRIES):
        before = os.fstat(fd)
        try:
            last, found = found, None
            for step in _read(fd, before, algorithms, cache, prefix, growing=growing):
                if isinstance(step, Hashed):
                    found = step
                else:
                    yield step
        except ChangedError as error:
            reason = error
            continue
        if found is None:
            continue
        if found.count == before.st_size or _agree(last, found):
            yield found
            return
        reason = ChangedError(f"its size is said to be {before.st_size} bytes, and {found.count} were read")
    raise reason


def _agree(last: Hashed | None, found: Hashed) -> bool:
    return last is not None and (last.digests, last.count) == (found.digests, found.count)


def _read(
    fd: int, before: os.stat_result, algorithms: tuple[str, ...], cache: Cache, prefix: int, *, growing: bool
) -> Iterator[int | Hashed]:
    hashers = [HASHERS[name]() for name in algorithms]
    size = before.st_size
    absent = cache.absent(fd, size)
    count, marked = 0, None
    try:
        for data in _pieces(fd, before, growing=growing):
            if 0 <= prefix - count <= len(data) and marked is None and hashers:
                early = hashers[0].copy()
                early.update(data[: prefix - count])
                marked = early.digest()
            for hasher in hashers:
                hasher.update(data)
            count += len(data)
            alive()
            _unchanged(before, os.fstat(fd), growing=growing)
            yield count
        if prefix == count == 0 and hashers:
            marked = hashers[0].digest()
    finally:
        let_go(fd, absent)
    if not growing:
        taken, error = take_and_drop_lease(fd)
        if not taken and error == EAGAIN:
            raise ChangedError("somebody has it open for writing")
    _unchanged(before, os.fstat(fd), growing=growing)
    yield Hashed(before, tuple(hasher.digest() for hasher in hashers), marked, count)


def _unchanged(before: os.stat_result, after: os.stat_result, *, growing: bool) -> None:
    """Raises `ChangedError`: the file isn't what it was. A growing one may have become longer."""
    if growing and after.st_size >= before.st_size:
        return
    if not same(before, after):
        raise ChangedError("it changed whenever it was read")


def _pieces(fd: int, status: os.stat_result, *, growing: bool) -> Iterator[memoryview]:
    """The file's bytes from its beginning, holes as zeros; one byte more than its size shows that it has grown.

    Each piece is overwritten by the next: a fresh megabyte for each would cost a third of sha256's time in page faults.
    """
    size = status.st_size
    room = memoryview(bytearray(CHUNK))
    at = 0
    sparse = status.st_blocks * 512 < size - CHUNK
    while at < size:
        if sparse:
            start, end = _stored(fd, at, size)
            while at < start:
                piece = _ZEROS[: start - at]
                yield piece
                at += len(piece)
        else:
            end = size
        while at < end:
            count = os.preadv(fd, [room[: end - at]], at)
            if not count:
                return
            yield room[:count]
            at += count
    if growing:
        return
    rest = 0
    while count := os.preadv(fd, [room if size == 0 else room[:1]], at):  # beyond its size there is something
        rest += count
        if size or rest > _ENDLESS:
            raise ChangedError("it grows while it is read")
        yield room[:count]
        at += count


def _stored(fd: int, at: int, size: int) -> tuple[int, int]:
    """The next range that is stored: its beginning, and the next hole's."""
    try:
        start = os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == EINVAL:
            return at, size  # the filesystem can't tell
        return size, size  # ENXIO: only a hole is left
    return min(start, size), min(os.lseek(fd, start, os.SEEK_HOLE), size)


def is_regular(status: os.stat_result) -> bool:
    """Whether it is a file."""
    return stat.S_ISREG(status.st_mode)
