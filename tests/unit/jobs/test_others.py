"""What is no file makes no job; an action that asks is told where something happened to it."""

from __future__ import annotations

from pathlib import Path

from filewatchd.model import Hint, Kind
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from tests.unit.jobs.stage import Stage, play

Told = list[tuple[str, str, bool]]


async def begun(stage: Stage, *, asks: bool = True) -> Told:
    """A rule whose root is known; what its action is told."""
    told: Told = []
    await stage.configure(exclude=("/out/",), changes=frozenset(Kind))
    (opened,) = stage.pipeline.actions
    if asks:
        opened.context.on_other(lambda root, path, whole: told.append((root, path, whole)))
    (binding,) = stage.pipeline.bindings.values()
    binding.comparison(appeared=False)
    binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())
    return told


async def worked(stage: Stage) -> None:
    stage.engine.poke()
    await stage.engine.flush(["rule"])


def test_only_an_action_that_asks_is_told(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        told = await begun(stage)
        (stage.root / "link").symlink_to("x")
        (stage.root / "file").write_text("x")
        for name in ("link", "file", "came and went"):
            stage.mark(name)
        await worked(stage)
        root = str(stage.root)
        assert sorted(told) == [(root, "came and went", False), (root, "link", False)]
        assert [change.relative for job in stage.action.calls for change in job.changes] == ["file"]
        (opened,) = stage.pipeline.actions
        opened.context.on_other(None)
        stage.mark("link")
        await worked(stage)
        assert len(told) == 2

    play(database, tmp_path / "root", RecordingAction(), story)


def test_directories_are_told_as_they_are_meant(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        told = await begun(stage)
        (binding,) = stage.pipeline.bindings.values()
        (stage.root / "fresh").mkdir()
        (stage.root / "chmod").mkdir()
        (stage.root / "now a file").write_text("x")
        now = stage.engine.clock.monotonic()
        binding.other("chmod", Hint.LIVE, now)
        binding.other("fresh", Hint.SCAN, now)
        binding.other("out/below", Hint.SCAN, now)
        binding.other("now a file", Hint.LIVE, now)
        binding.beneath("gone", now)
        await worked(stage)
        root = str(stage.root)
        assert sorted(told) == [
            (root, "chmod", False),
            (root, "fresh", True),
            (root, "gone", True),
            (root, "now a file", False),
        ]
        assert "transient" not in stage.pipeline.counters

    play(database, tmp_path / "root", RecordingAction(), story)


def test_nothing_is_marked_for_nobody(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await begun(stage, asks=False)
        (binding,) = stage.pipeline.bindings.values()
        binding.other("directory", Hint.LIVE, stage.engine.clock.monotonic())
        binding.beneath("gone", stage.engine.clock.monotonic())
        assert len(stage.pipeline.window) == 0

    play(database, tmp_path / "root", RecordingAction(), story)


def test_of_a_file_that_is_gone_a_job_tells(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        told = await begun(stage)
        (stage.root / "file").write_text("x")
        stage.mark("file")
        await worked(stage)
        (stage.root / "file").unlink()
        (stage.root / "file").symlink_to("x")
        stage.mark("file")
        await worked(stage)
        assert told == []
        assert len(stage.action.calls) == 2

    play(database, tmp_path / "root", RecordingAction(), story)
