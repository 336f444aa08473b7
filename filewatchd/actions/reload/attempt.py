"""One look of a reload at its set, and what follows from it: check, publish, apply, watch, put back.

What is on the disk is *desired*, what the service was told of is *applied*; the work is to make them the same by way of
a check. It is the same whether a change, a timer, a start or a person asked, so nothing hangs on having seen an event.
A version is refused by its check, fails to be applied, or leaves the service unhealthy; it is then left alone until
the set changes or somebody says retry.
"""

from __future__ import annotations

import hashlib
import socket
from typing import NamedTuple

from filewatchd.actions.base import JobContext
from filewatchd.actions.reload import record as records
from filewatchd.actions.reload.deeds import Deeds, data
from filewatchd.actions.reload.desk import FINDING, FLAP_REST, Desk
from filewatchd.actions.reload.links import tell_links
from filewatchd.actions.reload.record import BAD, FAILED, GOOD, PASSED, REFUSED, UNHEALTHY, Version
from filewatchd.actions.reload.states import PASSING, Happening, State, Step
from filewatchd.actions.reload.taking import Taken
from filewatchd.errors import ActionError
from filewatchd.model import OK, Initial, Outcome, Trigger, Verdict

_FLAP_WITHIN, _FLAP_MOST = 600.0, 3  # seconds, times
LATER = "later"
_MOST_SHOWN = 300  # characters of an outcome


class Asked(NamedTuple):
    """What a person asked for: that the set is tried whatever became of it, perhaps with a version put back first."""

    retry: bool
    version: Version | None = None


