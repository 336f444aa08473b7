"""Jobs that somebody cancels, and paths that somebody drops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from filewatchd.errors import StateError
from filewatchd.jobs.records import History
from filewatchd.jobs.steering import Steering
from filewatchd.model import OK, Hint, Outcome, Retry, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


def write(stage: Stage, name: str, text: str = "x") -> None:
    (stage.root / name).write_text(text)
    stage.mark(name)


def compare(stage: Stage, name: str) -> None:
    """As a scan that finds a difference."""
    (number,) = stage.pipeline.bindings
    stage.pipeline.mark((number, name), Hint.SCAN, stage.engine.clock.monotonic())
    stage.engine.poke()


def test_a_running_job_is_cancelled_and_a_comparison_leaves_it_alone(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure()
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "it runs")
        job = action.calls[0].job
        assert Steering(stage.engine).cancel(job, "anna") == ("running", 1)
        await eventually(lambda: stage.pipeline.failed(), "its path waits")
        assert Steering(stage.engine).cancel(job, "anna") is None
        record = History(database).show(job)
        assert record is not None
        assert (record.state, record.cancelled, record.open) == ("cancelled", 1, 1)
        assert [(shown.verdict, shown.message) for shown in record.paths] == [(Verdict.CANCELLED, "cancelled by anna")]
        compare(stage, "a")
        await stage.engine.flush(["rule"])
        assert len(action.calls) == 1
        action.hold = None
        assert Steering(stage.engine).retry(["rule"]) == {"rule": 1}
        await eventually(lambda: len(action.calls) == 2, "a retry runs it")
        await eventually(lambda: not stage.pipeline.open, "and it is handled")
        (stage.root / "a").write_text("other")
        compare(stage, "a")
        await eventually(lambda: len(action.calls) == 3, "from then on it is as any other")

    play(database, tmp_path / "root", action, story)


def test_a_cancelled_path_that_has_changed_is_found_by_a_comparison(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure()
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "it runs")
        Steering(stage.engine).cancel(action.calls[0].job, "anna")
        await eventually(lambda: stage.pipeline.failed(), "its path waits")
        action.hold = None
        (stage.root / "a").write_text("other")
        compare(stage, "a")
        await eventually(lambda: len(action.calls) == 2, "it runs again")

    play(database, tmp_path / "root", action, story)


def test_a_job_whose_retry_is_being_looked_at_is_cancelled(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "not yet"), OK]

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(3, 0.01, 0.01))
        write(stage, "a")
        await eventually(lambda: stage.action.calls, "it fails")
        stage.pool.gate.clear()
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at for the retry")
        assert Steering(stage.engine).cancel(stage.action.calls[0].job, "anna") == ("backoff", 1)
        stage.pool.gate.set()
        await eventually(lambda: stage.pipeline.failed(), "its path waits")
        assert len(stage.action.calls) == 1

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)


def test_a_job_that_a_reload_left_to_end_is_cancelled(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure()
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "it runs")
        await stage.configure(max_wait=1.0)
        assert Steering(stage.engine).cancel(action.calls[0].job, "anna") == ("running", 1)
        await eventually(lambda: stage.pipeline.failed(), "its path waits")
        assert action.cancelled == 1

    play(database, tmp_path / "root", action, story)


def test_what_cannot_be_written_down_is_not_cancelled(database: Database, tmp_path: Path) -> None:
    action = RecordingAction()

    async def story(stage: Stage) -> None:
        await stage.configure()
        action.hold = asyncio.Event()
        write(stage, "a")
        await eventually(lambda: action.calls, "it runs")
        database.health.failed(StateError("the disk is full"))
        with pytest.raises(StateError, match="full"):
            Steering(stage.engine).cancel(action.calls[0].job, "anna")
        database.health.mended()
        action.hold.set()
        await eventually(lambda: stage.pipeline.last, "it goes on to its end")
        assert action.cancelled == 0

    play(database, tmp_path / "root", action, story)


def test_a_dropped_path_is_handled_and_its_job_says_so(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "no", retryable=False), OK]

    async def story(stage: Stage) -> None:
        await stage.configure()
        (binding,) = stage.pipeline.bindings.values()
        binding.comparison(appeared=False)
        binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())
        write(stage, "a")
        await eventually(lambda: stage.pipeline.failed(), "it fails")
        job = stage.action.calls[0].job
        assert await Steering(stage.engine).drop(["rule"], "anna", job + 1) == {}
        assert await Steering(stage.engine).drop(["rule"], "anna", job) == {"rule": 1}
        record = History(database).show(job)
        assert record is not None
        assert (record.state, record.open, record.message) == ("failed", 0, "no; 1 paths dropped by anna")
        compare(stage, "a")
        await stage.engine.flush(["rule"])
        assert len(stage.action.calls) == 1
        (stage.root / "a").write_text("other")
        compare(stage, "a")
        await eventually(lambda: len(stage.action.calls) == 2, "a later change is one again")

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)


def test_a_path_that_changes_while_it_is_dropped_is_worked(database: Database, tmp_path: Path) -> None:
    answers = [Outcome(Verdict.FAILED, "no", retryable=False), OK]

    async def story(stage: Stage) -> None:
        await stage.configure()
        write(stage, "a")
        await eventually(lambda: stage.pipeline.failed(), "it fails")
        stage.pool.gate.clear()
        dropping = asyncio.create_task(Steering(stage.engine).drop(["rule"], "anna"))
        await eventually(lambda: stage.pool.waiting == 1, "it is being looked at")
        write(stage, "a", "other")
        stage.pool.gate.set()
        assert await dropping == {}
        await eventually(lambda: len(stage.action.calls) == 2, "the change has its job")

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: answers.pop(0)), story)
