"""Compressing a file into members, several at once, with memory that doesn't grow with the file.

A member is made by one thread: it reads its share of the source by position, piece by piece into one buffer, and
keeps only the compressed bytes. They are written in order by whoever drives the iterator, who gets each member after
it is written, and may fsync it, record it and punch the source behind it: nothing after it is written before he asks
for the next. Meanwhile the threads make the next members, as many as there are threads and no more.

Shares end at a line's end where there is one in their last 64 KiB, so that lines can be searched member by member.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from filewatchd.codecs.base import MEMBER, PIECE, Buffer, Codec, Member, read_at
from filewatchd.errors import ActionError

_LOOK_BACK = 1 << 16
_VECTOR = 512  # buffers of one pwritev: below every system's IOV_MAX


class Made(NamedTuple):
    """A compressed share."""

    parts: list[Buffer]
    length: int
    digest: str


def compress(
    source: int,
    target: int,
    codec: Codec,
    *,
    level: int | None = None,
    start: int = 0,
    end: int | None = None,
    at: int = 0,
    threads: int = 1,
    digest: bool = True,
    member: int = MEMBER,
) -> Iterator[Member]:
    """Compress ``source`` from ``start`` to ``end`` (its size) into ``target``, beginning at its byte ``at``.

    Gives each member when it is written. `Member.start` and `stop` are places in the source. Closing the iterator
    ends the threads. ``digest``: hash the content as it is read, for `verify`.

    Raises:
        OSError: the system's; what is written then beyond the last member given is to be truncated.
        ActionError: the source became shorter; not retryable as it is.
    """
    stop = os.fstat(source).st_size if end is None else end
    shares = cuts(source, start, stop, member)
    work = Work(source, codec, codec.level if level is None else level, digest)
    if threads <= 1 or codec.name == "none":
        made: Iterator[tuple[int, int, Made]] = ((low, high, work(low, high)) for low, high in shares)
    else:
        made = ahead(work, shares, threads)
    try:
        for low, high, result in made:
            write(target, result.parts, at)
            yield Member(low, high - low, at, result.length, result.digest)
            at += result.length
            del result
    finally:
        work.cancelled.set()
        made.close()  # type: ignore[attr-defined]


def cuts(source: int, start: int, stop: int, member: int = MEMBER) -> Iterator[tuple[int, int]]:
    """Where each share begins and ends."""
    while start < stop:
        end = min(start + member, stop)
        if end < stop:
            back = min(_LOOK_BACK, end - start)
            found = read_at(source, end - back, back).rfind(b"\n")
            end -= back - found - 1 if found >= 0 else 0
        yield start, end
        start = end


class Work:
    """Makes a member of a share; in any thread."""

    def __init__(self, source: int, codec: Codec, level: int, digest: bool) -> None:
        self._source = source
        self._codec = codec
        self._level = level
        self._digest = digest
        self.cancelled = threading.Event()

    def __call__(self, start: int, stop: int) -> Made:
        digest = hashlib.sha256() if self._digest else None
        parts = self._codec.encode(self._pieces(start, stop, digest), stop - start, self._level)
        return Made(parts, sum(map(len, parts)), digest.hexdigest() if digest is not None else "")

    def _pieces(self, start: int, stop: int, digest: hashlib._Hash | None) -> Iterator[memoryview]:
        """The share, through one buffer."""
        buffer = memoryview(bytearray(min(PIECE, stop - start)))
        while start < stop and not self.cancelled.is_set():
            count = os.preadv(self._source, [buffer[: stop - start]], start)
            if count == 0:
                raise ActionError(f"the file became shorter than {stop} bytes while it was read", retryable=False)
            start += count
            if digest is not None:
                digest.update(buffer[:count])
            yield buffer[:count]


def ahead(work: Work, shares: Iterator[tuple[int, int]], threads: int) -> Iterator[tuple[int, int, Made]]:
    """The members in order, made by threads.

    A thread starts on the next share while a member waits to be written, but not behind a member that hardly shrank:
    so what is held is at most a member for each thread, whatever the content.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="compress")
    waiting: deque[tuple[int, int, Future[Made]]] = deque()

    def submit() -> None:
        for low, high in shares:
            waiting.append((low, high, pool.submit(work, low, high)))
            if len(waiting) >= threads:
                return

    try:
        submit()
        while waiting:
            low, high, future = waiting.popleft()
            made = future.result()
            del future
            early = made.length * 2 < high - low
            if early:
                submit()
            yield low, high, made
            del made
            if not early:
                submit()
    finally:
        work.cancelled.set()
        pool.shutdown(cancel_futures=True)


def write(target: int, parts: list[Buffer], at: int) -> None:
    """Write all of it there; a short write goes on, so that what stopped it shows as the system's error."""
    for first in range(0, len(parts), _VECTOR):
        views = [memoryview(part) for part in parts[first : first + _VECTOR]]
        while views:
            count = os.pwritev(target, views, at)
            at += count
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if views:
                views[0] = views[0][count:]
