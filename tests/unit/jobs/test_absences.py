"""Paths whose directory was away while, or just before, somebody looked for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from filewatchd.jobs.absences import Absences
from filewatchd.jobs.runner import Item
from filewatchd.model import Change, Kind
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play


def item(name: str, kind: Kind = Kind.MODIFIED) -> Item:
    return Item((1, name), Change(kind, f"/r/{name}", "/r"))


def test_what_ended_within_a_second_was_handled_just_now() -> None:
    absences = Absences()
    absences.ended([item("a"), item("gone", Kind.DELETED)], 10.0, mounts=3)
    assert absences.was_handled((1, "a"), 11.0, lambda: 3)
    assert not absences.was_handled((1, "a"), 11.1, lambda: 3)
    assert not absences.was_handled((1, "gone"), 10.0, lambda: 3)
    assert not absences.was_handled((1, "other"), 10.0, lambda: 3)


def test_what_was_mounted_or_unmounted_since_explains_it() -> None:
    absences = Absences()
    absences.ended([item("a")], 10.0, mounts=3)
    assert not absences.was_handled((1, "a"), 10.5, lambda: 4)


def test_the_last_attempt_counts_and_a_deletion_ends_it() -> None:
    absences = Absences()
    absences.ended([item("a"), item("b")], 10.0, mounts=3)
    absences.ended([item("a"), item("b", Kind.DELETED)], 10.9, mounts=3)
    assert absences.was_handled((1, "a"), 11.8, lambda: 3)
    assert not absences.was_handled((1, "b"), 10.9, lambda: 3)


@pytest.mark.parametrize("away", [True, False])
def test_news_of_a_directory_just_after_a_job_make_another_one(database: Database, tmp_path: Path, away: bool) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure()
        (binding,) = stage.pipeline.bindings.values()
        binding.comparison(appeared=False)
        binding.scan_ended(whole=True, now=stage.engine.clock.monotonic())
        (stage.root / "d").mkdir()
        for name in ("a", "d/b"):
            (stage.root / name).write_text("x")
            stage.mark(name)
        await stage.engine.flush(["rule"])
        told = [path for call in stage.action.calls for path in call.paths]
        assert sorted(told) == [f"{stage.root}/a", f"{stage.root}/d/b"]
        binding.beneath("d" if away else "elsewhere", stage.engine.clock.monotonic())
        stage.engine.poke()
        await stage.engine.flush(["rule"])
        again = [path for call in stage.action.calls for path in call.paths][2:]
        assert again == [f"{stage.root}/d/b"] * away
        await eventually(lambda: not stage.pipeline.open, "nothing is open")

    play(database, tmp_path / "root", RecordingAction(), story)
