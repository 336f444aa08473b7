"""Units that systemd doesn't know are told before a set needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filewatchd.actions.base import UnitState
from filewatchd.actions.reload.action import LOOK_EVERY
from filewatchd.errors import ActionError
from filewatchd.model import Initial
from tests.unit.actions.reload.scene import Scene, save, within

GONE, THERE = UnitState("not-found", "inactive", "dead"), UnitState("loaded", "active", "running")
UNITS: dict[str, Any] = {
    "apply": {"unit": "ngnix.service"},
    "healthy": [{"unit": "ngnix.service"}, {"unit": "other.service"}],
}


async def told(scene: Scene) -> str:
    """The finding, after the look at the units."""
    await scene.ctx.follow_ups.pop("units")
    finding = scene.ctx.findings.get("reload-unit")
    return str(finding) if finding else ""


def test_a_misspelt_unit_is_a_finding_until_it_is_there(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        services = scene.ctx.services
        services.states = {"ngnix.service": [GONE], "other.service": [THERE]}
        scene.clock.advance(LOOK_EVERY)
        assert "systemd knows no unit ngnix.service:" in await told(scene)
        assert (await scene.ask("plan")).steps[-1].startswith("systemd knows no unit ngnix.service")
        services.states["ngnix.service"] = [THERE]
        assert scene.action.reconfigure(scene.options)
        assert await told(scene) == ""
        assert not any("systemd knows" in step for step in (await scene.ask("plan")).steps)

    within(work, tmp_path, **UNITS)


def test_a_systemd_that_cant_be_asked_is_no_finding(tmp_path: Path, monkeypatch: Any) -> None:
    async def refuse(*_: Any) -> UnitState:
        raise ActionError("no bus")

    async def work(scene: Scene) -> None:
        monkeypatch.setattr(scene.ctx.services, "state", refuse)
        scene.clock.advance(LOOK_EVERY)
        assert await told(scene) == ""
        assert (await scene.ask("plan")).steps[-1] == "nothing can be applied now: no bus"

    within(work, tmp_path, **UNITS)


def test_who_names_none_asks_for_none(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.clock.advance(LOOK_EVERY)
        assert "units" not in scene.ctx.follow_ups

    within(work, tmp_path, initial=Initial.IGNORE)
