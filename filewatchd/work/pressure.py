"""Work that nobody shall notice: at the disk's idle times, and not while the machine is short of it.

ioprio_set(2) has no wrapper in the C library; its number differs by architecture. The idle class is honoured by the
schedulers bfq and mq-deadline, and ignored by `none`. Pressure stall information (Linux 4.20) says in which share of
the last ten seconds somebody had to wait.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "i686": 289, "armv7l": 314}
_THIS_THREAD = (1, 0)  # IOPRIO_WHO_PROCESS, the caller
_IDLE, _AS_EVER = 3 << 13, 0

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def idle() -> Iterator[None]:
    """This thread's reading and writing waits for everybody else's."""
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        yield
        return
    _libc.syscall(number, *_THIS_THREAD, _IDLE)
    try:
        yield
    finally:
        _libc.syscall(number, *_THIS_THREAD, _AS_EVER)


def pressure(resource: str = "io", directory: str = "/proc/pressure") -> float | None:
    """Percent of the last ten seconds in which somebody waited for ``io``, ``cpu`` or ``memory``; None: not told."""
    try:
        with open(f"{directory}/{resource}", encoding="ascii") as file:
            fields = dict(word.split("=") for word in file.readline().split()[1:])
        return float(fields["avg10"])
    except (OSError, ValueError, KeyError):
        return None
