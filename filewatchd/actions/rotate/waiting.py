"""Waiting for whoever still has an old file open: its writers, until it is closed, and readers, until it goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from errno import ENOENT

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import swapping
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.places import Setting
from filewatchd.actions.rotate.swapping import Left
from filewatchd.errors import ActionError
from filewatchd.work.gathering import Gathered

STILL = 10.0  # seconds without growth that stand for a lease where none can tell
_FIRST_ASK, _LAST_ASK = 0.05, 5.0  # seconds between two questions whether the last writer has gone
_LATE_NS = 3_600 * 10**9  # after its rotation: a server's old workers may have something to finish


class Ended(Exception):  # noqa: N818 - no error: the daemon ends
    """The daemon ends; the row goes on in the next life."""


class Waiting:
    """The old files of one rule's logs; all that are asked about at once are one look."""

    def __init__(
        self,
        ctx: Context,
        options: Callable[[], Options],
        setting: Callable[[str], Setting],
        ending: asyncio.Event,
    ) -> None:
        """``options``: those in force; ``setting``: of a log; ``ending``: the daemon ends."""
        self._ctx = ctx
        self._options = options
        self._setting = setting
        self._ending = ending
        self._writing = Gathered[tuple[Archive, Setting], Left](
            lambda archives: ctx.worker.call(swapping.writers_left_each, archives)
        )
        self._reading = Gathered[tuple[Archive, Setting], int](
            lambda archives: ctx.worker.call(swapping.readers_behind_each, archives)
        )

    async def for_writers(self, archive: Archive) -> None:
        """Until nobody writes to a swapped file any more; who does so for long is told of."""
        pause, still, size, told = _FIRST_ASK, 0.0, -1, False
        while (left := await self.writers_left(archive)) is not False:
            if left is None:
                grown, size = size, await self._ctx.worker.call(swapping.size_of, archive, self._setting(archive.live))
                still = still + pause if grown == size else 0.0
                if still >= STILL:
                    break
            if not told and self._ctx.clock.wall_ns() - archive.last_ns >= _LATE_NS:
                told = True
                why = await self._ctx.worker.call(swapping.still_written, archive, self._setting(archive.live))
                self._ctx.finding(f"archive:{archive.id}", why, archive.live)
            await self._pause(pause)
            pause = min(pause * 1.5, _LAST_ASK)
        if told:
            self._ctx.clear_finding(f"archive:{archive.id}")

    async def writers_left(self, archive: Archive) -> bool | None:
        """See `swapping.writers_left`."""
        left = await self._writing.ask((archive, self._setting(archive.live)))
        if left.gone:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), left.gone)
        if left.failed:
            raise ActionError(left.failed)
        return left.writers

    async def for_readers(self, archive: Archive) -> None:
        """Until readers of the log have passed what goes, or for as long as the options say."""
        if archive.state is not State.NAMED or archive.method not in ("exchange", "collapse"):
            return
        deadline, pause = self._ctx.clock.monotonic() + self._options().readers_wait, _FIRST_ASK
        while await self._reading.ask((archive, self._setting(archive.live))):
            if self._ctx.clock.monotonic() >= deadline:
                self._ctx.count("readers_left_behind")
                return
            await self._pause(pause)
            pause = min(pause * 1.5, 1.0)

    async def _pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Ended: the daemon ends.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return
        raise Ended
