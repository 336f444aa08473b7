"""One-shot wake-ups: be told once when a quiet file is next written.

An inotify descriptor of its own with IN_ONESHOT watches: the kernel takes such a watch away with its first
event, so a busy file costs one event and not one per write.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

from filewatchd.watch.dirty import HEADER, IN_DELETE_SELF, IN_MODIFY, IN_MOVE_SELF

_IN_ONESHOT = 0x80000000
_MASK = IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF | _IN_ONESHOT
_libc = ctypes.CDLL(None, use_errno=True)


class WriteWakes:
    """Who waits for which file. Two callers may wait for one file."""

    def __init__(self) -> None:
        self._fd = -1
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def add(self, path: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back on the loop when the file is written, deleted or renamed; the result cancels.

        Raises:
            OSError: the file can't be watched.
        """
        if self._fd < 0:
            self._open()
        watch: int = _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(_MASK))
        if watch < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        self._waiting.setdefault(watch, []).append(callback)
        return lambda: self._cancel(watch, callback)

    def _open(self) -> None:
        fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._ready)

    def _ready(self) -> None:
        data = os.read(self._fd, 65536)
        offset = 0
        while offset < len(data):
            watch, _, _, length = struct.unpack_from(HEADER.format, data, offset)
            offset += HEADER.size + length
            for callback in self._waiting.pop(watch, ()):
                callback()

    def _cancel(self, watch: int, callback: Callable[[], None]) -> None:
        callbacks = self._waiting.get(watch, [])
        if callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self._waiting[watch]
                _libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        """Forget all."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
