"""What can be asked of a reload: plan, history, roll back; what it keeps, masks and publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions import reload
from filewatchd.actions.base import Command
from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError
from filewatchd.model import Initial, Outcome, Verdict
from filewatchd.testing import FakeJob
from filewatchd.testing.spawn import Scripted
from tests.unit.actions.reload.scene import FAILS, GUARD, Scene, ends, save, within


def test_plan_checks_and_touches_nothing(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.file.write_text("two")
        before = msgspec.json.encode(scene.record)
        plan = await scene.ask("plan")
        assert (plan.passed, plan.version, plan.steps[1]) == (True, "new", "run: apply")
        assert "+two" in plan.lines
        scene.fail("check", "no good")
        plan = await scene.ask("plan")
        assert (plan.passed, plan.output, plan.steps) == (False, "no good", ["nothing is applied: the check fails"])
        assert msgspec.json.encode(scene.record) == before
        assert "apply" not in scene.asked

    within(work, tmp_path)


@pytest.mark.parametrize("check", [GUARD["check"], None])
def test_plan_leaves_no_directory_behind_that_it_made_for_the_check(tmp_path: Path, check: Any) -> None:
    """What is to be published has no place yet: the check needs one."""
    live, seen = tmp_path / "new/live", []

    async def work(scene: Scene) -> None:
        def look(command: Command) -> Scripted:
            seen.append([bind.target for bind in command.binds if Path(bind.target).is_dir()])
            return Scripted(FAILS)

        scene.answers["check"] = look
        planned = await scene.ask("plan")
        assert planned.passed is (None if check is None else False)
        assert seen == ([] if check is None else [[str(live)]])
        assert not live.parent.exists()

    options = {"mode": "publish", "publish": {"from": str(tmp_path / "etc"), "to": str(live)}, "check": check}
    within(work, tmp_path, **options)


def test_secrets_in_what_commands_and_probes_say_are_masked_everywhere(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        for name, fate in (("check", "refused"), ("apply", "failed"), ("probe", "unhealthy")):
            scene.fail(name, f"{name}: invalid line: password = hunter2\n")
            job = FakeJob(attempt=99)
            scene.file.write_text(name)
            outcome = await scene.action.run(job)
            assert isinstance(outcome, Outcome)
            version = scene.record.versions[-1]
            planned = await scene.ask("plan")
            told = [
                outcome.message,
                version.why,
                scene.ctx.findings["reload"][0],
                job.text,
                planned.output,
            ]
            assert (version.fate, ["hunter2" in text for text in told]) == (fate, [False] * 5)
            assert all("invalid line: password = (masked" in text for text in told[:4])
            scene.mend(name)

    within(work, tmp_path)


def test_roll_back_puts_a_version_that_passes_on_the_disk(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        await save(scene, "two")
        told = await scene.ask("rollback", reload.answers.Which(version="1"))
        assert told.text == "version 1 is checked, put back and applied"
        await save(scene, None)
        assert (scene.file.read_text(), scene.record.applied) == ("one", 1)
        assert scene.asked == ["check", "check", "apply", "probe"]
        await scene.ask("rollback", reload.answers.Which(version="2"))
        scene.fail("check", "no good any more")
        with pytest.raises(ActionError, match="version 2 isn't put back, its check fails: no good any more"):
            await save(scene, None)
        assert scene.file.read_text() == "one"
        with pytest.raises(ActionError, match="there is no version 9"):
            await scene.ask("rollback", reload.answers.Which(version="9"))

    within(work, tmp_path)


def test_history_and_show_tell_what_became_of_each(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check", "why")
        await save(scene, "two")
        history = await scene.ask("history")
        assert [(each.version, each.fate, each.marks) for each in history.versions] == [
            (2, "refused", ["desired"]),
            (1, "good", ["applied", "good"]),
        ]
        shown = await scene.ask("show", reload.answers.Which(version="good"))
        assert [file["path"] for file in shown.files] == [str(scene.root), str(scene.file)]

    within(work, tmp_path)


def test_only_so_many_versions_are_kept_and_never_those_that_count(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check")
        for text in "abcdef":
            await save(scene, text)
        assert [version.number for version in scene.record.versions] == [1, 6, 7]

    within(work, tmp_path, keep={"versions": 3})


def test_initial_process_applies_the_first_set(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        assert scene.asked == ["check", "apply", "probe"]

    within(work, tmp_path, initial=Initial.PROCESS)


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
def test_publish_lets_only_what_passed_reach_the_live_directory(tmp_path: Path, linked: bool) -> None:
    live = tmp_path / "live"
    if linked:
        (tmp_path / "first").mkdir()
        live.symlink_to("first")

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        assert (live / "app.conf").read_text() == "one"
        assert live.is_symlink() is linked
        scene.fail("check")
        await save(scene, "two")
        assert (live / "app.conf").read_text() == "one"
        assert scene.record.state is State.HELD
        assert "put back" not in scene.ctx.findings["reload"][0]
        scene.mend("check")
        await save(scene, "three")
        assert (live / "app.conf").read_text() == "three"
        scene.answers["probe"] = lambda _: ends((live / "app.conf").read_text() != "four")
        await save(scene, "four")
        assert ((live / "app.conf").read_text(), scene.file.read_text()) == ("three", "four")
        assert scene.record.live == scene.record.good
        assert (await save(scene, None)).verdict is Verdict.FAILED  # the source still has the bad set: it is held
        assert (scene.record.state, scene.asked) == (State.HELD, [])
        assert sorted(path.name for path in tmp_path.glob(".live*")) == ([".live.filewatchd"] if linked else [])

    publish = {"from": str(tmp_path / "etc"), "to": str(live)}
    within(work, tmp_path, mode="publish", publish=publish, on_bad="restore")


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
def test_edits_of_the_live_directory_are_told_and_kept(tmp_path: Path, linked: bool) -> None:
    live = tmp_path / "live"
    if linked:
        (tmp_path / "first").mkdir()
        live.symlink_to("first")

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        (live / "app.conf").write_text("by hand")
        await scene.action._look()
        assert "somebody edited it" in scene.ctx.findings["reload-live"][0]
        await save(scene, "two")
        assert (live / "app.conf").read_text() == "two"
        (kept,) = [version for version in scene.record.versions if version.origin == "live"]
        entries = scene.action._desk.store.load(kept.digest)
        assert scene.action._desk.store.content(entries["0/app.conf"]) == b"by hand"

    within(work, tmp_path, mode="publish", publish={"from": str(tmp_path / "etc"), "to": str(live)})
