"""When to look at each log again, without an event per write: see `growth` for the arithmetic.

A log that waits to grow is either quiet, with a one-shot watch on it, or growing, with a time for its next look. All
looks that are due together are one call of the worker. Logs that wait for a time alone are in the same queue. One that
is due asks for its job, and again after a while until a job has come: the rule may not have its roots yet, or fail.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

from filewatchd.actions.base import Context
from filewatchd.actions.rotate.due import Due
from filewatchd.actions.rotate.examining import sizes
from filewatchd.actions.rotate.growth import Sample, next_look

_TOGETHER = 0.01  # seconds: looks that are due so close together are one
_AGAIN, _AGAIN_LAST = 5.0, 600.0  # seconds until a log asks again
_LONGEST = 86_400.0  # seconds: the wall clock may be set


class Waiting(NamedTuple):
    """A log that isn't due. ``limit``: the size (in all, skipped bytes too) at which it is; None: no size."""

    limit: int | None
    at_ns: int | None
    sample: Sample | None = None
    asked: int = 0  # times
    alarm: float = 0.0  # when the queue has it for its time, on the monotonic clock


class Watching:
    """The logs of one rule that aren't due."""

    def __init__(self, ctx: Context, due: Callable[[list[str]], None]) -> None:
        self._ctx = ctx
        self._due = due
        self._waiting: dict[str, Waiting] = {}
        self._asleep: dict[str, Callable[[], None]] = {}  # quiet: what cancels its watch
        self._queue: list[tuple[float, str]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.looks = 0

    def wait(self, live: str, size: int, skip: int, found: Due) -> None:
        """Look again as that says; one that is due asks for its job at once."""
        self.forget(live)
        if found.why:
            self._waiting[live] = Waiting(0, None)
            self._push(live, 0.0)
            return
        limit = found.grown + skip if found.grown is not None else None
        self._waiting[live] = Waiting(limit, found.at_ns, None)
        if limit is not None:
            self._sleep(live, size)
        self._set_alarm(live)

    def _set_alarm(self, live: str) -> None:
        """Have it looked at when its time has come, or in a day: again and again until then, but once at a time."""
        waiting, now = self._waiting[live], self._ctx.clock.monotonic()
        if waiting.at_ns is None or waiting.alarm > now + _TOGETHER:
            return
        delay = max(0.0, min((waiting.at_ns - self._ctx.clock.wall_ns()) / 1e9, _LONGEST))
        self._waiting[live] = waiting._replace(alarm=now + delay)
        self._push(live, delay)

    def forget(self, live: str) -> None:
        """Nothing is waited for any more."""
        self._waiting.pop(live, None)
        cancel = self._asleep.pop(live, None)
        if cancel is not None:
            cancel()

    def close(self) -> None:
        """End all."""
        for live in list(self._waiting):
            self.forget(live)
        if self._handle is not None:
            self._handle.cancel()
        if self._task is not None:
            self._task.cancel()

    def statistics(self) -> dict[str, Any]:
        """How many logs wait, and how many of them for their next write."""
        return {"waiting": len(self._waiting), "quiet": len(self._asleep), "looks": self.looks}

    # ---- quiet logs

    def _sleep(self, live: str, size: int) -> None:
        """Its next write wakes us. One that came just before the watch stood is seen by one more look."""
        try:
            self._asleep[live] = self._ctx.wake_on_write(live, lambda: self._woken(live))
        except OSError:  # it is gone, which is a change, or no watch is left: then it is looked at now and again
            self._push(live, 1.0)
            return
        self._waiting[live] = self._waiting[live]._replace(sample=Sample(size, self._ctx.clock.monotonic()))
        self._push(live, 0.0)

    def _woken(self, live: str) -> None:
        if self._asleep.pop(live, None) is not None and live in self._waiting:
            self._waiting[live] = self._waiting[live]._replace(sample=None)
            self._push(live, 0.0)

    # ---- looks

    def _push(self, live: str, delay: float) -> None:
        heapq.heappush(self._queue, (self._ctx.clock.monotonic() + max(0.0, min(delay, _LONGEST)), live))
        self._arm()

    def _arm(self) -> None:
        if self._task is not None or not self._queue:
            return
        if self._handle is not None:
            self._handle.cancel()
        delay = max(0.0, self._queue[0][0] - self._ctx.clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> None:
        self._handle = None
        now = self._ctx.clock.monotonic() + _TOGETHER
        lives: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now:
            live = heapq.heappop(self._queue)[1]
            if live in self._waiting:
                lives[live] = None
        if lives:
            self._task = asyncio.get_running_loop().create_task(self._look(list(lives)))
            self._task.add_done_callback(self._looked)
        else:
            self._arm()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            if task.exception() is not None:
                self._ctx.log.error("logs can't be looked at: %s", task.exception())
            self._arm()

    async def _look(self, lives: list[str]) -> None:
        found = await self._ctx.pool.run("", sizes, lives)
        now, wall_ns = self._ctx.clock.monotonic(), self._ctx.clock.wall_ns()
        self.looks += len(lives)
        due = [live for live, size in zip(lives, found, strict=True) if self._is_due(live, Sample(size, now), wall_ns)]
        for live in due:
            self._ask_again(live)
        if due:
            self._due(due)

    def _ask_again(self, live: str) -> None:
        waiting = self._waiting[live]
        self._waiting[live] = waiting._replace(limit=0, asked=waiting.asked + 1)
        self._push(live, min(_AGAIN * 2**waiting.asked, _AGAIN_LAST))

    def _is_due(self, live: str, now: Sample, wall_ns: int) -> bool:
        waiting = self._waiting.get(live)
        if waiting is None or now.size < 0:
            return False
        if waiting.at_ns is not None and wall_ns >= waiting.at_ns:
            return True
        self._set_alarm(live)
        if waiting.limit is None:
            return False
        delay = next_look(waiting.limit, waiting.sample, now)
        self._waiting[live] = self._waiting[live]._replace(sample=now)
        if delay is None:
            if live not in self._asleep:
                self._sleep(live, now.size)
            return False
        if delay > 0:
            self._push(live, delay)
        return delay == 0
