"""Steps of several logs in one durable commit: whoever takes a step waits, and all who wait by then share one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from filewatchd.actions.rotate.machine import Step

Statement = tuple[str, Sequence[Any]]


class Waiting(NamedTuple):
    """A step that isn't written down yet."""

    step: Step
    statements: Sequence[Statement]
    written: asyncio.Future[None]


class Together:
    """``record`` writes steps down, all or none; used on the loop's thread."""

    def __init__(self, record: Callable[[Sequence[Step], Sequence[Statement]], None]) -> None:
        self._record = record
        self._waiting: list[Waiting] = []

    async def commit(self, step: Step, statements: Sequence[Statement]) -> None:
        """Returns when the step survives a power loss. Who is cancelled meanwhile may have it taken, as by a crash.

        Raises:
            StateError: it isn't written down, and neither are those that came with it.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        waiting = Waiting(step, statements, loop.create_future())
        self._waiting.append(waiting)
        await waiting.written

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._record([each.step for each in waiting], [one for each in waiting for one in each.statements])
        except Exception as caught:  # noqa: BLE001 - it travels to all who wait
            error = caught
        for each in waiting:
            if each.written.done():  # cancelled
                continue
            if error is None:
                each.written.set_result(None)
            else:
                each.written.set_exception(error)
