"""A rule that is new, or whose patterns change: what its scan finds was there before, or came since."""

from __future__ import annotations

from pathlib import Path

import pytest

from filewatchd.clock import SystemClock
from filewatchd.model import FileIdentity, Region
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from tests.unit.jobs.stage import Stage, play

_SECOND = 1_000_000_000


def test_a_scan_that_comes_before_a_files_event_doesnt_take_it_for_an_old_one(
    database: Database, tmp_path: Path
) -> None:
    """Its event would then find that nothing differs, and the file would never be told."""

    async def story(stage: Stage) -> None:
        await stage.configure(include=("*.old",))
        (binding,) = stage.pipeline.bindings.values()
        binding.comparison(appeared=False)
        binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())
        await stage.configure(include=("*.old", "*.new"))
        (binding,) = stage.pipeline.bindings.values()
        now = stage.engine.clock.wall_ns()
        files = [
            (name, FileIdentity(ino, 1, when, when), 1)
            for ino, (name, when) in enumerate(
                (("before.new", now - _SECOND), ("since.new", now), ("while down.old", now - _SECOND)), start=1
            )
        ]
        found = binding.comparison(appeared=False).feed([("", files)])
        assert [path for path, _, _ in found.adopt] == ["before.new"]
        assert sorted(found.dirty) == ["since.new", "while down.old"]

    play(database, tmp_path / "root", RecordingAction(), story)


@pytest.mark.parametrize(("came", "fresh"), [(0, ["before the scan"]), (10, [])], ids=["there", "mounted"])
def test_what_is_written_after_a_rule_is_in_force_and_before_its_first_scan_is_a_change(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: int, fresh: list[str]
) -> None:
    """Whoever was told of the reload may count on it; a root that comes later counts from its coming."""

    async def story(stage: Stage) -> None:
        await stage.configure()
        (binding,) = stage.pipeline.bindings.values()
        binding.settle([Region("", "disk")])
        now = stage.engine.clock.wall_ns()
        monkeypatch.setattr(SystemClock, "wall_ns", lambda _: now + 20 * _SECOND)
        files = [
            (name, FileIdentity(ino, 1, when, when), 1)
            for ino, (name, when) in enumerate(
                (("before", now - _SECOND), ("before the scan", now + 5 * _SECOND)), start=1
            )
        ]
        found = binding.comparison(appeared=False, came_ns=came and now + came * _SECOND).feed([("", files)])
        assert (found.dirty, len(found.adopt)) == (fresh, 2 - len(fresh))

    play(database, tmp_path / "root", RecordingAction(), story)


def test_actions_are_told_when_a_scan_is_over(database: Database, tmp_path: Path) -> None:
    """What they walk then isn't walked twice at once."""

    async def story(stage: Stage) -> None:
        await stage.configure()
        told: list[str] = []
        (opened,) = stage.pipeline.actions
        opened.context.on_scan(told.append)
        (binding,) = stage.pipeline.bindings.values()
        binding.comparison(appeared=False)
        assert told == []
        binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())
        assert told == [str(stage.root)]

    play(database, tmp_path / "root", RecordingAction(), story)
