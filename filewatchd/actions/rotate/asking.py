"""Answers over the control socket: what a rotation would do, and rotations by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import examining
from filewatchd.actions.rotate.deciding import Decision
from filewatchd.actions.rotate.documents import Asked, Done, Planned, Plans, Rotated, Which, done
from filewatchd.actions.rotate.due import Due
from filewatchd.actions.rotate.examining import Seen
from filewatchd.errors import ActionError
from filewatchd.model import Outcome, Trigger, Verdict
from filewatchd.notation import path_fields

_WITHIN = 600.0  # seconds that a rotation by hand is waited for
_LOOK = 1.0  # seconds between two looks whether the logs are still there


class Told(Protocol):
    """What the answers are made of."""

    async def outlook(self, live: str) -> tuple[Seen, Due, Decision, int]:
        """A log as it is, whether it is due, its method, and the bytes that no archive has."""
        ...

    def logs(self) -> list[str]:
        """All logs that are known."""
        ...


class Asking:
    """What is asked of one rule's rotation."""

    def __init__(self, ctx: Context, told: Told) -> None:
        self._ctx = ctx
        self._told = told
        self._waiting: dict[str, list[asyncio.Future[Outcome]]] = {}
        self.forced: set[str] = set()

    async def plans(self, asked: Which) -> Plans:
        """What would be done."""
        return Plans(logs=[await self._planned(live) for live in self._lives(asked)])

    async def _planned(self, live: str) -> Planned:
        try:
            seen, due, decision, size = await self._told.outlook(live)
        except OSError as error:
            raise ActionError(f"{live} can't be looked at: {error.strerror}") from error
        if not seen.there or seen.refused or seen.failed:
            decision = Decision("refuse", (seen.refused or seen.failed or "there is no such file",))
        return Planned(
            **path_fields("path", live), due=due.why, method=decision.method, reasons=list(decision.reasons), size=size
        )

    async def rotate(self, asked: Asked) -> Rotated:
        """Ask for a job over these logs, and wait for it."""
        lives = self._lives(asked)
        loop = asyncio.get_running_loop()
        futures = {live: loop.create_future() for live in lives}
        for live, future in futures.items():
            self._waiting.setdefault(live, []).append(future)
        if asked.force:
            self.forced |= futures.keys()
        if lives:
            self._ctx.request_job(Trigger.MANUAL, lives)
            absent = Outcome(Verdict.FAILED if asked.lives() else Verdict.SKIPPED, "there is no such file")
            await self._wait(futures, absent)
        return Rotated(logs=[_done(live, future) for live, future in futures.items()])

    async def _wait(self, futures: Mapping[str, asyncio.Future[Outcome]], absent: Outcome) -> None:
        """Until all have happened. No job comes for what isn't there, or goes meanwhile: that is asked now and then."""
        began = self._ctx.clock.monotonic()
        while pending := {live: future for live, future in futures.items() if not future.done()}:
            if self._ctx.clock.monotonic() - began >= _WITHIN:
                return
            names = list(pending)
            sizes = await self._ctx.worker.call(examining.sizes, names)
            self.happened({live: absent for live, size in zip(names, sizes, strict=True) if size < 0})
            await asyncio.wait(pending.values(), timeout=_LOOK)

    def _lives(self, asked: Which) -> list[str]:
        lives = asked.lives()
        for live in lives:
            if not self._ctx.selects(live):
                raise ActionError(f"the rule {self._ctx.rule.name} doesn't match {live}", retryable=False)
        return lives or self._told.logs()

    def happened(self, outcomes: Mapping[str, Outcome]) -> None:
        """How a job's logs fared: who waits for one is told."""
        for live, outcome in outcomes.items():
            for future in self._waiting.pop(live, ()):
                if not future.done():
                    future.set_result(outcome)


def _done(live: str, future: asyncio.Future[Outcome]) -> Done:
    if not future.done():
        future.cancel()
        return done(live, "failed", "it isn't done yet; `filewatchctl status` tells why")
    outcome = future.result()
    return done(live, outcome.verdict.value, outcome.message)
