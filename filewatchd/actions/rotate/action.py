"""The action: which logs are due, what is done with them, and what a crash left.

A job only brings up paths; whether one is due is asked here (`due`), of its size and age and the schedule. What isn't
due waits without an event per write (`watching`), and asks for a job when its time has come. A rotation that needs to
wait, for the last writer or for readers, goes on as a follow-up and holds no job's place (`rotation`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from filewatchd.actions.base import Context, JobContext, Schedule
from filewatchd.actions.rotate import commands, examining, naming, packing
from filewatchd.actions.rotate.asking import Asking
from filewatchd.actions.rotate.deciding import Decision
from filewatchd.actions.rotate.documents import stretches
from filewatchd.actions.rotate.due import Due, due
from filewatchd.actions.rotate.examining import Seen
from filewatchd.actions.rotate.finishing import Finishing
from filewatchd.actions.rotate.judging import Judging, Outlook
from filewatchd.actions.rotate.ledger import Archive, Known, Ledger, parts
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.recovering import Recovering
from filewatchd.actions.rotate.waiting import Ended
from filewatchd.actions.rotate.watching import Watching
from filewatchd.errors import ActionError
from filewatchd.model import Change, Kind, Outcome, Trigger, Verdict
from filewatchd.notation import one_line
from filewatchd.work.gathering import Gathered
from filewatchd.work.remedies import remedied

_KEEP_EVERY = 3600.0
_HEAL_EVERY = 60.0
_LATER = 60.0  # seconds until a log that was refused, or failed, is looked at again
_CUT_OFF = frozenset({State.COPIED, State.CLOSED, State.WRITING, State.NAMED, State.STAMPED})
_AT_ONCE = 64  # logs of a job: they share calls of the worker and durable commits


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
        self._count = 0
        self._jobs = 0  # that run
        self._sizing = Gathered[str, int](lambda lives: ctx.pool.run("", examining.sizes, lives))
        self._packing = asyncio.Lock()  # one archive at a time is packed in a job: memory is bounded
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
        if not self._jobs:  # which tell a writer once for all that they have swapped
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
                self._drop(live)
                continue
            if size < 0:
                await self._missing(live)
                continue
            self._wait(live, size, since_ns, asked)

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
        return {"rotated": self._count, "unfinished": self._ledger.left(), **told}

    # ---- when

    def _scheduled(self) -> None:
        self._ask(self._ledger.logs.ask())

    def _ask(self, lives: Sequence[str]) -> None:
        if lives:
            self._ctx.request_job(Trigger.SCHEDULE, lives)

    def _wait(self, live: str, size: int, since_ns: int, asked: bool = False, skip: int | None = None) -> None:
        """Wait until a log is due."""
        if skip is None:
            skip = self._judging.skip(live, size)
        found = due(self._options.when, size - skip, since_ns, asked, self._ctx.clock.wall_ns())
        self._watching.wait(live, size, skip, found)

    # ---- jobs

    async def run(self, job: JobContext) -> Mapping[str, Outcome]:
        """Rotate what is due of these logs."""
        self._jobs += 1
        try:
            return await self._run(job)
        finally:
            self._jobs -= 1

    async def _run(self, job: JobContext) -> Mapping[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        swapped: list[Archive] = []
        changes = list(job.changes)
        at_once = _AT_ONCE if self._options.before is None else 1
        for begin in range(0, len(changes), at_once):
            some = changes[begin : begin + at_once]
            ours = self._ledger.owned([change.path for change in some])
            ended = await asyncio.gather(
                *(self._one(job, each, swapped, ours) for each in some), return_exceptions=True
            )
            for change, outcome in zip(some, ended, strict=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                outcomes[change.path] = outcome
            job.progress(len(outcomes), len(changes), "logs")
        failed = await self._finishing.reopen(swapped, job.output)
        for archive in swapped:
            if failed is not None:
                outcomes[archive.live] = failed
            self._finishing.drive(archive)
        self._asking.happened(outcomes)
        return outcomes

    async def _one(self, job: JobContext, change: Change, swapped: list[Archive], ours: Collection[str]) -> Outcome:
        live = change.path
        if live in ours or naming.is_temporary(live):
            return Outcome(Verdict.SKIPPED, "an archive of its own")
        if naming.is_packed(live):
            return Outcome(Verdict.SKIPPED, "an archive by its name")
        if change.kind is Kind.DELETED:
            return self._gone(live)
        async with self._ctx.lock([live]), self._rotation.lock(live):
            try:
                return await self._looked_at(job, live, swapped)
            except Ended:
                return Outcome(Verdict.CANCELLED, "the daemon ends")
            except OSError as error:
                failed = Outcome(Verdict.FAILED, f"{live} can't be rotated: {remedied(error)}")
            except ActionError as error:
                failed = Outcome(Verdict.FAILED, str(error), error.retryable)
            await self._undo(live)
            self._later(live)  # when the job's own tries are used up
            return failed

    async def _missing(self, live: str) -> Outcome:
        """A log isn't there: it is gone, or looked at again until its filesystem is there."""
        if point := await self._judging.is_away(live):
            self._later(live)
            return Outcome(Verdict.SKIPPED, f"nothing is mounted at {point}")
        return self._gone(live)

    def _gone(self, live: str) -> Outcome:
        self._watching.forget(live)
        self._drop(live)
        return Outcome(Verdict.SKIPPED, "it is gone")

    def _drop(self, live: str) -> None:
        self._ledger.logs.drop(live)
        self._ctx.clear_finding(f"refused:{live}")

    async def _undo(self, live: str) -> None:
        """A rotation that failed at its beginning leaves nothing; if that fails, too, the next start does it."""
        for archive in self._ledger.of(live):
            if archive.state is State.BEGUN:
                with suppress(OSError, ActionError):
                    await self._rotation.undo(archive)

    async def _looked_at(self, job: JobContext, live: str, swapped: list[Archive]) -> Outcome:
        known, caught_up = await self._judging.known(live), None
        if any(archive.unfinished for archive in known.archives):
            caught_up = await self._catch_up(known.archives, swapped)
            known = await self._judging.known(live)
        seen = await self._judging.see(live)
        if not seen.there:
            return await self._missing(live)
        if seen.refused:
            self._judging.note(live, known.since)
            return self._refuse(live, seen.refused)
        if seen.failed:
            raise ActionError(seen.failed)
        skip = self._judging.skip(live, seen.size, seen.inode, known.archives)
        found, forced = self._judging.due(live, seen.size - skip, known.since), live in self._asking.forced
        if not found.why and not (forced and seen.size):
            self._asking.forced.discard(live)
            self._watching.wait(live, seen.size, skip, found)
            if caught_up is not None:
                return await self._rotated(job, *caught_up)
            return Outcome(Verdict.SKIPPED, "it isn't due" if seen.size > skip else "nothing is in it")
        outcome = await self._rotate(job, live, seen, known, skip, swapped)
        self._asking.forced.discard(live)
        return outcome

    def _refuse(self, live: str, why: str) -> Outcome:
        """Tell why, and look again later: its writers may be others by then."""
        self._ctx.finding(f"refused:{live}", f"{live} isn't rotated: {why}", live)
        self._later(live)
        return Outcome(Verdict.REJECTED, why)

    def _later(self, live: str) -> None:
        self._watching.wait(live, 0, 0, Due("", at_ns=self._ctx.clock.wall_ns() + int(_LATER * 1e9)))

    async def _catch_up(self, archives: Sequence[Archive], swapped: list[Archive]) -> tuple[Archive, Decision] | None:
        """Finish what an attempt before left in the middle; a swapped file that wasn't told of is told of now.

        Returns what was finished, if that is a rotation.
        """
        caught_up = None
        for archive in archives:
            if archive.state is State.BEGUN:
                archive = await self._rotation.undo(archive)
            if archive.state in _CUT_OFF and archive.method != "exchange":
                async with self._packing:
                    archive = await self._rotation.finish_here(archive)
                if archive.state is State.DONE:
                    done = Decision(archive.method, ("what was begun before is finished",))  # type: ignore[arg-type]
                    caught_up = archive, done
            if archive.state is State.SWAPPED and not self._finishing.told(archive):
                swapped.append(archive)
        return caught_up

    async def _rotate(
        self, job: JobContext, live: str, seen: Seen, known: Known, skip: int, swapped: list[Archive]
    ) -> Outcome:
        decision = await self._judging.decide(live, skip, seen)
        if decision.method == "refuse":
            return self._refuse(live, decision.text)
        self._ctx.clear_finding(f"refused:{live}")
        await self._judging.stand(live, seen)
        if self._options.before is not None:
            values = {"path": live, "archive": "", "rule": job.rule}
            await commands.run(self._ctx, "before", self._options.before, values, job.output)
        end = 0
        if decision.method != "exchange":
            end = await self._ctx.worker.call(packing.measure, live, self._ctx.beneath(live), skip)
            if end <= skip:
                self._watching.wait(live, seen.size, skip, Due("", seen.size - skip + 1))
                return Outcome(Verdict.SKIPPED, "no whole line is in it")
        row = self._judging.row(live, seen, known, skip, decision.method, end)
        if decision.method == "exchange":
            path = self._rotation.path_at_once(live, row.txn) if skip == 0 else None
            archive = await self._rotation.swap(await self._ledger.begin_together(row._replace(path=path)))
            if archive.unfinished:
                swapped.append(archive)
            else:
                await self._finishing.expiring.of(live)
        else:
            job.wrote(live)
            async with self._packing:
                archive = await self._rotation.finish_here(await self._ledger.begin_together(row))
            await self._finishing.expiring.of(live)
        if decision.method != "punch":
            self._judging.punched.discard(live)
        return await self._rotated(job, archive, decision)

    async def _rotated(self, job: JobContext, archive: Archive, decision: Decision) -> Outcome:
        live, whole = archive.live, f", as {archive.path}" if not archive.unfinished else ""
        self._count += 1
        self._ctx.count("rotated")
        job.wrote(live)
        job.output(f"{one_line(f'{live}: {decision.text}{whole}')}\n".encode())
        if decision.method == "exchange":  # a fresh file; who has written to it meanwhile is seen by the first look
            self._wait(live, 0, self._ctx.clock.wall_ns(), skip=0)
        elif (size := await self._sizing.ask(live)) >= 0:
            self._wait(live, size, self._ctx.clock.wall_ns())
        return Outcome(Verdict.OK, decision.text)

    # ---- plans

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
