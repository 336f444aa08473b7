"""What a reload does to the world, each with its step journaled before: publish, tell, watch, put back."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import structs

from filewatchd.actions.base import JobContext
from filewatchd.actions.probing import probe_all
from filewatchd.actions.reload import publishing
from filewatchd.actions.reload.desk import Desk
from filewatchd.actions.reload.putting import keep_tree, put_back, tidy
from filewatchd.actions.reload.record import Version
from filewatchd.actions.reload.states import Happening, Step
from filewatchd.actions.telling import tell
from filewatchd.errors import ActionError

_SOON = 1.0  # seconds


class Told(NamedTuple):
    """How a telling ended."""

    happening: Happening
    why: str = ""


class Deeds:
    """One job's. The desk's lock is held."""

    def __init__(self, desk: Desk, job: JobContext) -> None:
        self._desk = desk
        self._job = job

    @property
    def is_last(self) -> bool:
        """Whether the rule has no further attempt."""
        return self._job.attempt >= self._desk.ctx.rule.retry.attempts

    async def tell(self, version: Version, step: Step) -> Told:
        """Tell the service of a version, and watch its health."""
        desk, record = self._desk, self._desk.record
        await self.step(step, version)
        record.applied, record.sure = version.number, False
        record.last_apply = version.applied = desk.now
        await desk.save()
        if desk.options.apply is not None:
            try:
                said = await tell(desk.options.apply, self._desk.ctx, self._job.output)
                self._job.output(f"{said}\n".encode("utf-8", "replace"))
            except ActionError as error:
                last = self.is_last or not error.retryable or step is Step.REAPPLY
                return Told(Happening.GAVE_UP if last else Happening.FAILED, str(error))
        await self.step(Step.HEALTH, version)
        await desk.move(Happening.TOLD)
        health = await probe_all(desk.options.probes, self._desk.ctx, self._job.output)
        return Told(Happening.HEALTHY) if health.healthy else Told(Happening.UNHEALTHY, health.message)

    async def is_healthy(self) -> bool:
        """Whether the service is well before it is told: else a new set isn't to blame."""
        soon = [
            structs.replace(probe, within=min(probe.within, _SOON), stay=0.0) for probe in self._desk.options.probes
        ]
        return (await probe_all(soon, self._desk.ctx)).healthy

    async def step(self, step: Step, version: Version) -> None:
        """Journal a step."""
        await self._job.steps.record(step, data(version, self._desk.record.version(self._desk.record.good)))

    async def put_back(self, bad: Version, good: Version) -> str:
        """Put a version back if the disk has exactly the other one. Returns why not; "" if it is done."""
        if (await self._desk.taker.take()).digest != bad.digest:
            return "somebody has changed the set since"
        return await put_back(self._desk, self._job, bad, good)

    async def publish(self, version: Version) -> None:
        """Make a version the live set.

        Raises:
            ActionError: it can't be done.
        """
        desk, publish = self._desk, self._desk.options.publish
        assert publish is not None
        await self.step(Step.PUBLISH, version)
        try:
            await tidy(desk, self._job)
            entries = await desk.load_set(version)
            await self._desk.ctx.pool.run("", publishing.build, desk.store, publish.target, entries)
            if tree := await self._desk.ctx.pool.run("", publishing.linked, publish.target):
                await keep_tree(desk, tree, self._job)  # after the flip nobody would know, were we killed
            old = await self._desk.ctx.pool.run("", publishing.switch, publish.target, version.digest)
            self._desk.record.live, self._desk.record.differs = version.number, ""
            await desk.save()
            await keep_tree(desk, old, self._job)
            await self._desk.ctx.pool.run("", publishing.clear, publish.target)
        except OSError as error:
            await desk.move(Happening.FAILED)
            raise ActionError(f"{publish.target} can't be replaced: {error}") from error


def data(version: Version, good: Version | None) -> dict[str, Any]:
    """What a step keeps."""
    return {"version": version.number, "digest": version.digest, "good": good.digest if good else ""}
