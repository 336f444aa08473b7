"""Reading archives: member by member, from the middle, in parallel, and to find out whether all of it is there."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from filewatchd.codecs.base import MEMBER, Codec, DamagedError, Extent, Member

_AHEAD = 2 * MEMBER  # a member with more content isn't held in memory


def members(fd: int, codec: Codec, *, offset: int = 0, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """The members of an archive, without decompressing where the format allows (`codecs.base`).

    ``offset`` and ``start``: where in the archive and in its content to begin, at a member's beginning. ``end``: where
    the archive ends, if that isn't the file's end.

    Raises:
        DamagedError: there is something else than a whole member; those before it have been given.
    """
    end = os.fstat(fd).st_size if end is None else end
    if offset == 0 and (known := codec.table(fd, end)) is not None:
        yield from laid_out(known)
        return
    while offset < end:
        if codec.name != "none" and only_zeros(fd, offset, end):
            return
        extent = codec.measure(fd, offset, end) or decoded_extent(fd, codec, offset, end)
        yield Member(start, extent.size, offset, extent.length)
        offset, start = offset + extent.length, start + extent.size


def hops(fd: int, codec: Codec, end: int | None = None) -> bool:
    """Whether an archive's (first) members are found without decompressing them."""
    end = os.fstat(fd).st_size if end is None else end
    return codec.table(fd, end) is not None or (end > 0 and codec.measure(fd, 0, end) is not None)


def laid_out(extents: Iterable[Extent]) -> Iterator[Member]:
    """Members one behind the other."""
    offset = start = 0
    for length, size in extents:
        yield Member(start, size, offset, length)
        offset, start = offset + length, start + size


def only_zeros(fd: int, offset: int, end: int) -> bool:
    """Whether nothing but padding follows, as tapes and preallocation leave it and gzip(1) accepts it."""
    if os.pread(fd, 1, offset) != b"\0":
        return False
    while offset < end:
        data = os.pread(fd, MEMBER, offset)
        if data.strip(b"\0"):
            raise DamagedError(offset, "zeros, and something behind them")
        offset += len(data) or end
    return True


def decoded_extent(fd: int, codec: Codec, offset: int, end: int) -> Extent:
    """A member's extent, by decompressing it."""
    size = 0
    pieces = codec.decode(fd, offset, end)
    while True:
        try:
            size += len(next(pieces))
        except StopIteration as stop:
            return Extent(stop.value, size)


def read(fd: int, codec: Codec, start: int = 0, stop: int | None = None, *, end: int | None = None) -> Iterator[bytes]:
    """The content from ``start`` to ``stop`` (its end), in pieces; members before it are hopped over.

    ``end``: where the archive ends, if that isn't the file's end.

    Raises:
        DamagedError: after everything before the damage was given.
    """
    end = os.fstat(fd).st_size if end is None else end
    known = codec.table(fd, end)
    table = iter(laid_out(known)) if known is not None else None
    offset = place = 0
    while offset < end and (stop is None or place < stop):
        if codec.name != "none" and only_zeros(fd, offset, end):
            return
        if table is not None:
            member = next(table)
            extent: Extent | None = Extent(member.length, member.size)
        else:
            extent = codec.measure(fd, offset, end) if start > place else None
        if extent is not None and place + extent.size <= start:
            offset, place = offset + extent.length, place + extent.size
            continue
        length, size = yield from within(codec.decode(fd, offset, end), place, start, stop)
        if length is None:
            return
        offset, place = offset + length, place + size


def within(
    pieces: Generator[bytes, None, int], place: int, start: int, stop: int | None
) -> Generator[bytes, None, tuple[int | None, int]]:
    """What of a member's content lies in the range; returns its length (None: the range has ended) and size."""
    size = 0
    while stop is None or place + size < stop:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value, size
        low, high = place + size, place + size + len(piece)
        size += len(piece)
        if high > start and (low < start or (stop is not None and high > stop)):
            yield piece[max(0, start - low) : None if stop is None else max(0, stop - low)]
        elif high > start:
            yield piece
    return None, size


def contents(fd: int, codec: Codec, wanted: Iterable[Member], threads: int = 1) -> Iterator[bytes]:
    """The content of these members in order, decompressed by several threads ahead of the reader.

    Members of more than 32 MiB, which others wrote, come in pieces and one after the other.
    """
    if threads <= 1:
        for member in wanted:
            yield from codec.decode(fd, member.offset, member.end)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decompress")
    waiting: deque[tuple[Member, Future[bytes] | None]] = deque()
    queue = iter(wanted)
    try:
        while True:
            while len(waiting) < threads and (found := next(queue, None)) is not None:
                small = found.size <= _AHEAD
                waiting.append((found, pool.submit(whole, fd, codec, found) if small else None))
            if not waiting:
                return
            first, future = waiting.popleft()
            if future is not None:
                yield future.result()
            else:
                yield from codec.decode(fd, first.offset, first.end)
    finally:
        pool.shutdown(cancel_futures=True)


def whole(fd: int, codec: Codec, member: Member) -> bytes:
    """A member's content. No more than it says is ever held.

    Raises:
        DamagedError: it is damaged, or has another size than it says.
    """
    parts, size = [], 0
    for piece in codec.decode(fd, member.offset, member.end):
        size += len(piece)
        if size > member.size:
            break
        parts.append(piece)
    if size != member.size:
        raise DamagedError(member.offset, f"the member there has not the {member.size} bytes of content it should")
    return b"".join(parts)


def verify(fd: int, codec: Codec, wanted: Iterable[Member], threads: int = 1) -> None:
    """Read members back from the disk and compare their sizes and digests, as `compress` gave them.

    The system's copy is dropped first, as far as it is on the disk already: call it after an fsync.

    Raises:
        DamagedError: they differ.
    """
    if threads <= 1:
        for member in wanted:
            verify_member(fd, codec, member)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        for _ in pool.map(lambda member: verify_member(fd, codec, member), wanted):
            pass


def verify_member(fd: int, codec: Codec, member: Member) -> None:
    """`verify` for one."""
    os.posix_fadvise(fd, member.offset, member.length, os.POSIX_FADV_DONTNEED)
    digest, size = hashlib.sha256(), 0
    pieces = codec.decode(fd, member.offset, member.end)
    while True:
        try:
            piece = next(pieces)
        except StopIteration as stop:
            length = stop.value
            break
        size += len(piece)
        if member.digest:
            digest.update(piece)
    if (length, size) != (member.length, member.size) or member.digest not in ("", digest.hexdigest()):
        raise DamagedError(member.offset, "the member that begins there reads back differently from what was written")
