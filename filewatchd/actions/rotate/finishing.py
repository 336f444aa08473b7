"""What goes on when a job has ended: the writer is told, the last one is waited for, the archive packed and named.

It holds no job's place, and is tried again until it is done: a filesystem may be away, a disk full, a service down.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from filewatchd.actions import telling
from filewatchd.actions.base import Context
from filewatchd.actions.rotate import commands
from filewatchd.actions.rotate.expiring import Expiring
from filewatchd.actions.rotate.ledger import Archive, Ledger, where_named
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.packing import source_of
from filewatchd.actions.rotate.rotation import Rotation
from filewatchd.actions.rotate.standing import is_mounted
from filewatchd.actions.rotate.waiting import Ended
from filewatchd.errors import ActionError
from filewatchd.model import Outcome, Verdict
from filewatchd.work.remedies import remedied

_FIRST, _LAST = 10.0, 600.0  # seconds between two tries
_BESIDE = frozenset({State.SWAPPED, State.CLOSED, State.NAMED})  # what an exchange passes through beside the jobs


class Finishing:
    """The archives of one rule, from their swap to their end."""

    def __init__(self, ctx: Context, ledger: Ledger, options: Options) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._options = options
        self.rotation = Rotation(ctx, ledger, options, self._whole)
        self.expiring = Expiring(ctx, ledger, self.rotation)
        self._told: set[int] = set()
        self._lost: set[int] = set()
        self._doubted = {archive.id for archive in ledger.unfinished()}  # those that may have a finding
        self._running: set[int] = set()  # archives whose command runs
        self._driven: dict[int, asyncio.Event] = {}  # each by one task alone; what wakes it from its pause

    def take(self, options: Options) -> None:
        """From now on, these."""
        self._options = self.rotation.options = options

    def told(self, archive: Archive) -> bool:
        """Whether, in this life, the writer of a swapped file was told."""
        return archive.id in self._told

    def statistics(self) -> Mapping[str, Any]:
        """What was deleted, and what somebody took away unfinished."""
        return {"expired": self.expiring.count, "lost": len(self._lost)}

    async def reopen(self, swapped: Sequence[Archive], output: Callable[[bytes], None]) -> Outcome | None:
        """Tell the writer once for all these logs; returns how it failed."""
        if self._options.reopen is None or not swapped:
            return None
        try:
            await self._tell(self._options.reopen, output)
        except ActionError as error:
            return Outcome(Verdict.FAILED, str(error), error.retryable)
        self._told |= {archive.id for archive in swapped}
        return None

    async def _tell(self, reopen: telling.Telling, output: Callable[[bytes], None]) -> None:
        try:
            await telling.tell(reopen, self._ctx, output)
        except ActionError as error:
            raise ActionError(f"reopen: {error}", retryable=error.retryable, after=error.after) from error

    def drive(self, archive: Archive) -> None:
        """Finish an archive beside the jobs; where that is under way it doesn't wait for its next try."""
        if archive.id in self._driven:
            self._driven[archive.id].set()
        elif archive.id not in self._lost:
            self._driven[archive.id] = asyncio.Event()
            self._ctx.follow_up(f"archive {archive.id}", self._drive(archive))

    def left_over(self) -> None:
        """Drive what nobody drives: lines that came late, or what a job that was cancelled had swapped."""
        self.run_owed()
        for archive in self._ledger.unfinished():
            if archive.method == "exchange" and archive.state in _BESIDE and archive.id not in self._driven:
                self.drive(archive)

    def end(self) -> None:
        """The daemon ends."""
        self.rotation.ending.set()
        for woken in self._driven.values():
            woken.set()

    async def _drive(self, archive: Archive) -> None:
        try:
            await self._finish(archive, self._driven[archive.id])
        finally:
            del self._driven[archive.id]
            self._told.discard(archive.id)

    async def _finish(self, archive: Archive, woken: asyncio.Event) -> None:
        """Drive an archive to its end, again and again if it must be."""
        pause = _FIRST
        while not self.rotation.ending.is_set():
            try:
                await self._once(archive)
                return
            except Ended:
                return
            except (OSError, ActionError) as error:
                if isinstance(error, FileNotFoundError) and await self._is_lost(archive):
                    self._give_up(archive, error)
                    return
                self._doubted.add(archive.id)
                why = remedied(error) if isinstance(error, OSError) else str(error)
                self._ctx.finding(f"archive:{archive.id}", f"{archive.live} isn't archived yet: {why}", archive.live)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await woken.wait()
                woken.clear()
            pause = min(pause * 2, _LAST)

    async def _once(self, archive: Archive) -> None:
        await self._tell_again(archive)
        with suppress(KeyError):  # a job has given it up meanwhile
            await self.rotation.finish(self._ledger.get(archive.id))
        if archive.id in self._doubted:
            self._ctx.clear_finding(f"archive:{archive.id}")
            self._doubted.discard(archive.id)
        async with self.rotation.lock(archive.live):
            await self.expiring.of(archive.live)

    async def _tell_again(self, archive: Archive) -> None:
        """After a crash nobody knows whether the writer was told; one that has ended needs no telling."""
        if archive.state is not State.SWAPPED or self._options.reopen is None or self.told(archive):
            return
        left = await self.rotation.waiting.writers_left(archive)
        try:
            if left is not False:
                await self._tell(self._options.reopen, telling.nothing)
        except ActionError:
            if left:
                raise
        self._told.add(archive.id)

    async def _is_lost(self, archive: Archive) -> bool:
        """Whether somebody took away the file that was to be archived, and not something else on the way."""
        with suppress(KeyError):
            point = self._ledger.points.of(os.path.dirname(archive.live))
            return await self._ctx.pool.run("", _source_is_gone, self._ledger.get(archive.id), point)
        return False

    def _give_up(self, archive: Archive, error: OSError) -> None:
        """That is told, and nothing more can be done."""
        self._lost.add(archive.id)
        self._ctx.finding(f"archive:{archive.id}", f"{archive.live}: what was to be archived is gone: {error}")

    # ---- the command after

    async def _whole(self, archive: Archive) -> None:
        """An archive has its name."""
        self._ctx.log.info("%s is archived as %s", archive.live, archive.path)
        await self._run_after(archive)

    def run_owed(self) -> None:
        """Run the commands that a crash, or a job that was cancelled, has kept from ending."""
        for number in self._ledger.owed():
            if number not in self._running:
                self._ctx.follow_up(f"after {number}", self._owed(number))

    async def _owed(self, number: int) -> None:
        with suppress(KeyError, Ended):
            archive = self._ledger.get(number)
            async with self.rotation.lock(archive.live):
                archive = self._ledger.get(number)
                if archive.state is not State.GONE:
                    await self._run_after(archive)
                    return
        await self._ledger.paid(number)  # the archive is gone, and nothing can be done with it

    async def _run_after(self, archive: Archive) -> None:
        """At least once: it is struck off when it has ended, well or not, but not if we ended it."""
        if self._options.after is not None:
            values = {"path": archive.live, "archive": where_named(archive), "rule": self._ctx.rule.name}
            self._running.add(archive.id)
            try:
                await commands.run(self._ctx, "after", self._options.after, values, telling.nothing)
            except ActionError as error:
                if self.rotation.ending.is_set():
                    return
                self._ctx.finding(f"after:{archive.live}", f"{archive.path}: {error}", archive.live)
            finally:
                self._running.discard(archive.id)
        if archive.id in self._ledger.owed():
            await self._ledger.paid(archive.id)


def _source_is_gone(archive: Archive, point: str) -> bool:
    """Blocking. A log's whole directory, or filesystem, may only be away."""
    if point and not is_mounted(point):
        return False
    return os.path.isdir(os.path.dirname(archive.live)) and not os.path.lexists(source_of(archive))
