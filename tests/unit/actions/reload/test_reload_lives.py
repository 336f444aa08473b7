"""A reload over restarts and deaths: its record, its versions, its steps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.base import Command, Unfinished
from filewatchd.actions.reload.states import State, Step
from filewatchd.model import Trigger, Verdict
from filewatchd.testing import FakeJob
from filewatchd.testing.job import FakeSteps
from filewatchd.testing.spawn import Scripted
from tests.unit.actions.reload.scene import Scene, ends, save, within


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
