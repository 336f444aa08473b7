"""Work on several archives at once: who asks while a call of the worker is under way goes together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress

from filewatchd.actions.base import Context
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.places import Move
from filewatchd.actions.rotate.strokes import Came, Task, strokes

Record = Callable[[Sequence[tuple[Archive, Move]]], list[Archive]]


class Asked:
    """A task, and the row that has come of it so far."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.archive = task.archive
        self.ended: asyncio.Future[Archive] = asyncio.get_running_loop().create_future()

    def failed(self, error: BaseException) -> None:
        """Its work is over."""
        if not self.ended.done():
            self.ended.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            self.ended.exception()  # nobody may be waiting any more


class Abreast:
    """``record`` writes steps down, all or none, and returns the new rows; used on the loop's thread."""

    def __init__(self, ctx: Context, record: Record, most: int) -> None:
        """``most``: archives of one call."""
        self._ctx = ctx
        self._record = record
        self._most = most
        self._asked: list[Asked] = []
        self._working: asyncio.Task[None] | None = None

    async def take(self, task: Task) -> Archive:
        """Do it together with others; who is cancelled waits until nothing more is done to this archive.

        Raises:
            OSError, ActionError: the work's own; the row stands where it does.
            StateError: a step isn't written down, and neither are those that came with it.
        """
        asked = Asked(task)
        self._asked.append(asked)
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())
        try:
            return await asyncio.shield(asked.ended)
        except asyncio.CancelledError:
            if asked in self._asked:
                self._asked.remove(asked)
            else:
                await asyncio.wait([asked.ended])
            raise

    async def take_alone(self, task: Task) -> Archive:
        """Do it in a call of its own: it takes long. Who is cancelled closes it at its next step. Raises: as `take`."""
        asked = Asked(task)
        await self._stroke([asked])
        return await asked.ended

    async def _work(self) -> None:
        try:
            while self._asked:
                some, self._asked = self._asked[: self._most], self._asked[self._most :]
                with suppress(Exception):  # it has travelled to those who asked
                    await self._stroke(some)
        finally:
            self._working = None

    async def _stroke(self, asked: list[Asked]) -> None:
        try:
            async with aclosing(self._ctx.worker.steps(strokes, [each.task for each in asked])) as series:
                async for came in series:
                    self._came(asked, came)
        except BaseException as error:
            for each in asked:
                each.failed(error)
            raise

    def _came(self, asked: list[Asked], came: Sequence[Came]) -> None:
        moves = [(asked[each.number], each.move) for each in came if each.move is not None]
        if moves:
            rows = self._record([(each.archive, move) for each, move in moves])
            for (each, _), row in zip(moves, rows, strict=True):
                each.archive = row
        for one in came:
            if one.failure is not None:
                asked[one.number].failed(one.failure.error())
            elif one.move is None and not asked[one.number].ended.done():
                asked[one.number].ended.set_result(asked[one.number].archive)
