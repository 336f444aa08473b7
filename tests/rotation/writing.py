"""A program that writes a log for ever, as logs are written; it knows how many of its lines have gone out.

    python -S tests/rotation/writing.py MODE LOG NAME TOLD

``append`` keeps the log open with O_APPEND, ``plain`` without, ``loop`` opens it for each line as `>>` does. HUP has
the first two open it anew. Each line is one write, and says who wrote it, its number and how long it is. TERM ends it
after a line; the number of lines is then in the file TOLD.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PAUSE = 0.0004  # seconds between two lines


def line(name: str, number: int) -> bytes:
    """A line that can't be torn or doubled without being noticed."""
    rest = (number * 7919) % 131
    return f"{name} {number:08d} {rest:03d} {'x' * rest}\n".encode("ascii")


def opened(mode: str, log: str) -> int:
    """The log, as this kind of writer opens it."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | (0 if mode == "plain" else os.O_APPEND), 0o640)
    if mode == "plain":
        os.lseek(fd, 0, os.SEEK_END)
    return fd


def main(mode: str, log: str, name: str, told: str) -> None:
    """Write until TERM."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the test, however that ends
    ended: list[int] = []
    anew: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    signal.signal(signal.SIGHUP, lambda *_: anew.append(1))
    fd = opened(mode, log) if mode != "loop" else -1
    with open(f"{told}.pid", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    number = 0
    while not ended:
        if anew:
            anew.clear()
            os.close(fd)
            fd = opened(mode, log)
        if mode == "loop":
            fd = opened(mode, log)
        data = line(name, number)
        if os.write(fd, data) != len(data):
            raise SystemExit("the disk is full")
        if mode == "loop":
            os.close(fd)
        number += 1
        time.sleep(PAUSE)
    with open(told, "w", encoding="ascii") as file:
        file.write(f"{number}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
