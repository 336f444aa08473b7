"""Upkeep beside the main work: the journal's checkpoints and retention, state.json, clean-ups; none on the loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from filewatchd.errors import FilewatchdError, StateError
from filewatchd.jobs.retention import Retention
from filewatchd.jobs.store import Store
from filewatchd.state import atomic
from filewatchd.state.database import Database
from filewatchd.work.cgroup import Groups
from filewatchd.work.pool import Pool
from filewatchd.work.units import Units

log = logging.getLogger("filewatchd.service")

_LANE = "state"
_STATE_EVERY = 1.0  # seconds between writes of state.json while things change
_CHECKPOINT_AFTER = 0.2  # seconds from a commit that makes one due to the checkpoint
_SLICE_PAUSE = 0.01  # seconds between slices of a clean-up
_RETAIN_EVERY = 3600.0  # seconds between two rounds of retention, at most
_AGAIN_AFTER = 5.0  # seconds after which what failed is tried again


class Upkeep:
    """Runs only while there is something to do: of an idle daemon's timers one is from here, and rings once an hour."""

    def __init__(self, pool: Pool, database: Database, state_path: str, state: Callable[[], dict[str, Any]]) -> None:
        """``state``: what state.json shall say."""
        self._pool = pool
        self._database = database
        self._state_path = state_path
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._checkpointing = False
        self._copying: asyncio.TimerHandle | None = (
            None  # begins another checkpoint: somebody was in the last one's way
        )
        self._retaining = False
        self._retain_timer: asyncio.TimerHandle | None = None
        self._told: dict[str, str] = {}  # what fails, and why
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that `close` waits for."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def committed(self) -> None:
        """The journal's log has grown: a checkpoint copies it, in the pool, so that no commit ever syncs here."""
        if not self._checkpointing:
            self._checkpointing = True
            self._loop.call_later(_CHECKPOINT_AFTER, lambda: self.spawn(self._checkpoint()))

    async def _checkpoint(self) -> None:
        try:
            whole = await self._pool.run(_LANE, self._database.checkpoint)
        except FilewatchdError as error:
            self._failed("checkpoint", f"the journal's log grows: {error}")
            self._loop.call_later(_AGAIN_AFTER, self._checkpoint_over)
        else:
            self._told.pop("checkpoint", None)
            self._checkpoint_over()
            if not whole and self._copying is None:  # an idle daemon commits nothing that would begin the next one
                self._copying = self._loop.call_later(_AGAIN_AFTER, self._copy_rest)

    def _checkpoint_over(self) -> None:
        self._checkpointing = False

    def _copy_rest(self) -> None:
        self._copying = None
        self.committed()

    def _failed(self, what: str, why: str) -> None:
        """Say why something fails; once, until it has another reason or has succeeded."""
        if self._told.get(what) != why:
            self._told[what] = why
            log.error("%s", why)

    def state_changed(self) -> None:
        """state.json is out of date: it is written soon."""
        if self._timer is None:
            self._timer = self._loop.call_later(_STATE_EVERY, self._due)

    def _due(self) -> None:
        self._timer = None
        self.spawn(self._write())

    async def _write(self) -> None:
        try:
            await self._pool.run(_LANE, atomic.replace, self._state_path, _encode(self._state()))
        except StateError as error:
            self._failed("state", str(error))
            self._again()
        else:
            self._told.pop("state", None)

    def _again(self) -> None:
        """Nobody may say again that it is out of date."""
        if self._timer is None:
            self._timer = self._loop.call_later(_AGAIN_AFTER, self._due)

    def retain(self, retention: Retention) -> None:
        """Forget old jobs: now, and every hour. While a round is under way a call does nothing."""
        if self._retaining:
            return
        self._retaining = True
        if self._retain_timer is not None:
            self._retain_timer.cancel()
        self.spawn(self._retain(retention))

    async def _retain(self, retention: Retention) -> None:
        try:
            if await retention.round():
                self.committed()
        finally:
            self._retaining = False
            self._retain_timer = self._loop.call_later(_RETAIN_EVERY, self.retain, retention)

    async def forget_dropped(self, store: Store) -> None:
        """Delete the rows of manifests that nobody needs any more, in slices."""
        try:
            for baseline in store.manifest.dropped():
                for _ in store.manifest.forget(baseline):
                    await asyncio.sleep(_SLICE_PAUSE)
        except StateError as error:
            log.warning("rows that nobody needs stay until the next start: %s", error)

    async def close(self) -> None:
        """Finish what runs, and write state.json once more."""
        for timer in filter(None, (self._timer, self._retain_timer, self._copying)):
            timer.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        try:
            atomic.replace(self._state_path, _encode(self._state()))
        except StateError as error:
            self._failed("state", str(error))


async def sweep(pool: Pool, groups: Groups, units: Units) -> None:
    """End what commands of an earlier life have left, whichever way they ran."""
    try:
        await units.sweep()
    except FilewatchdError as error:
        log.error("units of an earlier life may go on: %s", error)
    try:
        swept = await pool.run("", groups.sweep)
    except FilewatchdError as error:
        log.error("%s", error)
    else:
        if swept:
            log.warning("ended %d processes that commands of an earlier life had left", swept)


def _encode(state: dict[str, Any]) -> bytes:
    return json.dumps(state, indent=1, sort_keys=True).encode() + b"\n"
