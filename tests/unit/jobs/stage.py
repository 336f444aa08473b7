"""An engine with one rule on one root, without watching: the test marks paths dirty itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from filewatchd.clock import SystemClock
from filewatchd.jobs.engine import Engine, RootFacts, Watching
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.store import Store
from filewatchd.jobs.timers import DurableTimers
from filewatchd.model import ActionSpec, Hint, RuleSettings
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction, RecordingOptions
from filewatchd.testing.spawn import FakeSpawn
from filewatchd.work.cgroup import Groups
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
from filewatchd.work.workers import Workers


class Gated(Pool):
    """A pool whose looks end only while the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = 0

    def run(self, lane: str, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        def gated(*arguments: Any) -> Any:
            result = work(*arguments)
            if not self.gate.is_set():
                self.waiting += 1
                assert self.gate.wait(20)
            return result

        return super().run(lane, gated if lane == "look" else work, *arguments)


class Stage:
    """An engine with one rule on one root."""

    def __init__(self, database: Database, root: Path, action: RecordingAction) -> None:
        clock = SystemClock()
        self.root, self.pool, self.action = root, Gated(), action
        facts = RootFacts("look", 1, True)
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        self.intakes: list[bool] = []
        watching = Watching(
            lambda _: facts, lambda _path, _wake: nothing, nothing, self.intakes.append, nothing, nothing, lambda: 0
        )
        store, self.timers = Store(database, clock), DurableTimers(database, clock)
        packages = {action.name: action}
        spawn, workers = FakeSpawn(), Workers(Commands(Groups("test", "", ""), self.pool), self.pool)
        self.engine = Engine(clock, self.pool, spawn, workers, store, self.timers, packages, watching, max_running=4)
        self.generation = 0

    async def configure(self, **keys: Any) -> None:
        self.generation += 1
        spec = ActionSpec(self.action.name, RecordingOptions(note=str(self.generation)), "0.record")
        rule = RuleSettings("rule", (str(self.root),), (spec,), settle=0.0, **keys)
        await self.engine.generations.configure(self.generation, [rule], {"rule": str(self.generation)}, 5.0)
        self.engine.bind(self.engine.pipelines["rule"], str(self.root))

    @property
    def pipeline(self) -> Pipeline:
        return self.engine.pipelines["rule"]

    def mark(self, name: str) -> None:
        (number,) = self.pipeline.bindings
        self.pipeline.mark((number, name), Hint.LIVE | Hint.WRITE | Hint.CLOSED, self.engine.clock.monotonic())
        self.engine.poke()


def play(database: Database, root: Path, action: RecordingAction, story: Callable[[Stage], Awaitable[None]]) -> None:
    async def staged() -> None:
        root.mkdir()
        stage = Stage(database, root, action)
        await story(stage)
        await stage.engine.drain(5.0)
        stage.timers.close()
        stage.pool.close()

    asyncio.run(staged())
