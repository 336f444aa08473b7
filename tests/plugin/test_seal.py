"""The example action, tested with nothing but `filewatchd.testing`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import filewatchd_example_action as package
import pytest
from filewatchd_example_action import sealing

from filewatchd.actions.base import Finished, Needs, Unfinished, Use
from filewatchd.actions.registry import packages
from filewatchd.cli.init import init
from filewatchd.config.load import load
from filewatchd.errors import ActionError
from filewatchd.model import OK, Kind, Outcome, RuleSettings, Trigger, Verdict
from filewatchd.testing import FakeContext, FakeJob, FakeSpawn, FakeSteps, Scripted, changed, settle

DIGEST = hashlib.sha256(b"text").hexdigest()


class Scene:
    """A root with files, a directory of seals, and the action between them."""

    def __init__(self, directory: Path, spawn: FakeSpawn | None = None, **options: Any) -> None:
        self.root = directory / "root"
        self.seals = directory / "seals"
        for folder in (self.root, self.seals):
            folder.mkdir()
        self.context = FakeContext(RuleSettings(name="rule", roots=(str(self.root),), actions=()), spawn=spawn)
        self.options = package.Options(into=str(self.seals), **options)
        self.action = package.open(self.options, self.context)

    def file(self, name: str, text: str = "text") -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)

    def job(self, *paths: str, kind: Kind = Kind.CREATED, **more: Any) -> FakeJob:
        return FakeJob([changed(path, str(self.root), kind) for path in paths], **more)


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    async def main(work: Callable[[Scene], Awaitable[None]]) -> None:
        scene = Scene(tmp_path)
        await work(scene)
        await scene.action.stop(1.0)
        scene.context.tables.close()

    return lambda work: asyncio.run(main(work))


def test_options_are_checked_and_bring_defaults() -> None:
    rule = RuleSettings(name="rule", roots=("/srv/in",), actions=())
    assert list(package.check(package.Options(into="/srv/seals"), rule)) == []
    (problem,) = package.check(package.Options(into="/srv/in/seals"), rule)
    assert problem.where == ("into",)
    assert package.rule_defaults(package.Options(into="/s"))["batch"] == "rule"
    assert package.needs(package.Options(into="/s", move=True)) == Needs(use=Use.EXCLUSIVE)


def test_files_are_sealed(play: Play) -> None:
    async def work(scene: Scene) -> None:
        job = scene.job(scene.file("a"), scene.file("b"))
        assert await scene.action.run(job) == {change.path: OK for change in job.changes}
        assert (scene.seals / "a.seal").read_text() == f"{DIGEST}\n"
        assert job.text.startswith(f"{DIGEST}  {scene.root}/a\n")
        assert job.progresses == [(1, 2, "files"), (2, 2, "files")]
        assert job.writes == [(f"{scene.seals}/a.seal", None), (f"{scene.seals}/b.seal", None)]
        assert job.steps.recorded() == ()
        assert scene.context.counters == {"sealed": 2}
        assert scene.action.statistics() == {"sealed": 2, "watched": 2}
        assert not scene.context.held

    play(work)


def test_hostile_and_vanished_files_have_outcomes_of_their_own(play: Play) -> None:
    async def work(scene: Scene) -> None:
        (scene.root / "link").symlink_to("/etc/passwd")
        link, gone = f"{scene.root}/link", f"{scene.root}/gone"
        outcomes = await scene.action.run(scene.job(link, gone))
        assert outcomes[link].verdict is Verdict.REJECTED
        assert outcomes[gone] == Outcome(Verdict.SKIPPED, "it is gone")

    play(work)


def test_a_moved_file_is_told_to_later_actions_and_by_others(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path, move=True)
        path = scene.file("a")
        job = scene.job(path)
        await scene.action.run(job)
        assert job.effects == [("moved", path, f"{scene.seals}/a")]
        assert (job.changes[0].path, job.changes[0].original_path) == (f"{scene.seals}/a", path)
        scene.context.tell("moved", path, "/elsewhere")
        assert scene.context.tables.execute("SELECT path FROM {seals}") == [(b"/elsewhere",)]
        scene.context.tables.close()

    asyncio.run(main())


def test_deleted_files_are_forgotten(play: Play) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        await scene.action.run(scene.job(path))
        job = scene.job(path, kind=Kind.DELETED)
        assert await scene.action.run(job) == {path: OK}
        assert job.effects == [("removed", path, None)]
        assert scene.action.statistics()["sealed"] == 0

    play(work)


def test_the_plan_and_a_dry_run_change_nothing(play: Play) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        job = scene.job(path, dry_run=True)
        assert scene.action.plan(job) == [f"seal {path}"]
        assert (await scene.action.run(job))[path].verdict is Verdict.SKIPPED
        assert not list(scene.seals.iterdir())

    play(work)


def test_a_cancelled_job_stops_between_files(play: Play) -> None:
    async def work(scene: Scene) -> None:
        job = scene.job(scene.file("a"))
        job.cancelled = True
        assert await scene.action.run(job) == {}

    play(work)


@pytest.mark.parametrize("code", [0, 1])
def test_a_tool_signs_the_seal(tmp_path: Path, code: int) -> None:
    async def main() -> Mapping[str, Outcome]:
        spawn = FakeSpawn(Scripted(Finished(code, None, False, 0), b"signed\n"))
        scene = Scene(tmp_path, spawn, tool=("sign", "-q"))
        job = scene.job(scene.file("a"))
        try:
            return await scene.action.run(job)
        finally:
            assert spawn.commands[0].argv == ("sign", "-q", f"{scene.seals}/a.seal")
            assert "signed" in job.text
            scene.context.tables.close()

    if code:
        with pytest.raises(ActionError, match="didn't sign"):
            asyncio.run(main())
    else:
        assert list(asyncio.run(main()).values()) == [OK]


def test_an_interrupted_seal_is_undone(play: Play) -> None:
    async def work(scene: Scene) -> None:
        half = scene.seals / "a.seal"
        half.touch()
        steps = FakeSteps()
        await steps.record("sealing", {"seal": str(half)})
        scene.context.interrupted.append(Unfinished(3, steps))
        await scene.action.recover()
        assert not half.exists()
        assert steps.recorded() == ()

    play(work)


def test_a_write_to_a_sealed_file_is_a_finding_until_it_is_sealed_again(play: Play) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        await scene.action.run(scene.job(path))
        assert scene.context.write(path) == 1
        assert scene.context.findings == {f"broken:{path}": ("a sealed file was written", path)}
        assert scene.context.write(path) == 0  # once only
        await scene.action.run(scene.job(path))
        assert scene.context.findings == {}
        await scene.action.stop(1.0)
        assert scene.context.write(path) == 0

    play(work)


def test_the_audit_finds_missing_seals(play: Play) -> None:
    async def work(scene: Scene) -> None:
        await scene.action.run(scene.job(scene.file("a")))
        scene.context.clock.advance(3600)
        await scene.context.follow_ups["audit"]
        assert scene.context.findings == {}
        (scene.seals / "a.seal").unlink()
        scene.context.clock.advance(3600)
        await scene.context.follow_ups["audit"]
        assert scene.context.findings["missing"] == ("1 seals are missing", str(scene.seals))

    play(work)


def test_timers_ask_for_jobs_and_report(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        await scene.action.run(scene.job(path))
        await scene.context.clock.run_for(86400)
        assert scene.context.requested == [(Trigger.SCHEDULE, (path,))]
        assert "has 1 seals" in caplog.text

    with caplog.at_level("INFO"):
        play(work)


def test_it_is_reconfigured_in_place_but_for_its_directory(play: Play) -> None:
    async def work(scene: Scene) -> None:
        assert not scene.action.reconfigure(package.Options(into="/elsewhere"))
        assert scene.action.reconfigure(package.Options(into=str(scene.seals), audit_every=60.0))
        scene.context.clock.advance(60)
        await settle()
        assert scene.context.follow_ups["audit"].done()

    play(work)


def test_its_tables_survive_a_restart_and_migrate_once(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        await scene.action.run(scene.job(scene.file("a")))
        again = FakeContext(scene.context.rule, tables=scene.context.tables, timers=scene.context.timers)
        assert package.open(scene.options, again).statistics()["sealed"] == 1
        scene.context.tables.close()

    asyncio.run(main())


def test_two_jobs_wait_for_each_other_over_one_file(play: Play) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        async with scene.context.lock([f"{scene.seals}/a.seal"]):
            waiting = asyncio.ensure_future(scene.action.run(scene.job(path)))
            await settle()
            assert not waiting.done()
        assert await waiting == {path: OK}

    play(work)


def test_seals_are_told_and_forgotten(play: Play) -> None:
    async def work(scene: Scene) -> None:
        path = scene.file("a")
        await scene.action.run(scene.job(path))
        seals, forget = (endpoint.name for endpoint in package.endpoints)
        assert await scene.action.answer(seals, sealing.Which()) == sealing.Seals(seals={path: DIGEST})
        assert await scene.action.answer(forget, sealing.Forget(path=path)) == sealing.Forgotten(digest=DIGEST)
        with pytest.raises(ActionError, match="has no seal"):
            await scene.action.answer(forget, sealing.Forget(path=path))

    play(work)


def test_init_writes_its_example(tmp_path: Path) -> None:
    registry: dict[str, Any] = {package.name: package}
    assert init(str(tmp_path), registry=registry, environ={}, purpose=package.name) == 0
    found = load(tmp_path / "filewatchd.yaml", registry={**packages(), **registry}, environ={}, flags={})
    assert found.rules[1].actions[0].name == package.name
    assert found.rules[1].roots == (f"{tmp_path}/incoming",)
