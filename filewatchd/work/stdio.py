"""A command's standard output and input, as pipes that never block the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

CHUNK = 65536  # bytes read or written in one turn of the loop; a pipe's capacity
_MOST_AT_END = 256  # chunks; a pipe holds 16, or as many as a privileged program asks for


class Output:
    """The reading end of a command's merged stdout and stderr. ``theirs`` is the other end, for the command."""

    def __init__(self, output: Callable[[bytes], None]) -> None:
        self.total = 0
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._fd, self.theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._read)

    def finish(self) -> None:
        """Read what is still there, then close, even if somebody holds the other end."""
        for _ in range(_MOST_AT_END):
            if self._fd < 0 or not self._read():
                break
        self._close()

    def abandon(self) -> None:
        """Close both ends: there will be no command."""
        os.close(self.theirs)
        self._close()

    def _read(self) -> bool:
        """Hand on what there is; False if there was nothing."""
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self.total += len(data)
            self._output(data)
        else:
            self._close()
        return bool(data)

    def _close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class Input:
    """The writing end of a command's stdin; closes when all is written or nobody reads. ``theirs``: the reading end."""

    def __init__(self, data: bytes, *, begin: bool = True) -> None:
        self._rest = memoryview(data)
        self._loop = asyncio.get_running_loop()
        self.theirs, self._fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        if begin:
            self.begin()

    def begin(self) -> None:
        """Write what the pipe takes, and the rest as it is read."""
        self._write()
        if self._fd >= 0:
            self._loop.add_writer(self._fd, self._write)

    def close(self) -> None:
        """Stop feeding."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self._rest = self._rest[os.write(self._fd, self._rest[:CHUNK]) :]
            except BrokenPipeError:  # it doesn't want to read all of it: its own business
                self._rest = memoryview(b"")
            if not self._rest:
                self.close()
