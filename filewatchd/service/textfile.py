"""The textfile for node_exporter: metrics in a file, for hosts where nothing is to listen on a port.

It is replaced whole, so that nobody reads half of it. At the daemon's end it stays, with `filewatchd_up 0` alone: an
alert can tell a daemon that ended from one that never was. Of a daemon that was killed node_exporter's own
`node_textfile_mtime_seconds` tells. Where a reload takes the file out of the configuration, it is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable

from filewatchd.errors import FilewatchdError
from filewatchd.service import exposition
from filewatchd.state import atomic
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.service")

_LANE = "textfile"  # of its own: whatever filesystem it lies on, nothing else waits for it
_MODE = 0o644
_PATIENCE = 5.0  # seconds for a write to end


class Textfile:
    """Writes the file now and then, if there is to be one."""

    def __init__(self, pool: Pool, text: Callable[[], Awaitable[str]]) -> None:
        """``text``: the metrics."""
        self._pool = pool
        self._text = text
        self._path: str | None = None
        self._every = 0.0
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._told = ""  # why it couldn't be written

    async def configure(self, path: str | None, every: float) -> None:
        """From now on this file, so often; none for None."""
        if (path, every) == (self._path, self._every):
            return
        await self._end()
        old, self._path, self._every = self._path, path, every
        if old is not None and old != path:
            await self._pool.run(_LANE, _remove, old)
        if path is not None:
            self._over = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._write_on(path))

    async def _write_on(self, path: str) -> None:
        while not self._over.is_set():
            await self._write(path, self._text)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._over.wait()

    async def _write(self, path: str, text: Callable[[], Awaitable[str]]) -> None:
        try:
            data = (await text()).encode()
            await self._pool.run(_LANE, atomic.replace, path, data, _MODE)
        except FilewatchdError as error:
            if self._told != str(error):
                self._told = str(error)
                log.error("control.textfile: %s", error)
        else:
            self._told = ""

    async def _end(self) -> None:
        """Begin no other write, and let one that is under way end, if its filesystem lets it."""
        if self._task is not None:
            self._over.set()
            await asyncio.wait([self._task], timeout=_PATIENCE)
            self._task.cancel()
            self._task = None

    async def stop(self) -> None:
        """Leave what tells that the daemon has ended."""
        await self._end()
        if self._path is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._write(self._path, self._ended)
        except TimeoutError:
            log.error("control.textfile: %s doesn't answer, so it may still say that the daemon is up", self._path)

    async def _ended(self) -> str:
        return await self._pool.run(_LANE, exposition.ended)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
