"""A reload from look to outcome: commands are scripted, files are real, time is the test's."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions import reload
from filewatchd.actions.base import Caller, Command, Finished, Unfinished
from filewatchd.actions.probes import Probe
from filewatchd.actions.reload import deeds, restoring
from filewatchd.actions.reload.action import ReloadAction
from filewatchd.actions.reload.checking import Way
from filewatchd.actions.reload.record import Record, Version
from filewatchd.actions.reload.states import State, Step
from filewatchd.actions.telling import Telling
from filewatchd.errors import ActionError
from filewatchd.model import Initial, Outcome, RuleSettings, Trigger, Verdict
from filewatchd.testing import FakeClock, FakeContext, FakeJob, FakeSpawn
from filewatchd.testing.job import FakeSteps
from filewatchd.testing.spawn import Scripted
from filewatchd.work.failures import PlaceError

FAILS = Finished(1, None, False, 0)
ROOT = Caller(0, 1, acts=True)
GUARD: dict[str, Any] = {
    "mode": "guard",
    "check": {"command": ["check"]},
    "apply": {"command": ["apply"]},
    "healthy": {"command": ["probe"], "within": 0},
}


def ends(well: bool) -> Scripted:
    """How a command ends."""
    return Scripted() if well else Scripted(FAILS)


class Scene:
    """A rule's reload, and the world around it: what each command does is in ``answers``."""

    def __init__(self, directory: Path, **options: Any) -> None:
        rule: dict[str, Any] = {
            name: options.pop(name) for name in ("initial", "user", "renamed_from", "name") if name in options
        }
        self.root = directory / "etc"
        self.root.mkdir(exist_ok=True)
        self.file = self.root / "app.conf"
        self.answers: dict[str, Callable[[Command], Scripted]] = {}
        self.asked: list[str] = []
        self.running = ""  # what the service has, where a test says so
        self.spawn = FakeSpawn(answer=self._answer)
        self.clock = FakeClock()
        name = rule.pop("name", "app")
        settings = RuleSettings(name=name, roots=(str(self.root),), actions=(), **rule)
        self.ctx = FakeContext(settings, clock=self.clock, spawn=self.spawn, state_dir=str(directory / "state"))
        (directory / "state").mkdir(exist_ok=True)
        self.options = msgspec.convert({**GUARD, "cooldown": 0, **options}, reload.Options)
        self.action = self.open()

    def open(self) -> ReloadAction:
        action = reload.open(self.options, self.ctx)
        action._desk.checker._ways = [Way.NAMESPACE, Way.STAGED]
        return action

    def _answer(self, command: Command) -> Scripted:
        self.asked.append(command.argv[0])
        answer = self.answers.get(command.argv[0])
        return answer(command) if answer is not None else Scripted()

    def fail(self, name: str, output: str = "") -> None:
        self.answers[name] = lambda _: Scripted(FAILS, output.encode())

    def mend(self, name: str) -> None:
        self.answers.pop(name)

    async def ask(self, endpoint: str, arguments: Any = None, caller: Caller = ROOT) -> Any:
        """What can be asked over the control socket."""
        return await self.action.answer_to(endpoint, arguments, caller)

    @property
    def record(self) -> Record:
        return self.action._desk.record

    def version(self, number: int) -> Version:
        found = self.record.version(number)
        assert found is not None
        return found


def within(work: Callable[[Scene], Coroutine[Any, Any, None]], directory: Path, **options: Any) -> Scene:
    """Play it, with the action recovered."""
    scene = Scene(directory, **options)

    async def play() -> None:
        await scene.action.recover()
        await scene.ctx.follow_ups["look"]
        await work(scene)

    asyncio.run(play())
    return scene


async def save(scene: Scene, text: str | None, **job: Any) -> Outcome:
    """Write the file and let a job run; returns its outcome. ``asked`` has the commands of this job alone."""
    if text is not None:
        scene.file.write_text(text)
    scene.asked.clear()
    outcome = await scene.action.run(FakeJob(**job))
    assert isinstance(outcome, Outcome)
    return outcome


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


