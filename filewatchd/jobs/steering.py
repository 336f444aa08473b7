"""What people ask of rules: to go on after a hold, and to try failed paths again now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from filewatchd.jobs.opening import recover
from filewatchd.model import Hint
from filewatchd.rules.holding import Hold

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.pipeline import Pipeline


class Steering:
    """What can be asked of an engine's rules; by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resuming = asyncio.Lock()  # an action's recovery isn't to be run twice at once

    async def resume(self, rules: Sequence[str]) -> list[str]:
        """Let those of these rules go on that are held; which they are. One whose action can't recover stays held.

        Raises:
            StateError: a hold can't be taken from the journal, so its rule stays held.
        """
        async with self._resuming:
            held = [p for name in rules if (p := self._engine.pipelines.get(name)) and p.holding.why is not None]
            free = [pipeline for pipeline in held if await _recovered(pipeline)]
            for pipeline in free:
                pipeline.resume()
        self._engine.poke()
        return [pipeline.settings.name for pipeline in free]

    def pause(self, rule: str, reason: str, seconds: float | None, by: str, *, discard: bool) -> None:
        """Hold a rule, for so long or until it is resumed.

        Raises:
            StateError: it can't be written down, so nothing has changed.
        """
        pipeline = self._engine.pipelines[rule]
        until_ns = None if seconds is None else pipeline.clock.wall_ns() + int(seconds * 1e9)
        pipeline.holding.pause(reason, until_ns, by, discard=discard)
        self._engine.state_changed()
        self._engine.poke()

    def retry(self, rules: Iterable[str], job: int | None = None) -> Mapping[str, int]:
        """Try failed paths, and those in back-off, again now; of one job if it is given. How many, rule by rule."""
        pipelines = [self._engine.pipelines[name] for name in rules]
        found = {pipeline.settings.name: _retry(pipeline, job) for pipeline in pipelines}
        self._engine.poke()
        return {name: count for name, count in found.items() if count}

    def held(self, rules: Iterable[str]) -> Mapping[str, str]:
        """Those of these rules that are held, and why."""
        pipelines = [self._engine.pipelines[name] for name in rules if name in self._engine.pipelines]
        return {p.settings.name: p.holding.why for p in pipelines if p.holding.why is not None}


async def _recovered(pipeline: Pipeline) -> bool:
    """Whether the rule's actions have finished or undone what was cut off, if that is what holds it."""
    if pipeline.holding.hold is not Hold.BROKEN:
        return True
    return all([await recover(pipeline, opened) for opened in pipeline.actions])


def _retry(pipeline: Pipeline, job: int | None) -> int:
    now = pipeline.clock.monotonic()
    failed = [key for key in pipeline.failed() if job is None or pipeline.open[key] == job]
    for key in failed:
        pipeline.mark_after(key, Hint.FORCED, now, 0.0)
    return len(failed) + pipeline.attempts.hasten(job)
