"""What people ask of rules and their jobs: to wait, to go on, to work, to try again, to end, to give up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from filewatchd.jobs.opening import recover
from filewatchd.jobs.planning import Plans, plan, steps
from filewatchd.jobs.queue import JobState
from filewatchd.model import FileIdentity, Hint, Trigger
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
        wanted = set(rules)
        pipelines = [p for name, p in self._engine.pipelines.items() if {name, name.partition(":")[0]} & wanted]
        found = {pipeline.settings.name: _retry(pipeline, job) for pipeline in pipelines}
        self._engine.poke()
        return {name: count for name, count in found.items() if count}

    def repeat(self, job: int) -> str | None:
        """Try a job over no path again that failed or is in back-off. Its rule; None if it is none, or that is gone."""
        for pipeline in self._engine.pipelines.values():
            if pipeline.backoff.repeat(job):
                return pipeline.settings.name
        rule = self._engine.store.journal.failed_over_nothing(job)
        if rule not in self._engine.pipelines:
            return None
        self.trigger(rule, ())
        return rule

    def cancel(self, job: int, by: str) -> tuple[str, int] | None:
        """End a job that runs or waits in back-off: the state it was in, and over how many paths. None: it has ended.

        Raises:
            StateError: it can't be written down, so the job goes on.
        """
        for pipeline in self._engine.at_work():
            if (paths := pipeline.batches.cancel_job(job, by)) is not None:
                return JobState.RUNNING, paths
            if (paths := pipeline.backoff.cancel(job, by)) is not None:
                self._engine.state_changed()
                return JobState.BACKOFF, paths
        return None

    async def drop(self, rules: Iterable[str], by: str, job: int | None = None) -> Mapping[str, int]:
        """Take failed and cancelled paths as handled, as they are now; of one job if it is given. How many, by rule.

        Raises:
            StalledError: a filesystem doesn't answer.
            StateError: it can't be written down.
        """
        pipelines = [self._engine.pipelines[name] for name in rules]
        found = {pipeline.settings.name: await _drop(pipeline, by, job) for pipeline in pipelines}
        self._engine.state_changed()
        return {name: count for name, count in found.items() if count}

    def trigger(self, rule: str, paths: Sequence[str]) -> None:
        """Ask for a job over these paths, changed or not; over no path if there are none."""
        self._engine.pipelines[rule].request(Trigger.MANUAL, paths)

    async def plan(self, rule: str, paths: Sequence[str]) -> Plans:
        """What `trigger` would lead to.

        Raises:
            StalledError: a filesystem doesn't answer.
        """
        pipeline = self._engine.pipelines[rule]
        if not paths:
            return steps(pipeline, (), Trigger.MANUAL)
        marks = [(key, Hint.FORCED) for path in paths for key in pipeline.keys_of(path)]
        return await plan(pipeline, marks, Trigger.MANUAL)

    async def matched(self, rule: str, paths: Sequence[str]) -> list[str]:
        """Those of these paths that the rule's roots and patterns cover. A directory is none: a rule is about files."""
        pipeline = self._engine.pipelines[rule]
        covered = [path for path in paths if pipeline.keys_of(path)]
        are_directories = await self._engine.pool.run(self._engine.lane(pipeline), _are_directories, covered)
        return [path for path, is_directory in zip(covered, are_directories, strict=True) if not is_directory]

    def held(self, rules: Iterable[str]) -> Mapping[str, str]:
        """Those of these rules that are held, and why."""
        pipelines = [self._engine.pipelines[name] for name in rules if name in self._engine.pipelines]
        return {p.settings.name: p.holding.why for p in pipelines if p.holding.why is not None}


def _are_directories(paths: Sequence[str]) -> list[bool]:
    return [os.path.isdir(path) for path in paths]


async def _recovered(pipeline: Pipeline) -> bool:
    """Whether the rule's actions have finished or undone what was cut off, if that is what holds it."""
    if pipeline.holding.hold is not Hold.BROKEN:
        return True
    return all([await recover(pipeline, opened) for opened in pipeline.actions])


async def _drop(pipeline: Pipeline, by: str, job: int | None) -> int:
    chosen = [key for key in pipeline.failed() if job is None or pipeline.open[key] == job]
    if not chosen:
        return 0
    mounts = pipeline.engine.mounts()
    looks = await pipeline.looking.eyes.look_at(chosen, None)
    stands, now = pipeline.looking.ground(mounts), pipeline.clock.monotonic()
    still = set(pipeline.failed())  # what has changed meanwhile is worked
    put: dict[int, list[tuple[str, FileIdentity, int]]] = {}
    gone: dict[int, list[str]] = {}
    closed = []
    for key, look in zip(chosen, looks, strict=True):
        if key not in still or look.error or not stands(key[0], look):
            continue
        closed.append(key)
        if look.identity is None:
            gone.setdefault(key[0], []).append(key[1])
        else:
            put.setdefault(key[0], []).append((key[1], look.identity, pipeline.looking.flags(key, look)))
            if look.racy:
                pipeline.look_again(key, now)
    if closed:
        pipeline.engine.store.record(pipeline, put, gone, closed, note=f"paths dropped by {by}")
    return len(closed)


def _retry(pipeline: Pipeline, job: int | None) -> int:
    now = pipeline.clock.monotonic()
    failed = [key for key in pipeline.failed() if job is None or pipeline.open[key] == job]
    for key in failed:
        pipeline.mark_after(key, Hint.FORCED, now, 0.0)
    return len(failed) + pipeline.backoff.hasten(job)