def test_a_refused_set_is_told_and_not_tried_again(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail("check", "unexpected end of file\nin app.conf:1\n")
        outcome = await save(scene, "bad")
        assert outcome.verdict is Verdict.REJECTED
        assert "version 2 is refused by its check: unexpected end of file in app.conf:1" in outcome.message
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
        assert (await save(scene, None)).verdict is Verdict.SKIPPED
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
    def refuse(path: str, seen: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        monkeypatch.setattr("filewatchd.actions.reload.looking._read", refuse)
        with pytest.raises(ActionError, match=r"can't be read: .*app.conf: Permission denied; let the rule's user"):
            await save(scene, "two")
        monkeypatch.undo()
        assert (await save(scene, None)).verdict is Verdict.OK

    within(work, tmp_path)


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
        assert (await save(scene, None)).verdict is Verdict.SKIPPED  # the source still has the bad set: it is held
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


# ---- life


def test_a_damaged_version_holds_up_no_new_one(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        await save(scene, "one")

    async def second(scene: Scene) -> None:
        store = scene.action._desk.store
        Path(f"{store.sets}/{scene.version(1).digest}").write_bytes(b"damaged")
        assert (await save(scene, "two")).verdict is Verdict.OK
        assert scene.record.good == 2
        assert (await save(scene, "three")).verdict is Verdict.OK  # the damaged one is forgotten
        assert [version.number for version in scene.record.versions] == [2, 3]

    within(first, tmp_path)
    within(second, tmp_path, keep={"versions": 2})


def test_a_restart_knows_what_the_service_has(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        await save(scene, "one")

    async def second(scene: Scene) -> None:
        assert scene.ctx.requested == []
        scene.file.write_text("two")
        await scene.action._look()
        assert scene.ctx.requested == [(Trigger.SCHEDULE, ())]

    within(first, tmp_path)
    within(second, tmp_path)


def test_a_renamed_rule_keeps_its_versions(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        await save(scene, "one")

    async def second(scene: Scene) -> None:
        assert scene.record.good == 1

    within(first, tmp_path)
    within(second, tmp_path, name="web", renamed_from="app")


def test_a_damaged_record_is_put_aside(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        await save(scene, "one")

    async def second(scene: Scene) -> None:
        assert scene.record.versions == []
        assert (await save(scene, None)).verdict is Verdict.OK

    within(first, tmp_path)
    (record,) = (tmp_path / "state/versions/app").glob("record.json")
    record.write_text("{")
    within(second, tmp_path)
    assert len(list(record.parent.glob("record.json.damaged-*"))) == 1


class Dies(FakeSteps):
    """Steps of a daemon that dies when one is recorded, or right after."""

    def __init__(self, at: str, after: bool) -> None:
        super().__init__()
        self.at, self.after = at, after

    async def record(self, name: str, data: Any = None) -> None:
        if name != self.at or self.after:
            await super().record(name, data)
        if name == self.at:
            raise Killed


class Killed(BaseException):
    """The daemon dies here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [step for step in Step if step is not Step.PUBLISH])
def test_a_death_at_a_step_ends_well(tmp_path: Path, step: Step, after: bool) -> None:
    """Two is good for the check and bad for the service: all steps are taken on the way to one again."""
    steps = Dies(step, after)

    def ill(scene: Scene) -> None:
        def apply(_: Command) -> Scripted:
            scene.running = scene.file.read_text()
            return Scripted()

        scene.answers |= {"probe": lambda _: ends(scene.running != "two"), "apply": apply}

    async def first(scene: Scene) -> None:
        scene.running = "one"
        ill(scene)
        await save(scene, "one")
        scene.file.write_text("two")
        with pytest.raises(Killed):
            await scene.action.run(FakeJob(steps=steps))
        (tmp_path / "running").write_text(scene.running)

    async def second(scene: Scene) -> None:
        scene.running = (tmp_path / "running").read_text()
        ill(scene)
        scene.ctx.interrupted = [Unfinished(1, steps)]
        await scene.action.recover()
        await scene.ctx.follow_ups["look"]
        for _ in range(3):
            if not scene.ctx.requested:
                break
            scene.ctx.requested.clear()
            await scene.action.run(FakeJob())
            await scene.action._look()
        assert steps.recorded() == ()
        assert scene.running == scene.file.read_text() or scene.record.state is State.HELD
        assert scene.running in ("one", "two")
        assert any(version.number == 2 for version in scene.record.versions)
        entries = scene.action._desk.store.load(scene.version(2).digest)
        assert scene.action._desk.store.content(entries["0/app.conf"]) == b"two"

    within(first, tmp_path, on_bad="restore")
    scene = Scene(tmp_path, on_bad="restore")
    asyncio.run(second(scene))


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "rule", "message"),
    [
        ({"mode": "check", "on_bad": "restore", "healthy": []}, {}, "nothing can be restored"),
        ({"mode": "check"}, {}, "watches no health"),
        ({"mode": "check", "check": None, "apply": None, "healthy": []}, {}, "nothing to do"),
        ({"mode": "publish"}, {}, "publish goes with its mode"),
        ({"publish": {"from": "/a", "to": "/b"}}, {}, "publish goes with its mode"),
        ({"mode": "publish", "publish": {"from": "/etc/a", "to": "/etc/a/b"}}, {"roots": ("/etc/a",)}, "within"),
        ({"mode": "publish", "publish": {"from": "/etc/a", "to": "/b"}}, {"roots": ("/c",)}, "only root"),
        ({"mode": "publish", "publish": {"from": "/a", "to": "/b"}}, {"roots": ("/a",), "user": "x"}, "daemon itself"),
        ({}, {"roots": ("/etc/*.d",)}, "is a glob"),
        ({}, {"roots": ("/",)}, "whole system"),
        ({}, {"recursive": False}, "everything below"),
    ],
)  # fmt: skip
def test_mistakes_are_told(options: dict[str, Any], rule: dict[str, Any], message: str) -> None:
    settings = RuleSettings(**{"name": "app", "roots": ("/etc/app",), "actions": (), **rule})
    found = msgspec.convert({**GUARD, **options}, reload.Options)
    assert any(message in problem.message for problem in reload.check(found, settings))


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root whom others could mislead")
def test_nothing_is_published_where_others_may_write(tmp_path: Path) -> None:
    """Who may write the directory above could put a link in the place of what root is just making."""
    (tmp_path / "open").mkdir()
    options = msgspec.convert(
        {"mode": "publish", "publish": {"from": "/etc/a", "to": f"{tmp_path}/open/live"}}, reload.Options
    )
    rule = RuleSettings(name="app", roots=("/etc/a",), actions=())

    def told() -> list[str]:
        return [
            problem.message for problem in reload.check(options, rule) if "lead what root writes" in problem.message
        ]

    assert told() == []
    (tmp_path / "open").chmod(0o777)
    (message,) = told()
    assert "everybody may write" in message


def test_what_it_brings_and_needs() -> None:
    options = msgspec.convert({**GUARD, "apply": {"unit": "app.service"}}, reload.Options)
    assert reload.rule_defaults(options)["batch"] == "rule"
    assert reload.needs(options).extras == ("systemd",)
    assert options.probes[0].stay == 1.0  # a reload's old processes answer well for a while
    assert isinstance(options.apply, Telling)
