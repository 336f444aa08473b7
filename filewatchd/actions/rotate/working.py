"""A job over logs: each that is due is rotated, and the writer is told once for all of them.

What one of them has to wait for afterwards, its last writer or readers, goes on beside the jobs (`finishing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from filewatchd.actions.base import Context, JobContext
from filewatchd.actions.rotate import commands, examining, naming, packing
from filewatchd.actions.rotate.asking import Asking
from filewatchd.actions.rotate.deciding import Decision
from filewatchd.actions.rotate.due import Due
from filewatchd.actions.rotate.examining import Seen
from filewatchd.actions.rotate.finishing import Finishing
from filewatchd.actions.rotate.judging import Judging
from filewatchd.actions.rotate.ledger import Archive, Known, Ledger
from filewatchd.actions.rotate.lookout import Lookout
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.waiting import Ended
from filewatchd.errors import ActionError
from filewatchd.model import Change, Kind, Outcome, Verdict
from filewatchd.notation import one_line
from filewatchd.work.gathering import Gathered
from filewatchd.work.remedies import remedied

_CUT_OFF = frozenset({State.COPIED, State.CLOSED, State.WRITING, State.NAMED, State.STAMPED})
_AT_ONCE = 64  # logs of a job: they share calls of the worker and durable commits


class Working:
    """The jobs of one rule. ``running``: how many do; ``count``: the rotations so far."""

    def __init__(
        self,
        ctx: Context,
        ledger: Ledger,
        judging: Judging,
        finishing: Finishing,
        lookout: Lookout,
        asking: Asking,
    ) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._judging = judging
        self._finishing = finishing
        self._rotation = finishing.rotation
        self._lookout = lookout
        self._asking = asking
        self.running = self.count = 0
        self._sizing = Gathered[str, int](lambda lives: ctx.pool.run("", examining.sizes, lives))
        self._packing = asyncio.Lock()  # one archive at a time is packed in a job: memory is bounded

    async def run(self, job: JobContext) -> Mapping[str, Outcome]:
        """Rotate what is due of these logs."""
        self.running += 1
        try:
            return await self._run(job)
        finally:
            self.running -= 1

    async def _run(self, job: JobContext) -> Mapping[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        swapped: list[Archive] = []
        changes = list(job.changes)
        at_once = _AT_ONCE if self._judging.options.before is None else 1
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
            return self._lookout.gone(live)
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
            self._lookout.later(live)  # when the job's own tries are used up
            return failed

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
            return await self._lookout.missing(live)
        if seen.refused:
            self._judging.note(live, known.since)
            return self._refuse(live, seen.refused)
        if seen.failed:
            raise ActionError(seen.failed)
        skip = await self._judging.begins(live, seen, known.archives)
        found, forced = self._judging.due(live, seen.size - skip, known.since), live in self._asking.forced
        if not found.why and not (forced and seen.size):
            self._asking.forced.discard(live)
            self._lookout.until(live, seen.size, skip, found)
            if caught_up is not None:
                return await self._rotated(job, *caught_up)
            return Outcome(Verdict.SKIPPED, "it isn't due" if seen.size > skip else "nothing is in it")
        outcome = await self._rotate(job, live, seen, known, skip, swapped)
        self._asking.forced.discard(live)
        return outcome

    def _refuse(self, live: str, why: str) -> Outcome:
        """Tell why, and look again later: its writers may be others by then."""
        self._ctx.finding(f"refused:{live}", f"{live} isn't rotated: {why}", live)
        self._lookout.later(live)
        return Outcome(Verdict.REJECTED, why)

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
        if self._judging.options.before is not None:
            values = {"path": live, "archive": "", "rule": job.rule}
            await commands.run(self._ctx, "before", self._judging.options.before, values, job.output)
        end = 0
        if decision.method != "exchange":
            end = await self._ctx.worker.call(packing.measure, live, self._ctx.beneath(live), skip)
            if end <= skip:
                self._lookout.until(live, seen.size, skip, Due("", seen.size - skip + 1))
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
        self.count += 1
        self._ctx.count("rotated")
        job.wrote(live)
        job.output(f"{one_line(f'{live}: {decision.text}{whole}')}\n".encode())
        if decision.method == "exchange":  # a fresh file; who has written to it meanwhile is seen by the first look
            self._lookout.wait(live, 0, self._ctx.clock.wall_ns(), skip=0)
        elif (size := await self._sizing.ask(live)) >= 0:
            self._lookout.wait(live, size, self._ctx.clock.wall_ns())
        return Outcome(Verdict.OK, decision.text)