class Attempt:
    """One job's work. The desk's lock is held."""

    def __init__(self, desk: Desk, job: JobContext, asked: Asked) -> None:
        self._desk = desk
        self._job = job
        self._asked = asked.retry or job.trigger is Trigger.MANUAL
        self._wanted = asked.version
        self._ctx = desk.ctx
        self._record = desk.record
        self._do = Deeds(desk, job)
        self._tripped = False

    async def run(self) -> Outcome:
        """Do what is to be done.

        Raises:
            ActionError: it can't be done now; trying again may help.
        """
        desk, record = self._desk, self._record
        if desk.options.check is not None:
            desk.checker.foresee()
        if record.state in PASSING:  # an earlier attempt was cancelled, or failed by an error
            await desk.move(Happening.CUT_OFF)
        taken = await desk.taker.take()
        if taken.missing:
            text = f"{', '.join(taken.missing)} isn't there: what the service has is left as it is"
            self._ctx.finding(f"{FINDING}-missing", text)
            return Outcome(Verdict.SKIPPED, text)
        self._ctx.clear_finding(f"{FINDING}-missing")
        tell_links(desk, taken)
        version = await desk.enter(taken, self._job.id)
        if self._wanted is not None and self._wanted.digest != version.digest:
            taken = await self._roll_back(version, self._wanted)
            version = await desk.enter(taken, self._job.id)
        before, record.desired = record.desired, version.number
        if await self._is_applied(taken):
            return await self._settle(version)
        if version.number == before and version.fate in BAD and record.state is State.HELD and not self._asked:
            await desk.save()
            verdict = Verdict.SKIPPED if version.fate == REFUSED else Verdict.FAILED  # it fails on
            text = f"version {version.number} is held: {version.why.splitlines()[0]}"
            return Outcome(verdict, text, retryable=False)
        self._tripped = record.state is State.TRIPPED
        if version.number != before and record.state is not State.WAITING:  # else the wait began with the first
            pause = FLAP_REST if self._tripped else self._splay()
            record.put_off(desk.now, pause, desk.options.cooldown)
        await desk.move(Happening.CHANGED)
        try:
            outcome = await self._take_on(version, taken)
        finally:
            if record.state not in PASSING:
                await self._job.steps.clear()
        await desk.prune()
        return outcome

    async def _is_applied(self, taken: Taken) -> bool:
        """Whether the service has this set, and the live directory too."""
        applied = self._record.version(self._record.applied)
        if applied is None or not self._record.sure or applied.selected != taken.selected:
            return False
        return not (self._asked and self._record.differs)

    async def _settle(self, version: Version) -> Outcome:
        record = self._record
        going_back = record.state is not State.SYNCED
        if going_back and version.number != record.applied and version.fate in BAD:
            version.fate, version.why = PASSED, ""  # it differs only in what doesn't count
        await self._desk.move(Happening.REVERTED)
        if going_back:  # else what is told is that a set was put back, until another one comes
            self._ctx.clear_finding(FINDING)
        await self._job.steps.clear()
        return Outcome(Verdict.OK, "the service has this set")

    def _splay(self) -> float:
        """Always the same on one host, so that hosts that get a file at once don't act at once."""
        name = f"{socket.gethostname()} {self._ctx.rule.name}".encode()
        return self._desk.options.splay * int.from_bytes(hashlib.sha256(name).digest()[:4], "big") / 2**32

    # ---- from the check to the apply

    async def _take_on(self, version: Version, taken: Taken) -> Outcome:
        desk = self._desk
        await self._do.step(Step.CHECK, version)
        try:
            verdict = await desk.check(taken.entries, self._job.id, self._job.output)
        except ActionError as error:
            await desk.move(Happening.UNCHECKED)
            if not error.retryable or self._do.is_last:
                self._ctx.finding(FINDING, f"version {version.number} couldn't be checked: {error}")
            raise
        desk.tell_blindness(verdict)
        if not verdict.passed:
            return await self._bad(version, REFUSED, Happening.REFUSED, records.clipped(verdict.text))
        version.why = ""
        if version.fate != GOOD:
            version.fate = PASSED
        if self._record.applied is None and self._ctx.rule.initial is Initial.IGNORE and not self._asked:
            return await self._adopt(version)
        return await self._apply_or_wait(version, taken)

    async def _adopt(self, version: Version) -> Outcome:
        """The first set ever: the service has been running with it."""
        record = self._record
        if self._desk.options.publish is not None:
            return await self._apply(version, publish=True)
        record.applied = record.good = version.number
        record.sure, version.fate = True, GOOD
        await self._desk.move(Happening.SETTLED)
        self._ctx.clear_finding(FINDING)
        return Outcome(Verdict.OK, "this set is taken as the one that the service has")

    async def _apply_or_wait(self, version: Version, taken: Taken) -> Outcome:
        desk, record, now = self._desk, self._record, self._desk.now
        if not self._asked and version.number != record.good and self._is_flapping(taken.selected):
            record.flaps, self._tripped = [], True
            record.put_off(now, FLAP_REST, 0.0)
            text = f"the set went back and forth {_FLAP_MOST} times within {_FLAP_WITHIN:.0f} s; it is applied when it"
            text += f" has rested for {FLAP_REST:.0f} s, or at `filewatchctl reload retry {self._ctx.rule.name}`"
            self._ctx.finding(FINDING, text)
        if not self._asked and record.hold_off(now, desk.longest_wait(tripped=self._tripped)):
            await self._later(Happening.FLAPPING if self._tripped else Happening.EARLY)
            return Outcome(Verdict.OK, f"passed; it is applied in {desk.left()}")
        return await self._apply(version, publish=desk.options.publish is not None)

    def _is_flapping(self, selected: str) -> bool:
        return self._record.flapping(selected, self._desk.now, _FLAP_WITHIN, _FLAP_MOST)

    async def _later(self, happening: Happening) -> None:
        self._ctx.timers.at(LATER, self._record.not_before, lambda: self._ctx.request_job(Trigger.SCHEDULE))
        await self._desk.move(happening)

    async def _apply(self, version: Version, *, publish: bool) -> Outcome:
        desk, record = self._desk, self._record
        if self._may_restore(version) and record.sure:  # else its illness may be this set's, or the last one's
            record.was_healthy = await self._do.is_healthy()
        if not publish and not await desk.taker.still():  # the service would read another set
            await desk.move(Happening.UNCHECKED)
            raise ActionError("the set has changed since it was checked; it is checked anew")
        if publish:
            await desk.move(Happening.PUBLISH)
            await self._publish(version)
            await desk.move(Happening.PUBLISHED)
        else:
            await desk.move(Happening.PASSED)
        record.flap(version.selected, desk.now)
        told = await self._do.tell(version, Step.APPLY)
        if told.happening is Happening.HEALTHY:
            return await self._good(version)
        if told.happening is Happening.FAILED:
            await desk.move(Happening.FAILED)
            return Outcome(Verdict.FAILED, f"version {version.number} couldn't be applied: {told.why}")
        if told.happening is Happening.RESAVED:
            await desk.move(Happening.RESAVED)
            return Outcome(Verdict.OK, f"version {version.number} was applied, but {told.why}")
        fate = UNHEALTHY if told.happening is Happening.UNHEALTHY else FAILED
        return await self._bad(version, fate, told.happening, told.why)

    async def _publish(self, version: Version) -> None:
        try:
            await self._do.publish(version)
        except ActionError as error:
            if not error.retryable or self._do.is_last:
                self._ctx.finding(FINDING, f"version {version.number} couldn't be published: {error}")
            raise

    async def _good(self, version: Version) -> Outcome:
        record = self._record
        record.good, record.sure, version.fate, version.why = version.number, True, GOOD, ""
        self._ctx.count("applied")
        await self._desk.move(Happening.HEALTHY)
        self._ctx.clear_finding(FINDING)
        return OK

    # ---- what isn't good

    async def _bad(self, version: Version, fate: str, happening: Happening, why: str) -> Outcome:
        version.fate, version.why = fate, why
        self._ctx.count(fate)
        await self._desk.move(happening)
        what = {
            REFUSED: "is refused by its check",
            FAILED: "couldn't be applied",
            UNHEALTHY: "made the service unhealthy",
        }
        text = f"version {version.number} {what[fate]}: {why}"
        if self._may_restore(version) and not (fate == REFUSED and self._publishes):  # it never was in the live place
            text = f"{text}\n{await self._restore(version, fate)}"
        self._ctx.finding(FINDING, text)
        verdict = Verdict.REJECTED if fate == REFUSED else Verdict.FAILED
        return Outcome(verdict, short(text), retryable=False)

    def _may_restore(self, version: Version) -> bool:
        options, good = self._desk.options, self._record.good
        return options.mode != "check" and options.on_bad == "restore" and good not in (None, version.number)

    @property
    def _publishes(self) -> bool:
        """Whether the service reads a directory of ours, and what people edit is never written."""
        return self._desk.options.publish is not None

    async def _restore(self, bad: Version, fate: str) -> str:
        """Put the last good set back, and tell the service if it needs to be told. Returns what came of it."""
        good = self._record.version(self._record.good)
        assert good is not None
        if fate != REFUSED and not self._record.was_healthy:
            return "the service was unhealthy before, so the last good set wasn't put back"
        if self._is_flapping(bad.selected):
            return "it was put back too often lately, so it stays"
        self._record.flap(bad.selected, self._desk.now)
        self._record.flap(good.selected, self._desk.now)
        await self._do.step(Step.RESTORE, bad)
        await self._desk.move(Happening.RESTORE)
        needs = fate != REFUSED
        if self._publishes:
            await self._do.publish(good)
        elif why := await self._do.put_back(bad, good):
            await self._desk.move(Happening.DISTURBED)
            return f"the last good set (version {good.number}) wasn't put back: {why}"
        elif (await self._desk.taker.take()).selected != good.selected:
            await self._desk.move(Happening.DISTURBED)
            return f"the last good set (version {good.number}) was put back, and somebody changed it since"
        else:
            self._record.desired = good.number
        if not needs and self._record.sure:
            await self._desk.move(Happening.PUT_BACK)
            return f"version {good.number} was put back; `filewatchctl reload diff {self._ctx.rule.name}` shows both"
        await self._desk.move(Happening.RESTORED)
        told = await self._do.tell(good, Step.REAPPLY)
        if told.happening is Happening.HEALTHY:
            self._record.sure = True
            await self._desk.move(Happening.KEPT_BACK if self._publishes else Happening.HEALTHY)
            return f"version {good.number} was put back and applied"
        await self._desk.move(told.happening)
        return f"version {good.number} was put back, but: {told.why}"

    async def _roll_back(self, version: Version, wanted: Version) -> Taken:
        """A person wants an earlier version on the disk: if it passes its check, it is put there."""
        verdict = await self._desk.check(await self._desk.load_set(wanted), self._job.id, self._job.output)
        if not verdict.passed:
            text = f"version {wanted.number} isn't put back, its check fails: {short(verdict.text)}"
            raise ActionError(text, retryable=False)
        self._record.desired = version.number
        await self._job.steps.record(Step.RESTORE, data(version, wanted))
        why = await self._do.put_back(version, wanted)
        await self._job.steps.clear()
        if why:
            raise ActionError(f"version {wanted.number} wasn't put back: {why}", retryable=False)
        return await self._desk.taker.take()


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    line = "; ".join(" ".join(part.split()) for part in text.splitlines() if part.strip())
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]} ..."
