"""The action: which logs are due, what is done with them, and what a crash left.

A job only brings up paths (`working`); whether one is due is asked of its size and age and the schedule (`due`). What
isn't due waits without an event per write (`watching`), and asks for a job when its time has come. A rotation that
needs to wait, for the last writer or for readers, goes on as a follow-up and holds no job's place (`finishing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.actions.base import Context, JobContext, Schedule
from filewatchd.actions.rotate import examining
from filewatchd.actions.rotate.asking import Asking
from filewatchd.actions.rotate.documents import stretches
from filewatchd.actions.rotate.finishing import Finishing
from filewatchd.actions.rotate.judging import Judging, Outlook
from filewatchd.actions.rotate.ledger import Ledger, parts
from filewatchd.actions.rotate.lookout import Lookout
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.recovering import Recovering
from filewatchd.actions.rotate.watching import Watching
from filewatchd.actions.rotate.working import Working
from filewatchd.model import Outcome, Trigger

_KEEP_EVERY = 3600.0
_HEAL_EVERY = 60.0


class RotateAction:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._options = options
        self._ledger = Ledger(ctx.tables)
        self._finishing = Finishing(ctx, self._ledger, options)
        self._rotation = self._finishing.rotation
        self._watching = Watching(ctx, self._ask)
        self._judging = Judging(ctx, self._ledger, options)
        self._asking = Asking(ctx, self)
        self._lookout = Lookout(ctx, self._ledger, self._judging, self._watching)
        self._working = Working(ctx, self._ledger, self._judging, self._finishing, self._lookout, self._asking)
        self._schedule()

    # ---- life

    def _schedule(self) -> None:
        when = self._options.when
        if when.every is not None:
            schedule = Schedule(when.every, when.at, when.weekday, when.timezone, when.splay)
            self._ctx.timers.calendar("when", schedule, self._scheduled)
        else:
            self._ctx.timers.cancel("when")
        self._ctx.timers.every("heal", _HEAL_EVERY, lambda: self._ctx.follow_up("heal", self._heal()))
        if self._options.keep is not None:
            self._ctx.timers.every(
                "keep", _KEEP_EVERY, lambda: self._ctx.follow_up("keep", self._finishing.expiring.all())
            )
        else:
            self._ctx.timers.cancel("keep")

    async def recover(self) -> None:
        """Finish or undo what was cut off. What has to wait, or takes long, goes on beside the jobs."""
        await Recovering(self._ctx, self._ledger, self._finishing).all()
        self._ctx.follow_up("logs", self._wait_again())

    async def _heal(self) -> None:
        """Punched logs that nobody writes to any more get a real rotation, which takes their hole away."""
        if not self._working.running:  # which tell a writer once for all that they have swapped
            self._finishing.left_over()
        for live in sorted(self._judging.punched):
            if not await self._ctx.worker.call(examining.is_written, live, self._ctx.beneath(live)):
                self._judging.punched.discard(live)
                self._asking.forced.add(live)
                self._ctx.request_job(Trigger.SCHEDULE, [live])

    async def _wait_again(self) -> None:
        """Logs that were known before this life: no job comes for one that hasn't changed."""
        lives = self._ledger.logs.known()
        sizes = await self._ctx.pool.run("", examining.sizes, [live for live, _, _ in lives])
        for (live, since_ns, asked), size in zip(lives, sizes, strict=True):
            await asyncio.sleep(0)  # there may be thousands
            if self._rotation.ending.is_set():
                return
            if not self._ctx.selects(live):
                self._lookout.drop(live)
                continue
            if size < 0:
                await self._lookout.missing(live)
                continue
            self._lookout.wait(live, size, since_ns, asked)

    def reconfigure(self, options: Options) -> bool:
        """Always possible in place: a rotation under way goes on by what it began with, as far as its row tells."""
        self._options = self._judging.options = options
        self._finishing.take(options)
        self._schedule()
        self._ctx.follow_up("logs", self._wait_again())
        return True

    async def stop(self, grace: float) -> None:
        """What waits ends, and goes on in the next life."""
        self._finishing.end()
        self._watching.close()

    def statistics(self) -> Mapping[str, Any]:
        """What was rotated and deleted, and what waits."""
        told = {**self._finishing.statistics(), **self._watching.statistics()}
        return {"rotated": self._working.count, "unfinished": self._ledger.left(), **told}

    # ---- when

    def _scheduled(self) -> None:
        self._ask(self._ledger.logs.ask())

    def _ask(self, lives: Sequence[str]) -> None:
        if lives:
            self._ctx.request_job(Trigger.SCHEDULE, lives)

    # ---- jobs and plans

    async def run(self, job: JobContext) -> Mapping[str, Outcome]:
        """Rotate what is due of these logs."""
        return await self._working.run(job)

    async def answer(self, endpoint: str, arguments: Any) -> Any:
        """See `documents`."""
        if endpoint == "archives":
            (live,) = arguments.lives() or [""]
            return stretches(await self._ctx.pool.run("", parts, live, self._ledger.of(live)))
        if endpoint == "plan":
            return await self._asking.plans(arguments)
        return await self._asking.rotate(arguments)

    def logs(self) -> list[str]:
        """All logs that are known."""
        return [live for live, _, _ in self._ledger.logs.known() if self._ctx.selects(live)]

    async def outlook(self, live: str) -> Outlook:
        """What would be done with a log now."""
        return await self._judging.outlook(live)

    def plan(self, job: JobContext) -> Sequence[str]:
        """The method of each log, and why."""
        return [self._judging.plan(change.path, number) for number, change in enumerate(job.changes)]
