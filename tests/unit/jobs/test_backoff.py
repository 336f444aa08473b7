"""Jobs between two attempts, and others that come for their paths meanwhile."""

from __future__ import annotations

from pathlib import Path

from filewatchd.actions.base import JobContext
from filewatchd.model import Hint, Outcome, Retry, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


def first_fails(job: JobContext) -> Outcome:
    return Outcome(Verdict.FAILED, "not yet") if job.id <= 2 and job.attempt == 1 else Outcome(Verdict.OK)


def test_what_a_scan_finds_anew_is_taken_out_of_the_retry(database: Database, tmp_path: Path) -> None:
    """Else two jobs would have it, and the one that ends last would leave it open in the other."""

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(attempts=3, backoff=3600.0, max_backoff=3600.0))
        for number, name in enumerate(("a", "b"), 1):
            (stage.root / name).write_text("x")
            stage.mark(name)
            await eventually(lambda number=number: len(stage.pipeline.backoff.waiting) == number, "it waits")  # type: ignore[misc]
        (number,) = stage.pipeline.bindings
        stage.pipeline.mark((number, "a"), Hint.SCAN, stage.engine.clock.monotonic())
        stage.engine.poke()
        await eventually(lambda: len(stage.action.calls) == 3, "another job has it")
        await eventually(lambda: not stage.pipeline.taken, "it has ended")
        assert [path for _, path in stage.pipeline.backoff.waiting] == ["b"]
        stage.pipeline.backoff.hasten(None)
        await eventually(lambda: not stage.pipeline.open, "nothing is open")
        assert [call.paths for call in stage.action.calls[2:]] == [[f"{stage.root}/a"], [f"{stage.root}/b"]]
        (left,) = database.execute("SELECT sum(open) FROM jobs")
        assert left[0] == 0

    play(database, tmp_path / "root", RecordingAction(answer=first_fails), story)
