"""How formats of blocks that tell their lengths are hopped through."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from filewatchd.codecs.base import DamagedError, read_at


class Block(NamedTuple):
    """A block's header: how many bytes follow it, and whether it is the last."""

    follows: int
    last: bool


def frame_end(fd: int, offset: int, start: int, end: int, width: int, parse: Callable[[bytes], Block]) -> int:
    """Where a frame's blocks end that begin ``start`` bytes behind its ``offset``; their headers have ``width`` bytes.

    Raises:
        DamagedError: the file ends before the last of them does.
    """
    at = offset + start
    while True:
        head = read_at(fd, at, width)
        if len(head) < width or at + width > end:
            raise DamagedError(offset, "it ends within the member that begins there")
        block = parse(head)
        at += width + block.follows
        if at > end:
            raise DamagedError(offset, "it ends within the member that begins there")
        if block.last:
            return at
