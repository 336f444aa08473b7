"""A reload while a batch is being looked at: what was taken goes to the rule's new pipeline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from filewatchd.clock import SystemClock
from filewatchd.jobs.engine import Engine, RootFacts, Watching
from filewatchd.jobs.store import Store
from filewatchd.jobs.timers import DurableTimers
from filewatchd.model import OK, ActionSpec, Hint, Outcome, Retry, RuleSettings, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction, RecordingOptions
from filewatchd.testing.spawn import FakeSpawn
from filewatchd.testing.waiting import eventually
from filewatchd.work.pool import Pool


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
        watching = Watching(
            lambda _: facts, lambda _path, _wake: nothing, nothing, nothing, nothing, nothing, lambda: 0
        )
        store, self.timers = Store(database, clock), DurableTimers(database, clock)
        packages = {action.name: action}
        self.engine = Engine(clock, self.pool, FakeSpawn(), store, self.timers, packages, watching, max_running=4)
        self.generation = 0

    async def configure(self, **keys: Any) -> None:
        self.generation += 1
        spec = ActionSpec(self.action.name, RecordingOptions(note=str(self.generation)), "0.record")
        rule = RuleSettings("rule", (str(self.root),), (spec,), settle=0.0, **keys)
        await self.engine.configure(self.generation, [rule], {"rule": str(self.generation)}, 5.0)
        self.engine.bind(self.engine.pipelines["rule"], str(self.root))

    def mark(self, name: str) -> None:
        pipeline = self.engine.pipelines["rule"]
        (number,) = pipeline.bindings
        pipeline.mark((number, name), Hint.LIVE | Hint.WRITE | Hint.CLOSED, self.engine.clock.monotonic())
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


def test_a_batch_that_is_being_looked_at_goes_to_the_new_pipeline(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.pool.gate.clear()
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at")
        await stage.configure()
        await stage.configure()
        stage.pool.gate.set()
        await eventually(lambda: stage.action.calls, "the action runs")
        assert [call.paths for call in stage.action.calls] == [[str(stage.root / "a")]]

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_retry_that_is_being_looked_at_goes_to_the_new_pipeline(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "not yet"), OK]

    async def story(stage: Stage) -> None:
        retry = Retry(3, 0.01, 0.01)
        await stage.configure(retry=retry)
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.action.calls, "it fails")
        stage.pool.gate.clear()
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at for the retry")
        await stage.configure(retry=retry)
        stage.pool.gate.set()
        await eventually(lambda: len(stage.action.calls) == 2, "the action runs again")
        assert stage.action.calls[1].paths == [str(stage.root / "a")]

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)
