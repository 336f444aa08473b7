"""What a rule would do: resolved as a job would find it, and without any effect."""

from __future__ import annotations

from pathlib import Path

from filewatchd.jobs.planning import MOST, DryRun, plan, steps
from filewatchd.model import Hint, Kind, Trigger
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play

_LIVE = Hint.LIVE | Hint.WRITE | Hint.CLOSED


def test_the_changes_of_a_batch_with_the_steps_of_each(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure(changes=frozenset(Kind))
        (number,) = stage.pipeline.bindings
        for name in ("a", "b"):
            (stage.root / name).write_text("x")
        marks = [((number, name), _LIVE) for name in ("a", "b", "gone")]
        plans = await plan(stage.pipeline, marks, Trigger.CHANGE)
        assert [(p.change.kind, p.change.relative, p.steps) for p in plans.plans] == [
            (Kind.CREATED, name, [f"record created {stage.root}/{name}"]) for name in ("a", "b")
        ]
        assert (plans.together, plans.more) == ([], 0)

    play(database, tmp_path / "root", RecordingAction(per_path=True), story)


def test_a_plan_has_no_effect(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        (number,) = stage.pipeline.bindings
        (stage.root / "a").write_text("x")
        before = database.execute("SELECT count(*) FROM jobs"), database.execute("SELECT * FROM manifest")
        assert (await plan(stage.pipeline, [((number, "a"), _LIVE)], Trigger.CHANGE)).plans
        assert not stage.action.calls
        assert not stage.pipeline.window
        assert not stage.pipeline.taken
        assert before == (database.execute("SELECT count(*) FROM jobs"), database.execute("SELECT * FROM manifest"))
        stage.mark("a")
        await eventually(lambda: stage.action.calls, "the change is still one")

    play(database, tmp_path / "root", RecordingAction(), story)


def test_what_an_action_wrote_is_none_and_stays_its_own(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        (number,) = stage.pipeline.bindings
        (stage.root / "a").write_text("x")
        (look,) = await stage.pipeline.looking.eyes.look_at([(number, "a")], None)
        stage.pipeline.looking.wrote(str(stage.root / "a"), look.identity)
        for _ in range(2):
            assert not (await plan(stage.pipeline, [((number, "a"), _LIVE)], Trigger.CHANGE)).plans
        (stage.root / "a").write_text("other")
        for _ in range(2):
            assert (await plan(stage.pipeline, [((number, "a"), _LIVE)], Trigger.CHANGE)).plans

    play(database, tmp_path / "root", RecordingAction(), story)


def test_actions_over_a_whole_batch_say_what_they_do_together(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        (number,) = stage.pipeline.bindings
        for name in range(MOST + 7):
            (stage.root / f"{name:03}").write_text("x")
        marks = [((number, f"{name:03}"), _LIVE) for name in range(MOST + 7)]
        plans = await plan(stage.pipeline, marks, Trigger.CHANGE)
        assert [p.steps for p in plans.plans] == [[]] * MOST
        assert plans.together == [f"record created {stage.root}/{name:03}" for name in range(MOST)]
        assert plans.more == 7

    play(database, tmp_path / "root", RecordingAction(), story)


class Broken(RecordingAction):
    def plan(self, job: object) -> list[str]:
        assert isinstance(job, DryRun)
        assert (job.dry_run, job.steps.recorded()) == (True, ())
        raise KeyError("gone")


def test_an_actions_bug_is_told_where_its_steps_would_be(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        assert steps(stage.pipeline, [], Trigger.MANUAL).together == ["record can't say: 'gone'"]

    play(database, tmp_path / "root", Broken(), story)
