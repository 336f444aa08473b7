"""Archives that exceed a limit of ``keep`` are deleted, the oldest first; each deletion is written down first.

What somebody else has taken away counts for no limit, so that it costs no archive that is still there; its row goes
when the limits would have taken it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import freeing
from filewatchd.actions.rotate.ledger import Archive, Ledger
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.rotation import Rotation
from filewatchd.errors import ActionError
from filewatchd.work.retention import Kept, Limits, Space, going


class Expiring:
    """The archives of one rule. ``count``: how many were deleted."""

    def __init__(self, ctx: Context, ledger: Ledger, rotation: Rotation) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._rotation = rotation
        self.count = 0

    async def all(self) -> None:
        """Of all logs: those that are quiet and those that are gone, too."""
        for live in self._ledger.lives():
            await asyncio.sleep(0)  # there may be thousands
            with suppress(OSError, ActionError):
                async with self._rotation.lock(live):
                    await self.of(live)

    async def of(self, live: str) -> None:
        """Of one log; hold its lock.

        Raises:
            OSError, ActionError: an archive can't be deleted; its row says that it is being.
        """
        for archive in self._ledger.of(live):
            if archive.state is State.EXPIRING:  # it couldn't be deleted
                await self._delete(archive, "a limit was exceeded before")
        keep = self._rotation.options.keep
        if keep is None:
            return
        archives = [archive for archive in self._ledger.of(live) if archive.state is State.DONE]
        if not archives:
            return
        limits = keep.limits(1)
        space = None
        if limits.min_free is not None:
            space = Space(*await self._ctx.worker.call(freeing.space, archives[-1].path or ""))
        now = self._ctx.clock.wall_ns() / 1e9
        exceeding = _going(archives, limits, now, space)
        if exceeding:
            there = await self._ctx.worker.call(freeing.there, archives, self._rotation.setting(live))
            left = _going([archive for archive in archives if archive.id in there], limits, now, space)
            for archive in archives:
                if archive.id in left:
                    await self._expire(archive, left[archive.id])
                elif archive.id in exceeding and archive.id not in there:
                    await self._expire(archive, "it was gone already")

    async def _expire(self, archive: Archive, why: str) -> None:
        await self._delete(await self._ledger.step_together(archive, Step.EXPIRE), why)

    async def _delete(self, archive: Archive, why: str) -> None:
        archive = await self._rotation.take(archive, freeing.delete)
        self._ctx.log.info("%s is deleted: %s", archive.path, why)
        self.count += 1
        self._ctx.count("expired")
        self._ledger.forget(archive.live)


def _going(archives: Sequence[Archive], limits: Limits, now: float, space: Space | None) -> dict[int, str]:
    """The rows that exceed a limit, and why."""
    files = [Kept(archive.last_ns / 1e9, f"{archive.id:020}", archive.size, archive.size) for archive in archives]
    return {int(gone.file.name): gone.why for gone in going(files, limits, now, space)}
