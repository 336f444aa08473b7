"""Holding files against a list of checksums: each read once, some at a time, in the list's order."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from filewatchd.actions.checksum.formats import LIKE, Bad, Entry, FormatError, hasher

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


class Compared(NamedTuple):
    """What is otherwise with a file ("": nothing), the bytes that were read for that, and by what it was hashed."""

    found: str
    bytes: int
    algorithm: str


class Guess:
    """By which algorithms to try a digest that may be of two: what fitted last comes first."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def order(self, entry: Entry) -> list[str]:
        """The algorithms, in the order in which they are tried."""
        if not entry.guessed:
            return [entry.algorithm]
        both = [entry.algorithm, LIKE[entry.algorithm]]
        return both[::-1] if self._last.get(entry.algorithm) == both[1] else both

    def fitted(self, entry: Entry, algorithm: str) -> None:
        """It was this one."""
        self._last[entry.algorithm] = algorithm


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
        assert result is not None, "an entry was compared"
        compared = result.result()
        files, ok, read = files + 1, ok + (not compared.found), read + compared.bytes
        algorithms.add(compared.algorithm)
        if compared.found:
            findings.append(Finding(entry.path, entry.line, compared.found))
    return Checked(files, ok, read, frozenset(algorithms), findings, bad)


def _results(entries: Iterable[Entry | Bad], base: bytes) -> Iterator[tuple[Entry | Bad, Future[Compared] | None]]:
    waiting: deque[tuple[Entry | Bad, Future[Compared] | None]] = deque()
    guess = Guess()
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry in entries:
            waiting.append((entry, None if isinstance(entry, Bad) else pool.submit(compare, entry, base, guess)))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting


def compare(entry: Entry, base: bytes, guess: Guess) -> Compared:
    """Hold a file against its line."""
    path = os.path.join(base, entry.path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return Compared("missing", 0, entry.algorithm)
    except OSError as error:
        return Compared(f"can't be read: {error.strerror}", 0, entry.algorithm)
    with os.fdopen(fd, "rb", buffering=0) as file:
        return _compare(entry, file.fileno(), guess)


def _compare(entry: Entry, fd: int, guess: Guess) -> Compared:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return Compared("is no regular file", 0, entry.algorithm)
    if entry.size is not None and status.st_size != entry.size:
        return Compared(f"has {status.st_size:,} bytes, not {entry.size:,}", 0, entry.algorithm)
    total = 0
    try:
        for algorithm in guess.order(entry):
            digest, count = _digest(fd, algorithm, len(entry.digest))
            total += count
            if digest == entry.digest:
                guess.fitted(entry, algorithm)
                return Compared("", total, algorithm)
    except OSError as error:
        return Compared(f"can't be read: {error.strerror}", total, entry.algorithm)
    except FormatError:  # the extra for the other one isn't installed
        if not entry.guessed:
            raise
    return Compared("differs", total, entry.algorithm)


def _digest(fd: int, algorithm: str, size: int) -> tuple[bytes, int]:
    """A file's digest, and how many bytes that took."""
    content, count = hasher(algorithm, size)(), 0
    while chunk := os.pread(fd, _CHUNK, count):
        content.update(chunk)
        count += len(chunk)
    return content.digest(), count
