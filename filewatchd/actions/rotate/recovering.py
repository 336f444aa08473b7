"""After a crash: what was cut off is finished or undone, before the first job or beside the jobs."""

from __future__ import annotations

from contextlib import suppress

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import freeing
from filewatchd.actions.rotate.finishing import Finishing
from filewatchd.actions.rotate.ledger import Ledger
from filewatchd.actions.rotate.machine import State
from filewatchd.errors import ActionError


class Recovering:
    """The archives of one rule."""

    def __init__(self, ctx: Context, ledger: Ledger, finishing: Finishing) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._finishing = finishing
        self._rotation = finishing.rotation

    async def all(self) -> None:
        """Finish or undo what was cut off. What has to wait, or takes long, goes on beside the jobs."""
        await self._numbers()
        for archive in self._ledger.unfinished():
            with suppress(OSError, ActionError):  # not there now: the follow-up tries on
                if archive.state is State.BEGUN:
                    archive = await self._rotation.undo(archive)
                elif archive.state is State.STAMPED:
                    archive = await self._rotation.next(archive)
            if archive.unfinished:
                self._finishing.drive(archive)
        self._finishing.run_owed()
        await self._scrub()

    async def _scrub(self) -> None:
        for live in self._ledger.lives():
            newest = self._ledger.of(live)[-1]
            if newest.method == "collapse" and newest.state is State.DONE:
                with suppress(OSError, ActionError):
                    await self._ctx.worker.call(freeing.scrub, newest, self._rotation.setting(live))

    async def _numbers(self) -> None:
        for live in self._ledger.lives():
            with suppress(OSError, ActionError):  # the reader finds each at its old or new name meanwhile
                await self._rotation.numbering.shift_on(live)
