"""The opened action: its life, its looks between jobs, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.actions.base import Caller, Context, JobContext, Unfinished
from filewatchd.actions.reload import answers, units
from filewatchd.actions.reload.attempt import LATER, Asked, Attempt
from filewatchd.actions.reload.desk import FINDING, Desk
from filewatchd.actions.reload.options import Options
from filewatchd.actions.reload.putting import keep_former, put_back, tidy
from filewatchd.actions.reload.sight import viewer_of
from filewatchd.actions.reload.states import Happening, State, Step
from filewatchd.errors import ActionError
from filewatchd.model import Outcome, Trigger, Verdict

LOOK_EVERY = 300.0  # seconds between two looks that nothing asked for
_MOST_FAILING = 1000  # paths
_STEPS = frozenset(Step)
_TOLD = frozenset({Step.APPLY, Step.HEALTH, Step.RESTORE, Step.REAPPLY, Step.PUBLISH})


class ReloadAction:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._desk = Desk(options, ctx)
        self._asked = Asked(False)

    # ---- life

    async def recover(self) -> None:
        """Finish a restore that was cut off; whatever else was, ends in a look at what the disk has now."""
        desk = self._desk
        async with desk.lock:
            await desk.load()
            for cut in self._ctx.unfinished():
                await self._recover(cut)
            await tidy(desk, None)
            await keep_former(desk)
            if desk.record.state not in (State.SYNCED, State.HELD, State.TRIPPED, State.WAITING):
                await desk.move(Happening.CUT_OFF)
        self._ctx.timers.every("look", LOOK_EVERY, self._look_slowly)
        self._look_at_units()
        if desk.record.state in (State.WAITING, State.TRIPPED):
            self._ctx.timers.at(LATER, desk.record.not_before, self._later)
        self._look_soon(Trigger.STARTUP)

    async def _recover(self, cut: Unfinished) -> None:
        recorded = cut.steps.recorded()
        if not recorded or not {step.name for step in recorded} <= _STEPS:
            return
        desk, last = self._desk, recorded[-1]
        self._ctx.log.info("a reload was cut off at the step %s of version %s", last.name, last.data.get("version"))
        if last.name in _TOLD:
            desk.record.sure = False
        bad, good = desk.record.version(last.data.get("version")), desk.record.find(str(last.data.get("good", "")))
        if last.name == Step.RESTORE and bad is not None and good is not None and desk.options.publish is None:
            why = await put_back(desk, None, bad, good)
            if why:
                self._ctx.finding(FINDING, f"the last good set (version {good.number}) wasn't put back: {why}")
        desk.record.state = State.UNSURE
        await desk.save()
        await cut.steps.clear()

    def _later(self) -> None:
        self._ctx.request_job(Trigger.SCHEDULE)

    def _look_soon(self, trigger: Trigger = Trigger.SCHEDULE) -> None:
        self._ctx.follow_up("look", self._look(trigger))

    def _look_slowly(self) -> None:
        self._look_at_units()
        self._look_soon()

    def _look_at_units(self) -> None:
        if units.named(self._desk):
            self._ctx.follow_up("units", units.tell_unknown(self._desk))

    async def _look(self, trigger: Trigger = Trigger.SCHEDULE) -> None:
        """Ask for a job if the disk isn't as the service has it, though nothing told of a change."""
        desk, record = self._desk, self._desk.record
        if desk.lock.locked():
            return
        async with desk.lock:
            try:
                taken = await desk.taker.take()
                await desk.look_live()
            except ActionError as error:
                self._ctx.log.warning("%s", error)
                return
            applied, desired = record.version(record.applied), record.version(record.desired)
        settled = record.state is State.SYNCED and record.sure
        if settled and applied is not None and applied.selected == taken.selected:
            return
        left_alone = record.state is State.HELD or (
            record.state in (State.WAITING, State.TRIPPED) and desk.is_held_off()
        )
        if left_alone and desired and desired.digest == taken.digest:
            return
        self._ctx.request_job(trigger)

    async def run(self, job: JobContext) -> Outcome | Mapping[str, Outcome]:
        """One look, and what follows from it."""
        async with self._desk.lock:
            await self._desk.load()
            asked, self._asked = self._asked, Asked(False)
            try:
                outcome = await Attempt(self._desk, job, asked=asked).run()
            except BaseException:
                self._fails(job)
                raise
            if outcome.verdict is Verdict.FAILED:
                self._fails(job)
                await self._desk.save()
            elif self._desk.record.failing:
                await self._works(job)
        if self._desk.record.state in (State.SYNCED, State.HELD, State.UNSURE):
            self._look_soon()  # at what was changed meanwhile, whether or not anything told of it
        return outcome

    def _fails(self, job: JobContext) -> None:
        record = self._desk.record
        paths = (os.fsencode(change.path) for change in job.changes)
        record.failing = list(dict.fromkeys([*record.failing, *paths]))[-_MOST_FAILING:]

    async def _works(self, job: JobContext) -> None:
        """It ended well. What had failed before is well, too, once the service has the set: it is looked at again."""
        record, done = self._desk.record, {os.fsencode(change.path) for change in job.changes}
        record.failing = [path for path in record.failing if path not in done]
        if record.failing and record.state is State.SYNCED:
            self._ctx.request_job(Trigger.SCHEDULE, [os.fsdecode(path) for path in record.failing])
            record.failing = []
        await self._desk.save()

    def plan(self, job: JobContext) -> Sequence[str]:
        """In words; `filewatchctl reload plan` makes the check."""
        return answers.steps(self._desk)

    def reconfigure(self, options: Options) -> bool:
        """Other roots or places need to be opened anew; all else is taken in place."""
        same = (options.publish, self._ctx.rule.roots) == (self._desk.options.publish, tuple(self._desk.rooted))
        if same:
            self._desk.options = options
            self._desk.taker.forget_patterns()
            self._look_at_units()
        return same

    async def stop(self, grace: float) -> None:
        """Nothing runs between jobs but looks, which change nothing."""

    def statistics(self) -> Mapping[str, Any]:
        """Where disk and service stand to each other."""
        return answers.status(self._desk)

    # ---- what can be asked

    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Any:
        """See `answers`."""
        await self._desk.load()
        if endpoint == "retry":
            self._asked, text = Asked(True), "the set on the disk is tried again"
        elif endpoint == "rollback":
            version = answers.chosen(self._desk.record, arguments.version)
            self._asked, text = Asked(True, version), f"version {version.number} is checked, put back and applied"
        else:
            return await answers.answer(self._desk, endpoint, arguments, viewer_of(caller))
        self._ctx.request_job(Trigger.MANUAL)
        return answers.asked(self._desk, text)
