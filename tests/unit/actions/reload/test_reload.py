"""A reload from look to outcome: commands are scripted, files are real, time is the test's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import reload
from filewatchd.actions.base import Command, Finished
from filewatchd.actions.probes import Probe
from filewatchd.actions.reload import deeds
from filewatchd.actions.reload.checking import Way
from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError
from filewatchd.model import Trigger, Verdict
from filewatchd.testing.spawn import Scripted
from filewatchd.work.failures import PlaceError
from tests.unit.actions.reload.scene import FAILS, Scene, ends, save, within


def test_the_first_set_is_checked_and_taken_as_it_is(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        assert (await save(scene, "one")).verdict is Verdict.OK
        assert scene.asked == ["check"]
        assert (scene.record.state, scene.record.applied, scene.record.good) == (State.SYNCED, 1, 1)
        assert scene.ctx.requested == [(Trigger.STARTUP, ())]

    within(work, tmp_path)


def test_a_good_set_is_applied_once(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        assert (await save(scene, "two")).verdict is Verdict.OK
        assert scene.asked == ["probe", "check", "apply", "probe"][1:]
        assert (scene.record.applied, scene.record.sure, scene.record.good) == (2, True, 2)
        await save(scene, "two")  # an identical rewrite
        assert scene.asked == []
        await save(scene, "one")
        assert scene.asked == ["check", "apply", "probe"]
        assert (scene.record.applied, len(scene.record.versions)) == (1, 2)

    within(work, tmp_path)


@pytest.mark.parametrize(("way", "hints"), [(Way.UNIT, 1), (Way.NAMESPACE, 0)])
def test_a_check_in_a_unit_is_foreseen_when_the_set_is_looked_at(tmp_path: Path, way: Way, hints: int) -> None:
    async def work(scene: Scene) -> None:
        scene.action._desk.checker._ways = [way, Way.STAGED]
        seen = []

        def check(command: Command) -> Scripted:
            seen.append((scene.spawn.foreseen, command.unit is not None))
            return Scripted()

        scene.answers["check"] = check
        await save(scene, "one")
        assert seen == [(hints, way is Way.UNIT)]

    within(work, tmp_path)


def test_the_candidate_stands_in_the_live_place(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        seen = []

        def check(command: Command) -> Scripted:
            (bind,) = command.binds
            scene.file.write_text("edited during the check")
            seen.append((bind.target, Path(bind.source, "app.conf").read_text()))
            return Scripted()

        scene.answers["check"] = check
        await save(scene, "one")
        assert seen == [(str(scene.root), "one")]

    within(work, tmp_path)


def test_a_refused_set_is_told_and_not_tried_again(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check", "unexpected end of file\nin app.conf:1\n")
        outcome = await save(scene, "bad")
        assert outcome.verdict is Verdict.REJECTED
        assert "version 2 is refused by its check: unexpected end of file; in app.conf:1" in outcome.message
        assert "in app.conf:1" in scene.ctx.findings["reload"][0]
        assert (scene.record.state, scene.record.applied, scene.version(2).fate) == (State.HELD, 1, "refused")
        assert (await save(scene, None)).verdict is Verdict.SKIPPED
        assert scene.asked == []
        await scene.ask("retry")
        await save(scene, None)
        assert scene.asked == ["check"]
        await save(scene, "worse")
        assert scene.asked == ["check"]
        await save(scene, "one")
        assert scene.asked == []
        assert (scene.record.state, scene.ctx.findings) == (State.SYNCED, {})

    within(work, tmp_path)


def test_going_back_applies_again_if_the_last_apply_failed(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("apply")
        assert (await save(scene, "two")).retryable
        assert scene.record.state is State.RETRYING
        outcome = await save(scene, None, attempt=3)
        assert (outcome.verdict, outcome.retryable) == (Verdict.FAILED, False)
        assert (scene.record.state, scene.version(2).fate) == (State.HELD, "failed")
        assert (await save(scene, None)).verdict is Verdict.FAILED
        scene.mend("apply")
        await save(scene, "one")
        assert scene.asked == ["check", "apply", "probe"]
        assert (scene.record.state, scene.ctx.findings) == (State.SYNCED, {})

    within(work, tmp_path)


def test_an_unhealthy_set_is_put_back(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.answers["probe"] = lambda _: ends(scene.file.read_text() != "two" or "apply" not in scene.asked)
        outcome = await save(scene, "two")
        assert (outcome.verdict, outcome.retryable) == (Verdict.FAILED, False)
        assert "version 1 was put back and applied" in outcome.message
        assert scene.file.read_text() == "one"
        assert (scene.record.state, scene.record.applied, scene.record.sure) == (State.SYNCED, 1, True)
        assert scene.version(2).fate == "unhealthy"
        assert scene.asked.count("apply") == 2
        assert "reload" in scene.ctx.findings
        shown = await scene.ask("diff", reload.answers.Two(before="good", after="2"))
        assert "+two" in shown.lines

    within(work, tmp_path, on_bad="restore")


def test_a_refused_set_is_put_back_without_an_apply(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check", "bad")
        await save(scene, "two")
        assert scene.file.read_text() == "one"
        assert scene.asked == ["check"]
        assert scene.record.state is State.SYNCED

    within(work, tmp_path, on_bad="restore")


def test_what_somebody_changed_meanwhile_is_not_touched(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")

        def check(command: Command) -> Scripted:
            scene.file.write_text("newer")
            return Scripted(FAILS, b"bad")

        scene.answers["check"] = check
        outcome = await save(scene, "two")
        assert "wasn't put back: somebody has changed the set since" in outcome.message
        assert (scene.file.read_text(), scene.record.state) == ("newer", State.HELD)

    within(work, tmp_path, on_bad="restore")


def test_a_service_that_was_ill_before_is_not_the_sets_fault(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("probe")
        outcome = await save(scene, "two")
        assert "the service was unhealthy before" in outcome.message
        assert scene.file.read_text() == "two"

    within(work, tmp_path, on_bad="restore")


def test_a_service_that_is_slow_to_say_that_it_is_well_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    async def asked(probe: Probe, ctx: Any, seconds: float, output: Any = None) -> str | None:
        given.append(seconds)
        return None if seconds >= probe.timeout else "cut short"

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("probe")
        monkeypatch.setattr(deeds, "look", asked)
        await save(scene, "two")
        assert (scene.file.read_text(), given) == ("one", [5.0])

    within(work, tmp_path, on_bad="restore")


def test_cooldown_and_splay_put_the_apply_off(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        await save(scene, "two")
        assert "apply" in scene.asked
        await save(scene, "three")
        assert (scene.asked, scene.record.state) == (["check"], State.WAITING)
        scene.clock.advance(5)
        assert scene.ctx.requested[-1] == (Trigger.SCHEDULE, ())
        await save(scene, None)
        assert (scene.asked, scene.record.state) == (["check", "apply", "probe"], State.SYNCED)

    within(work, tmp_path, cooldown=5.0)

    async def spread(scene: Scene) -> None:
        await save(scene, "one")
        await save(scene, "two")
        assert scene.record.state is State.WAITING
        assert 0 < scene.record.not_before - scene.clock.wall_ns() / 1e9 < 60

    shutil.rmtree(tmp_path / "state")
    within(spread, tmp_path, splay=60.0)


def test_a_quarrel_trips_the_breaker(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        for text in ("two", "one", "two", "one", "two", "one"):
            await save(scene, text)
        assert "apply" in scene.asked
        await save(scene, "two")
        assert (scene.asked, scene.record.state) == (["check"], State.TRIPPED)
        assert "went back and forth" in scene.ctx.findings["reload"][0]
        await save(scene, "three")
        assert (scene.asked, scene.record.state) == (["check"], State.TRIPPED)
        scene.clock.advance(601)
        await save(scene, None)
        assert (scene.asked, scene.record.state) == (["check", "apply", "probe"], State.SYNCED)

    within(work, tmp_path)


def test_a_quarrel_with_a_machine_that_writes_the_file_ends(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check")
        for _ in range(3):
            await save(scene, "bad")
            assert scene.file.read_text() == "one"
        assert "put back too often" in (await save(scene, "bad")).message
        assert scene.file.read_text() == "bad"

    within(work, tmp_path, on_bad="restore")


def test_a_check_that_can_not_be_made_is_no_verdict(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.answers["check"] = lambda _: Scripted(Finished(None, 15, True, 0))
        with pytest.raises(ActionError, match="the check timed out after"):
            await save(scene, "two")
        assert (scene.record.state, scene.version(2).fate) == (State.RETRYING, "new")
        scene.mend("check")
        await save(scene, None)
        assert scene.record.state is State.SYNCED

    within(work, tmp_path)


def test_without_the_right_to_mount_the_check_is_given_a_place_and_says_so(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        def check(command: Command) -> Scripted:
            if command.binds:
                return Scripted(error=PlaceError("can't show", retryable=False))
            assert Path(command.argv[1], "app.conf").read_text() == "one"
            Path(command.argv[1], "app.conf").write_text("overwritten by the check")
            return Scripted()

        scene.answers["check"] = check
        await save(scene, "one")
        assert "named by absolute paths" in scene.ctx.findings["reload-check"][0]
        assert scene.action.statistics()["check"] == "staged"
        await scene.ask("retry")
        await save(scene, None)  # staged anew, in spite of that

    within(work, tmp_path, check={"command": ["check", "{staged}"]})


def test_a_missing_root_changes_nothing(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.root.rename(tmp_path / "away")
        assert (await save(scene, None)).verdict is Verdict.SKIPPED
        assert "isn't there" in scene.ctx.findings["reload-missing"][0]
        assert scene.record.applied == 1
        (tmp_path / "away").rename(scene.root)
        await save(scene, None)
        assert scene.ctx.findings == {}

    within(work, tmp_path)


def test_what_can_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, beneath: str, seen: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        monkeypatch.setattr("filewatchd.actions.reload.looking._read", refuse)
        with pytest.raises(ActionError, match=r"can't be read: .*app.conf: Permission denied; let the rule's user"):
            await save(scene, "two")
        monkeypatch.undo()
        assert (await save(scene, None)).verdict is Verdict.OK

    within(work, tmp_path)
