"""The gate before the job journal: shut while state can't be written, and opened again by itself.

No job starts that isn't journaled, and no outcome is given up. So while the disk is full, has become read-only, or
another program holds the write lock, no rule starts a job; a job that runs goes on, and its outcome waits in memory,
with its slot. Changes are taken in all the while: dirty paths need no state. A thread tries to write now and then, with
pauses of 0.1 s at first and 2 s in the end; when it gets through, all go on where they stood.

What stands in the journal meanwhile is the truth for a kill -9: the attempt's paths are open there, and are run again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

from filewatchd.clock import Clock
from filewatchd.errors import StateError
from filewatchd.state.database import Database
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

log = logging.getLogger("filewatchd.jobs")

T = TypeVar("T")

_LANE = "state"
_FIRST, _LONGEST = 0.1, 2.0  # seconds between two tries
_NOT_WORTH = 2.0  # seconds: less isn't told, nor the end of it
_RELAPSE = 10.0  # seconds: who fails again so soon after the gate opened goes on with the pauses, and isn't told anew


class Gate:
    """Open while the journal can be written. Used on the loop's thread."""

    def __init__(
        self,
        database: Database,
        pool: Pool,
        clock: Clock,
        *,
        moved: Callable[[], None],
        damaged: Callable[[], None] = lambda: None,
    ) -> None:
        """``moved``: it was shut or opened. ``damaged``: the file is bad, only a restart helps."""
        self._database = database
        self._health = database.health
        self._pool = pool
        self._clock = clock
        self._moved = moved
        self._damaged = damaged
        self._pulse = Pulse()
        self._trying: asyncio.Task[None] | None = None
        self._waiting = 0
        self._tries = 0
        self._ending = False
        self._began = 0.0
        self._opened = -math.inf
        self._told = False
        self._pause = _FIRST
        self._health.changed = self._changed

    @property
    def is_open(self) -> bool:
        """Whether a job may start."""
        return self._health.trouble is None

    async def through(self, write: Callable[[], T]) -> T:
        """Do a write that must not be given up, as soon as it can be done; it may be tried more than once.

        Raises:
            StateError: the daemon ends and it still can't be done; or it failed for another reason than the journal's.
        """
        while True:
            try:
                return write()
            except StateError:
                if self.is_open or self._ending:
                    raise
            self._waiting += 1
            try:
                await self._pulse.until(lambda: self.is_open or self._ending)
            finally:
                self._waiting -= 1

    def end(self) -> None:
        """The daemon ends: whoever waits is let go, without having written."""
        self._ending = True
        if self._trying is not None:
            self._trying.cancel()
        self._pulse.beat()

    def statistics(self) -> dict[str, Any]:
        """What status shows. ``outcomes``: of ended jobs, not written yet; ``tries``: to write again, so far."""
        return {**self._health.statistics(), "outcomes": self._waiting, "tries": self._tries}

    def _changed(self) -> None:
        trouble = self._health.trouble
        if trouble is not None and trouble.corrupt:
            self._give_up(trouble)
        elif trouble is not None and self._trying is None and not self._ending:
            self._trying = asyncio.get_running_loop().create_task(self._try())
        self._pulse.beat()
        self._moved()

    def _give_up(self, trouble: StateError) -> None:
        log.error("no job starts any more: %s", trouble)
        self._damaged()

    async def _try(self) -> None:
        """Until a write succeeds. What passes within two seconds isn't worth a word: then nobody had to do anything."""
        now = self._clock.monotonic()
        if now - self._opened > _RELAPSE:
            self._began, self._told, self._pause = now, False, _FIRST
        try:
            await self._try_on()
        finally:
            self._trying = None
        self._opened = self._clock.monotonic()
        self._health.mended()

    async def _try_on(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST)
            self._tries += 1
            try:
                await self._pool.run(_LANE, self._database.probe)
            except StateError as error:
                self._failed_again(error)
            else:
                break
        if self._told:
            log.warning("state is written again, after %.0f s: jobs go on", self._clock.monotonic() - self._began)

    def _failed_again(self, error: StateError) -> None:
        self._health.failed(error)
        if error.corrupt:
            self._give_up(error)
            raise asyncio.CancelledError
        if not self._told and self._clock.monotonic() - self._began >= _NOT_WORTH:
            self._told = True
            log.error("no job starts, changes wait in memory: %s", error)
