"""Pauses: what a rule does meanwhile, what it does afterwards, and what a restart or a reload leaves of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filewatchd.errors import StateError
from filewatchd.jobs.steering import Steering
from filewatchd.model import OK, Busy, Hint, Limit, Outcome, Retry, Trigger, Verdict
from filewatchd.rules.holding import Brake, Hold, Pausing
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


def pause(stage: Stage, *, seconds: float | None = None, discard: bool = False) -> None:
    Steering(stage.engine).pause("rule", "maintenance", seconds, "anna", discard=discard)


def resume(stage: Stage) -> Any:
    return Steering(stage.engine).resume(["rule"])


def write(stage: Stage, name: str, text: str = "x") -> None:
    (stage.root / name).write_text(text)
    stage.mark(name)


def test_changes_wait_and_a_running_job_goes_on(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure(on_busy=Busy.RESTART)
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "a job runs")
        pause(stage)
        write(stage, "b")
        assert len(stage.pipeline.window) == 1
        assert action.cancelled == 0  # although `on_busy: restart` would cancel it
        action.hold.set()
        await eventually(lambda: stage.pipeline.last, "it has ended")
        assert stage.pipeline.holding.why == "paused by anna: maintenance"
        assert action.paths == [f"{stage.root}/a"]
        assert await resume(stage) == ["rule"]
        await eventually(lambda: len(action.calls) == 2, "b has its job")
        assert stage.pipeline.holding.why is None

    play(database, tmp_path / "root", action, story)


def test_a_busy_rule_that_is_paused_skips_nothing(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure(on_busy=Busy.SKIP)
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "a job runs")
        pause(stage)
        write(stage, "b")
        assert (len(stage.pipeline.window), len(stage.pipeline.skipped)) == (1, 0)
        action.hold.set()
        await eventually(lambda: stage.pipeline.last, "it has ended")
        await resume(stage)
        await eventually(lambda: len(action.calls) == 2, "b has its job")

    play(database, tmp_path / "root", action, story)


def test_a_pause_that_comes_during_a_look_still_counts(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.pool.gate.clear()
        write(stage, "a")
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at")
        pause(stage)
        stage.pool.gate.set()
        await eventually(lambda: not stage.pipeline.taken, "the look is over")
        assert not stage.action.calls
        assert len(stage.pipeline.window) == 1
        await resume(stage)
        await eventually(lambda: stage.action.calls, "it has its job")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_retry_waits_for_the_end_of_a_pause(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "not yet"), OK]

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(3, 0.01, 0.01))
        write(stage, "a")
        await eventually(lambda: stage.action.calls, "it fails")
        stage.pool.gate.clear()
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at for the retry")
        pause(stage)
        stage.pool.gate.set()
        await eventually(lambda: stage.pipeline.backoff.due, "the retry stands in line")
        assert len(stage.action.calls) == 1
        await resume(stage)
        await eventually(lambda: len(stage.action.calls) == 2, "it is tried again")
        assert stage.action.calls[1].attempt == 2

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)


def test_a_job_over_no_path_waits_too(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        pause(stage, discard=True)
        stage.pipeline.request(Trigger.MANUAL, ())
        await stage.engine.flush(["rule"])
        assert not stage.action.calls
        await resume(stage)
        await eventually(lambda: stage.action.calls, "it runs")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_what_changes_is_taken_as_handled(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        scan(stage)
        pause(stage, discard=True)
        for name in ("a", "b"):
            write(stage, name)
        await eventually(lambda: stage.pipeline.counters.get("discarded") == 2, "both are discarded")
        assert stage.pipeline.holding.paused.discarded == 2
        await resume(stage)
        (number,) = stage.pipeline.bindings
        for name in ("a", "b"):  # as a comparison with the disk would, if it found a difference
            stage.pipeline.mark((number, name), Hint.SCAN, stage.engine.clock.monotonic())
        write(stage, "c")
        await eventually(lambda: stage.action.calls, "c has its job")
        assert stage.action.paths == [f"{stage.root}/c"]
        write(stage, "a", "more")
        await eventually(lambda: len(stage.action.calls) == 2, "a later change is one again")
        pause(stage, discard=True)
        assert stage.pipeline.holding.paused.discarded == 0  # of this pause

    play(database, tmp_path / "root", RecordingAction(), story)


def scan(stage: Stage) -> None:
    """The rule has a manifest."""
    (binding,) = stage.pipeline.bindings.values()
    binding.comparison(appeared=False)
    binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())


def test_what_was_asked_for_by_hand_or_is_unfinished_is_not_discarded(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "no", retryable=False), OK, OK]

    async def story(stage: Stage) -> None:
        await stage.configure()
        scan(stage)
        write(stage, "failed")
        await eventually(lambda: stage.pipeline.failed(), "it has failed")
        pause(stage, discard=True)
        (stage.root / "asked").write_text("x")
        stage.pipeline.request(Trigger.MANUAL, [f"{stage.root}/asked"])
        write(stage, "failed", "other")
        await eventually(lambda: len(stage.pipeline.holding.paused.kept) == 2, "both are kept")
        assert stage.pipeline.counters.get("discarded", 0) == 0
        await resume(stage)
        await eventually(lambda: len(stage.action.paths) == 3, "both are worked")
        assert set(stage.action.paths[1:]) == {f"{stage.root}/asked", f"{stage.root}/failed"}

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)


def test_a_reload_that_changes_the_rule_leaves_the_pause_alone(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        pause(stage, discard=True)
        (stage.root / "asked").write_text("x")
        stage.pipeline.request(Trigger.MANUAL, [f"{stage.root}/asked"])
        await eventually(lambda: stage.pipeline.holding.paused.kept, "it is kept")
        await stage.configure(max_wait=1.0)
        assert stage.pipeline.holding.paused.state is Pausing.DISCARDING
        await resume(stage)
        await eventually(lambda: stage.action.calls, "what was asked for is worked by the new one")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_pause_and_a_brake_hide_nothing_of_each_other(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        holding = stage.pipeline.holding
        pause(stage, discard=True)
        holding.brake(Brake.EXCEEDED, "too much")
        assert holding.why == (
            "too much; besides, it is paused by anna: maintenance; what changes meanwhile is taken as handled"
        )
        assert holding.discards is False  # what the brake asks about stays
        stage.engine.pause_over("rule")
        assert (holding.why, holding.hold) == ("too much", Hold.MASSES)
        pause(stage)
        assert await resume(stage) == ["rule"]
        assert stage.pipeline.statistics()["paused"] is None

    play(database, tmp_path / "root", RecordingAction(), story)


def test_what_waited_for_the_end_of_a_pause_is_no_mass_change(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure(limit=Limit(3, 60.0))
        pause(stage)
        for number in range(10):
            write(stage, str(number))
        stage.engine.pause_over("rule")
        await eventually(lambda: len(stage.action.paths) == 10, "all are worked")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_pause_that_cannot_be_written_down_is_none(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        database.health.failed(StateError("the disk is full"))
        with pytest.raises(StateError, match="full"):
            pause(stage, seconds=60.0)
        assert stage.pipeline.holding.why is None
        assert database.execute("SELECT * FROM timers") == []

    play(database, tmp_path / "root", RecordingAction(), story)


# ---- over restarts


@pytest.fixture
def lives(tmp_path: Path) -> Any:
    """Plays a story in one life after the other, on one journal."""
    root = tmp_path / "root"

    def live(story: Any) -> None:
        async def staged() -> None:
            root.mkdir(exist_ok=True)
            with Database(str(tmp_path / "journal.db"), clock=FakeClock()) as database:
                stage = Stage(database, root, RecordingAction())
                await stage.configure()
                await story(stage)
                await stage.engine.drain(5.0)
                stage.timers.close()
                stage.pool.close()

        asyncio.run(staged())

    return live


def test_a_pause_outlives_the_daemon(lives: Any) -> None:
    async def first(stage: Stage) -> None:
        pause(stage, seconds=3600.0, discard=True)

    async def second(stage: Stage) -> None:
        found = stage.pipeline.holding.paused.pause
        assert found is not None
        assert (found.reason, found.by, found.discard) == ("maintenance", "anna", True)
        assert found.until_ns is not None
        assert stage.timers.statistics()["timers"] == 1
        assert await resume(stage) == ["rule"]
        assert stage.timers.statistics()["timers"] == 0

    async def third(stage: Stage) -> None:
        assert stage.pipeline.holding.why is None

    for story in (first, second, third):
        lives(story)


def test_an_end_that_was_missed_comes_at_the_start(lives: Any) -> None:
    async def first(stage: Stage) -> None:
        pause(stage, seconds=3600.0)
        stage.engine.store.database.execute("UPDATE pauses SET until_ns = 1")

    async def second(stage: Stage) -> None:
        assert stage.pipeline.holding.why is None
        assert stage.engine.store.pauses.get("rule") is None

    for story in (first, second):
        lives(story)


def test_a_pause_ends_by_its_time(lives: Any) -> None:
    async def story(stage: Stage) -> None:
        pause(stage, seconds=0.05)
        write(stage, "a")
        await eventually(lambda: stage.action.calls, "it goes on by itself")
        assert stage.engine.store.pauses.get("rule") is None
        assert stage.engine.store.database.execute("SELECT * FROM timers") == []

    lives(story)
