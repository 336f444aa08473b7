"""Jobs that an action asks for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from filewatchd.jobs.steering import Steering
from filewatchd.model import FileIdentity, Outcome, Retry, Trigger, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


def test_a_job_over_no_path_runs_each_action_once(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.pipeline.request(Trigger.SCHEDULE, ())
        await eventually(lambda: stage.action.calls, "the action runs")
        (call,) = stage.action.calls
        assert (call.trigger, call.changes) == (Trigger.SCHEDULE, ())
        await eventually(lambda: stage.pipeline.last is not None, "it has ended")
        rows = database.execute("SELECT trigger, state, total FROM jobs")
        assert rows == [("schedule", "ok", 0)]

    play(database, tmp_path / "root", RecordingAction(), story)


def test_why_a_job_over_no_path_failed_is_logged(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    action = RecordingAction(answer=lambda _: Outcome(Verdict.FAILED, "the unit is gone", retryable=False))

    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.pipeline.request(Trigger.SCHEDULE, ())
        await eventually(lambda: stage.pipeline.last is not None, "it has ended")
        (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "the unit is gone" in line.getMessage()
        assert (line.__dict__["event"], line.__dict__["outcome"]) == ("outcome", "failed")

    play(database, tmp_path / "root", action, story)


def test_a_job_over_no_path_goes_to_the_new_pipeline(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.engine.slots.most = 0  # it finds no slot
        stage.pipeline.request(Trigger.SCHEDULE, ())
        assert not stage.action.calls
        stage.engine.slots.most = 4
        await stage.configure()
        stage.engine.poke()
        await eventually(lambda: stage.action.calls, "the action runs")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_hold_that_comes_between_makes_no_second_job_of_one(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        stage.pool.gate.clear()
        stage.pipeline.request(Trigger.SCHEDULE, ())
        await eventually(lambda: stage.pool.waiting, "it is about to begin")
        stage.pipeline.holding.pause("", None, "anna", discard=False)
        stage.pool.gate.set()
        await eventually(lambda: stage.pipeline.backoff.due, "it waits")
        assert not stage.action.calls
        assert len(stage.pipeline.backoff.due) == 1
        stage.pipeline.resume()
        stage.engine.poke()
        await eventually(lambda: stage.pipeline.last is not None, "it has ended")
        await eventually(lambda: not stage.pipeline.backoff.due and not len(stage.pipeline.batches), "no other waits")
        assert len(stage.action.calls) == 1

    play(database, tmp_path / "root", RecordingAction(), story)


def test_a_job_over_no_path_in_back_off_is_hastened_and_can_be_cancelled(database: Database, tmp_path: Path) -> None:
    action = RecordingAction(answer=lambda _: Outcome(Verdict.FAILED, "no"))

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(attempts=5, backoff=3600.0, max_backoff=3600.0))
        steering = Steering(stage.engine)
        stage.pipeline.request(Trigger.MANUAL, ())
        await eventually(lambda: stage.pipeline.last is not None, "it has failed once")
        (job,) = {call.job for call in action.calls}
        stage.pipeline.engine.store.last.clear()
        assert steering.repeat(job) == "rule"
        await eventually(lambda: stage.pipeline.last is not None, "it has failed once more")
        assert [call.attempt for call in action.calls] == [1, 2]
        assert steering.cancel(job, "anna") == ("backoff", 0)
        assert steering.cancel(job, "anna") is None
        assert database.execute("SELECT state, message FROM jobs") == [("cancelled", "cancelled by anna")]

    play(database, tmp_path / "root", action, story)


def test_a_file_that_its_own_rule_wrote_last_has_a_job_when_somebody_asks(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        path = stage.root / "a"
        path.write_text("x")
        found = path.stat()
        identity = FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        stage.pipeline.looking.wrote(str(path), identity)
        stage.pipeline.request(Trigger.MANUAL, [str(path)])
        await eventually(lambda: stage.action.calls, "the action runs")
        assert [change.path for change in stage.action.calls[0].changes] == [str(path)]

    play(database, tmp_path / "root", RecordingAction(), story)
