"""What a reload does to the world, each with its step journaled before: publish, tell, watch, put back."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, NamedTuple

from msgspec import structs

from filewatchd.actions.base import JobContext
from filewatchd.actions.probing import look, probe_all
from filewatchd.actions.reload import publishing
from filewatchd.actions.reload.desk import Desk
from filewatchd.actions.reload.masking import MaskedOutput, masked
from filewatchd.actions.reload.putting import keep_tree, put_away, put_back, tidy
from filewatchd.actions.reload.record import Version
from filewatchd.actions.reload.states import Happening, Step
from filewatchd.actions.telling import tell
from filewatchd.errors import ActionError
from filewatchd.work.remedies import remedied

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
        told = await self._tell(version, step)
        if told.happening is not Happening.FAILED and await self._is_resaved(version):
            return Told(Happening.RESAVED, "the set was saved meanwhile, and is checked again at once")
        return told

    async def _tell(self, version: Version, step: Step) -> Told:
        desk, record, output = self._desk, self._desk.record, MaskedOutput(self._job.output)
        await self.step(step, version)
        record.applied, record.sure = version.number, False
        record.last_apply = version.applied = desk.now
        await desk.save()
        if desk.options.apply is not None:
            try:
                said = await tell(desk.options.apply, self._desk.ctx, output)
                output(f"{said}\n".encode("utf-8", "replace"))
            except ActionError as error:
                output.end()
                last = self.is_last or not error.retryable or step is Step.REAPPLY
                return Told(Happening.GAVE_UP if last else Happening.FAILED, masked(str(error)))
        await self.step(Step.HEALTH, version)
        await desk.move(Happening.TOLD)
        health = await probe_all(desk.options.probes, self._desk.ctx, output)
        output.end()
        return Told(Happening.HEALTHY) if health.healthy else Told(Happening.UNHEALTHY, masked(health.message))

    async def _is_resaved(self, version: Version) -> bool:
        """Whether somebody saved between the look before the check and now: the service may have read that.

        A service that writes to its own files whenever it is told is believed the second time.
        """
        desk, before = self._desk, self._desk.doubted
        desk.doubted = ""
        if desk.options.publish is not None or await desk.taker.still():
            return False
        if before == version.selected:
            desk.ctx.log.warning("the set is saved whenever the service is told of it; what it read can't be known")
            return False
        desk.doubted = version.selected
        return True

    async def is_healthy(self) -> bool:
        """Whether the service is well before it is told: else a new set isn't to blame. It may be slow to say so."""
        probes, ctx = self._desk.options.probes, self._desk.ctx
        if not any(await asyncio.gather(*(look(probe, ctx, probe.timeout) for probe in probes))):
            return True
        soon = [structs.replace(probe, within=min(probe.within, _SOON), stay=0.0) for probe in probes]
        return (await probe_all(soon, ctx)).healthy

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
        await desk.save()  # a tree that is left by a kill must be known as this version
        try:
            await tidy(desk, self._job)
            entries = await desk.load_set(version)
            await self._desk.ctx.pool.run("", publishing.build, desk.store, publish.target, entries)
            if tree := await self._desk.ctx.pool.run("", publishing.linked, publish.target):
                await keep_tree(desk, tree, self._job)  # after the flip nobody would know, were we killed
            old = await self._desk.ctx.pool.run("", publishing.switch, publish.target, version.digest)
            self._desk.record.live, self._desk.record.differs = version.number, ""
            await desk.save()
            await put_away(desk, publish.target, old, self._job)
        except OSError as error:
            await desk.move(Happening.FAILED)
            hint = remedied(error)
            if error.errno == errno.EXDEV:  # overlayfs
                hint = f"it is part of a container's image; `mv {publish.target} {publish.target}.old && cp -a"
                hint += f" {publish.target}.old {publish.target}` makes it one that can be, or a symlink does"
            raise ActionError(f"{publish.target} can't be replaced: {hint}") from error
        except ActionError:
            await desk.move(Happening.FAILED)
            raise


def data(version: Version, good: Version | None) -> dict[str, Any]:
    """What a step keeps."""
    return {"version": version.number, "digest": version.digest, "good": good.digest if good else ""}
