"""Work for the tests of `filewatchd.work.workers`: functions of a module, as the workers want them."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filewatchd.errors import ActionError


class Parcel(NamedTuple):
    path: str
    number: int
    data: bytes
    pair: tuple[int, ...]


def same(parcel: Parcel) -> Parcel:
    return parcel


def nothing() -> None:
    return None


def size(path: str) -> int:
    return os.stat(path).st_size


def who() -> tuple[int, int]:
    return os.getpid(), os.geteuid()


def meet(place: str, name: str, other: str) -> tuple[int, int]:
    """Come to a place and wait for another one there."""
    (Path(place) / name).touch()
    until = time.monotonic() + 20
    while not (Path(place) / other).exists():
        assert time.monotonic() < until
        time.sleep(0.001)
    return who()


def refuse() -> None:
    raise ActionError("not today", retryable=False)


def stepping(mark: str, times: int) -> Iterator[int]:
    try:
        for number in range(times):
            Path(mark).write_text(f"before {number}")
            yield number
    finally:
        Path(mark).write_text("closed")


def rights() -> tuple[int, int, tuple[int, ...], int]:
    """uid, gid, groups and the effective capabilities."""
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return os.getuid(), os.getgid(), tuple(sorted(os.getgroups())), capabilities


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def liar() -> int:
    return "three"  # type: ignore[return-value]


def flood() -> Iterator[int]:
    """As a worker that was taken over might: answers upon answers, and it doesn't end when it is told to."""
    yield 1
    (descriptor,) = (int(fd) for fd in os.listdir("/proc/self/fd") if _is_talk(int(fd)))
    os.write(descriptor, b'{"id": 1, "value": 1}\n' * 1000)
    os.kill(os.getpid(), signal.SIGSTOP)


def _is_talk(fd: int) -> bool:
    try:
        return fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def slow() -> Iterator[int]:
    """A step that lasts."""
    time.sleep(0.5)
    yield 1
