"""A reload while a batch is being looked at: what was taken goes to the rule's new pipeline."""

from __future__ import annotations

from pathlib import Path

from filewatchd.model import OK, Outcome, Retry, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


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
