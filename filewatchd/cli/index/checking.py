"""Holding files against a list of checksums: each read once, some at a time, in the list's order."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from filewatchd.actions.checksum.formats import Bad, Entry, hasher

_CHUNK = 1024 * 1024
_THREADS = min(4, os.cpu_count() or 1)
_AHEAD = 64  # entries that wait for a thread
_KEPT = 10_000  # bad lines that are told one by one


class Finding(NamedTuple):
    """A file that isn't as the list says."""

    path: bytes
    line: int
    found: str


class Checked(NamedTuple):
    """What a check found. ``bytes``: read."""

    files: int
    ok: int
    bytes: int
    algorithms: frozenset[str]
    findings: list[Finding]
    bad: list[Bad]


def check(entries: Iterable[Entry | Bad], base: str) -> Checked:
    """Hold the files of a list against it; relative paths start at ``base``.

    Raises:
        FormatError: the list is damaged as a whole, or needs an extra.
    """
    files = ok = read = 0
    algorithms: set[str] = set()
    findings: list[Finding] = []
    bad: list[Bad] = []
    for entry, result in _results(entries, os.fsencode(base)):
        if isinstance(entry, Bad):
            if len(bad) < _KEPT:
                bad.append(entry)
            continue
        found, count = result.result() if result is not None else ("", 0)
        files, ok, read = files + 1, ok + (not found), read + count
        algorithms.add(entry.algorithm)
        if found:
            findings.append(Finding(entry.path, entry.line, found))
    return Checked(files, ok, read, frozenset(algorithms), findings, bad)


def _results(
    entries: Iterable[Entry | Bad], base: bytes
) -> Iterator[tuple[Entry | Bad, Future[tuple[str, int]] | None]]:
    waiting: deque[tuple[Entry | Bad, Future[tuple[str, int]] | None]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry in entries:
            waiting.append((entry, None if isinstance(entry, Bad) else pool.submit(compare, entry, base)))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting


def compare(entry: Entry, base: bytes) -> tuple[str, int]:
    """What is otherwise with a file ("": nothing), and how many bytes were read for that."""
    path = os.path.join(base, entry.path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return "missing", 0
    except OSError as error:
        return f"can't be read: {error.strerror}", 0
    with os.fdopen(fd, "rb", buffering=0) as file:
        return _compare(entry, file.fileno())


def _compare(entry: Entry, fd: int) -> tuple[str, int]:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file", 0
    if entry.size is not None and found.st_size != entry.size:
        return f"has {found.st_size:,} bytes, not {entry.size:,}", 0
    content = hasher(entry.algorithm, len(entry.digest))()
    count = 0
    try:
        while chunk := os.read(fd, _CHUNK):
            content.update(chunk)
            count += len(chunk)
    except OSError as error:
        return f"can't be read: {error.strerror}", count
    return ("" if content.digest() == entry.digest else "differs"), count
