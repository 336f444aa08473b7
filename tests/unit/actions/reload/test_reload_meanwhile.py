"""What is saved while a set is checked, while the service is told, and right after."""

from __future__ import annotations

from pathlib import Path

import pytest

from filewatchd.actions.base import Command
from filewatchd.actions.reload import restoring
from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError
from filewatchd.model import Trigger, Verdict
from filewatchd.testing.spawn import Scripted
from tests.unit.actions.reload.scene import Scene, ends, save, within


def test_what_was_saved_during_the_check_is_not_applied_unchecked(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")

        def check(command: Command) -> Scripted:
            scene.file.write_text("three")
            return Scripted()

        scene.answers["check"] = check
        with pytest.raises(ActionError, match="has changed since it was checked"):
            await save(scene, "two")
        assert (scene.asked, scene.record.state, scene.record.applied) == (["check"], State.RETRYING, 1)
        scene.mend("check")
        await save(scene, None)
        assert (scene.asked, scene.record.applied) == (["check", "apply", "probe"], 3)

    within(work, tmp_path)


@pytest.mark.parametrize("last", ["two", "bad", "ill"])
def test_what_was_saved_while_the_service_was_told_is_checked_at_once(tmp_path: Path, last: str) -> None:
    """Somebody saves between the last look and the service's own, and perhaps goes back before the next look."""

    async def work(scene: Scene) -> None:
        def apply(_: Command) -> Scripted:
            if scene.running == "one":
                scene.running = "bad"
                (tmp_path / "copy").write_text(last)
                (tmp_path / "copy").rename(scene.file)
            else:
                scene.running = scene.file.read_text()
            return Scripted()

        scene.answers |= {
            "apply": apply,
            "check": lambda _: ends(scene.file.read_text() != "bad"),
            "probe": lambda _: ends(scene.running != "ill"),
        }
        await save(scene, "one")
        scene.running = "one"
        outcome = await save(scene, "two")
        assert (outcome.verdict, "was saved meanwhile" in outcome.message) == (Verdict.OK, True)
        assert (scene.record.state, scene.record.sure, scene.version(2).fate) == (State.UNSURE, False, "passed")
        await scene.ctx.follow_ups["look"]
        assert scene.ctx.requested.pop() == (Trigger.SCHEDULE, ())
        await save(scene, None)
        assert scene.running == scene.file.read_text() == {"two": "two", "bad": "one", "ill": "one"}[last]
        assert (scene.record.state, scene.record.sure) == (State.SYNCED, True)

    within(work, tmp_path, on_bad="restore")


def test_a_service_that_writes_to_its_files_is_told_once_more_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(scene: Scene) -> None:
        def apply(_: Command) -> Scripted:
            scene.file.write_text(scene.file.read_text())
            return Scripted()

        scene.answers["apply"] = apply
        await save(scene, "one")
        await save(scene, "two")
        assert scene.record.state is State.UNSURE
        await save(scene, None)
        assert (scene.record.state, scene.record.good, scene.record.sure) == (State.SYNCED, 2, True)
        scene.ctx.requested.clear()
        await scene.action._look()
        assert scene.ctx.requested == []

    within(work, tmp_path)
    assert "saved whenever the service is told" in caplog.text


def test_a_leftover_of_an_editor_while_the_service_is_told_is_no_save(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        def apply(_: Command) -> Scripted:
            scene.file.with_name(".app.conf.swp").write_text("vim")
            return Scripted()

        scene.answers["apply"] = apply
        scene.ctx.selects = lambda path: not path.endswith(".swp")  # type: ignore[method-assign]
        await save(scene, "one")
        await save(scene, "two")
        assert scene.record.state is State.SYNCED

    within(work, tmp_path)


def test_what_was_saved_right_after_a_set_was_put_back_is_not_told_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(scene: Scene) -> None:
        scene.running = "one"

        def apply(_: Command) -> Scripted:
            scene.running = scene.file.read_text()
            return Scripted()

        scene.answers |= {"apply": apply, "probe": lambda _: ends(scene.running != "ill")}
        await save(scene, "one")
        sync = restoring.sync

        def saves(directories: list[str]) -> None:
            sync(directories)
            scene.file.write_text("theirs")

        saves.__module__, saves.__qualname__ = sync.__module__, sync.__qualname__
        monkeypatch.setattr(restoring, "sync", saves)
        await save(scene, "ill")
        assert (scene.asked, scene.record.state) == (["check", "probe", "apply", "probe"], State.HELD)
        monkeypatch.undo()
        await scene.ctx.follow_ups["look"]
        assert scene.ctx.requested.pop() == (Trigger.SCHEDULE, ())
        await save(scene, None)
        assert (scene.running, scene.record.state) == ("theirs", State.SYNCED)

    within(work, tmp_path, on_bad="restore")
