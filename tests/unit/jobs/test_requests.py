"""Jobs that an action asks for."""

from __future__ import annotations

from pathlib import Path

from filewatchd.model import Trigger
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
