"""The action expire: which files go, how they are told, and what a hostile directory can't make it do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import expire as package
from filewatchd.actions.base import Unfinished
from filewatchd.actions.expire import action as module
from filewatchd.actions.expire import files
from filewatchd.actions.expire.action import ExpireAction, chosen
from filewatchd.actions.expire.files import Disk, File, Gathered, Removal, gather, remove
from filewatchd.actions.keeping import Keep
from filewatchd.model import OK, RuleSettings, Trigger, Verdict
from filewatchd.testing import FakeClock, FakeContext, FakeJob, changed
from filewatchd.testing.job import FakeSteps
from filewatchd.work.retention import Limits

DAY = 86400
ALL: dict[str, Any] = {"include": (), "exclude": (), "recursive": True, "most": 100, "bound": 0}


class Place:
    """A tree of files with ages, and the action over it."""

    def __init__(self, top: Path, **rule: Any) -> None:
        self.top = top
        self.clock = FakeClock()
        self.ctx = FakeContext(RuleSettings("uploads", (str(top),), (), **rule), clock=self.clock)

    def file(self, name: str, days: float, size: int = 10) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        when = self.clock.wall_ns() - int(days * DAY * 10**9)
        os.utime(path, ns=(when, when))
        return path

    def open(self, **keep: Any) -> ExpireAction:
        return package.open(package.Options(keep=Keep(**keep)), self.ctx)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.top)) for path in self.top.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    top = tmp_path / "uploads"
    top.mkdir()
    made = Place(top)
    for name, days in (("a", 40), ("deep/er/b", 31), ("c", 29), ("d", 1)):
        made.file(name, days)
    return made


def work(action: ExpireAction, trigger: Trigger = Trigger.SCHEDULE, steps: FakeSteps | None = None) -> FakeJob:
    job = FakeJob(trigger=trigger, steps=steps)
    assert asyncio.run(action.run(job)) == OK
    return job


def test_what_is_too_old_goes_and_is_told(place: Place) -> None:
    action = place.open(age=30.0 * DAY)
    plan = list(action.plan(FakeJob()))
    job = work(action)
    assert place.left() == ["c", "d"]
    names = [str(place.top / name) for name in ("a", "deep/er/b")]
    assert plan == [f"delete {names[0]!r}: it is 40d old, and 30d are kept",
                    f"delete {names[1]!r}: it is 31d old, and 30d are kept"]  # fmt: skip
    assert job.text == "".join(f"{line.replace('delete', 'deleted', 1)}\n" for line in plan)
    assert job.effects == [("removed", name, None) for name in names]
    assert [path for path, _ in job.writes] == names
    assert action.statistics() == {"passes": 1, "removed": 2, "freed": action.statistics()["freed"], "failed": 0}
    assert place.ctx.counters["removed"] == 2
    assert not job.steps.recorded()
    assert action.plan(FakeJob()) == ["delete nothing: no limit is exceeded"]


@pytest.mark.parametrize(
    ("keep", "left"),
    [({"count": 3}, ["c", "d", "deep/er/b"]), ({"total": 25}, ["c", "d"]), ({"count": 0, "min_count": 1}, ["d"]),
     ({"age": 100.0 * DAY}, ["a", "c", "d", "deep/er/b"]), ({"min_free": 1 << 60, "min_count": 2}, ["c", "d"])],
)  # fmt: skip
def test_each_limit(place: Place, keep: dict[str, Any], left: list[str]) -> None:
    work(place.open(**keep))
    assert place.left() == left


def test_a_timer_looks_at_quiet_trees(place: Place) -> None:
    place.open(age=30.0 * DAY)
    place.clock.advance(3600)
    assert place.ctx.requested == [(Trigger.SCHEDULE, ())]


def test_what_comes_makes_a_pass_only_where_it_is_counted_and_not_too_often(place: Place) -> None:
    change = [changed(str(place.top / "d"), str(place.top))]
    for keep, verdicts in (({"age": 30.0 * DAY}, [Verdict.SKIPPED] * 2), ({"count": 2}, [Verdict.OK, Verdict.SKIPPED])):
        action = place.open(**keep)
        found = [asyncio.run(action.run(FakeJob(change))).verdict for _ in verdicts]
        assert found == verdicts
    assert place.left() == ["c", "d"]
    assert "soon" in place.ctx.timers.due
    place.clock.advance(61)
    assert asyncio.run(action.run(FakeJob(change))) == OK


def test_patterns_choose(tmp_path: Path) -> None:
    place = Place(tmp_path, include=("*.zip",), exclude=("keep/",))
    for name in ("a.zip", "a.txt", "sub/b.zip", "keep/c.zip"):
        place.file(name, 5)
    work(place.open(age=1.0))
    assert place.left() == ["a.txt", "keep/c.zip"]


def test_without_recursion_only_the_top(tmp_path: Path) -> None:
    place = Place(tmp_path, recursive=False)
    place.file("a", 5)
    place.file("sub/b", 5)
    work(place.open(age=1.0))
    assert place.left() == ["sub/b"]


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.file("a", 5)
    place.file("b", 5)
    place.ctx.rule = place.ctx.rule._replace(roots=(str(tmp_path / "a"),))
    work(place.open(age=1.0))
    assert place.left() == ["b"]


def test_a_root_that_is_gone_deletes_nothing(place: Place) -> None:
    place.ctx.standing = []
    work(place.open(age=1.0))
    assert len(place.left()) == 4


def test_more_than_is_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "SHARE", 3)
    place = Place(tmp_path)
    for number in range(11):
        place.file(f"f{number:02}", 40 - number)
    work(place.open(count=2))
    assert place.left() == ["f09", "f10"]


def test_more_text_than_an_answer_holds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_TEXT", 1)
    assert len(gather(str(place.top), **ALL).oldest) == 1
    work(place.open(count=1))
    assert place.left() == ["d"]


def test_no_root_gives_up_files_that_are_younger_than_another_ones_untold() -> None:
    untold = gathered(some([1, 2], start="a"))._replace(number=9)
    found = [untold, gathered(some([0, 3, 4], start="b"))]
    assert list(names(chosen(found, Limits(count=0), 100 * DAY))) == ["/b0", "/a1", "/a2"]


def test_a_large_tree_is_not_planned_on_the_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLANNED", 2)
    assert "more than 2" in place.open(age=1.0).plan(FakeJob())[0]


# ---- crashes


class Killed(BaseException):
    """Power is gone."""


class Dying(FakeSteps):
    """Steps of a job that is killed right after one."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    async def record(self, name: str, data: Any = None) -> None:
        await super().record(name, data)
        if self._at == name:
            raise Killed

    async def clear(self) -> None:
        if self._at == "told":
            raise Killed
        await super().clear()


@pytest.mark.parametrize(("at", "gone"), [(module.REMOVE, 0), ("told", 2)])
def test_a_crash_at_each_step_is_told_after_the_restart(
    place: Place, at: str, gone: int, caplog: pytest.LogCaptureFixture
) -> None:
    steps = Dying(at)
    with pytest.raises(Killed):
        asyncio.run(place.open(age=30.0 * DAY).run(FakeJob(trigger=Trigger.SCHEDULE, steps=steps)))
    assert len(place.left()) == 4 - gone
    again = FakeSteps()
    for step in steps.recorded():
        asyncio.run(again.record(step.name, step.data))
    place.ctx.interrupted = [Unfinished(1, again)]
    action = place.open(age=30.0 * DAY)
    with caplog.at_level("INFO"):
        asyncio.run(action.recover())
    assert sum("was deleted before the restart" in message for message in caplog.messages) == gone
    assert again.recorded() == ()
    work(action)
    assert place.left() == ["c", "d"]


def test_every_step_has_its_crash() -> None:
    text = Path(module.__file__).read_text()
    assert text.count("steps.record(") == 1
    assert text.count("await job.steps.clear()") == 1


# ---- directories of others


def test_what_is_no_longer_the_file_that_was_chosen_stays(place: Place) -> None:
    found = gather(str(place.top), **ALL)
    a, b, c, d = found.oldest
    (place.top / "a").write_bytes(b"new content")
    Path(b.path).unlink()
    Path(c.path).unlink()
    Path(c.path).symlink_to("/etc/passwd")
    with open(d.path, "ab"):
        results = remove(str(place.top), [a, b, c, d])
    assert [each.result for each in results] == ["changed", "gone", "gone", "written"]
    assert place.left() == ["a", "c", "d"]


def test_a_directory_that_became_a_link_leads_nowhere(place: Place, tmp_path: Path) -> None:
    (file,) = [each for each in gather(str(place.top), **ALL).oldest if each.path.endswith("b")]
    outside = tmp_path / "outside"
    (place.top / "deep/er").rename(outside)
    (place.top / "deep/er").symlink_to(outside)
    (removal,) = remove(str(place.top), [file])
    assert removal.result == "gone"
    assert (outside / "b").exists()
    assert [each.path for each in gather(str(place.top), **ALL).oldest if "deep" in each.path] == []


def test_what_is_no_file_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "named\udcff\n").write_text("x")
    found = gather(str(tmp_path), **ALL)
    assert [os.path.basename(file.path) for file in found.oldest] == ["named\udcff\n"]
    assert remove(str(tmp_path), found.oldest) == [Removal(found.oldest[0].path, "removed")]


def test_what_cannot_be_deleted_is_a_finding_and_nothing_younger_goes_instead(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.unlink

    def unlink(name: str, **how: Any) -> None:
        if name == "a":
            raise PermissionError(1, "Operation not permitted")
        real(name, **how)

    monkeypatch.setattr(os, "unlink", unlink)
    action = place.open(count=2)
    job = work(action)
    assert place.left() == ["a", "c", "d"]
    assert "Operation not permitted" in place.ctx.findings["expire"][0]
    assert "kept" in job.text
    monkeypatch.undo()
    work(action)
    assert place.ctx.findings == {}


# ---- deciding


def some(times: Sequence[int], dev: int = 1, start: str = "f") -> list[File]:
    return [File(time * DAY * 10**9, f"/{start}{time}", 10, 10, dev, time) for time in times]


def gathered(files: list[File], *disks: Disk) -> Gathered:
    return Gathered(len(files), 10 * len(files), files, list(disks), [])


def names(found: list[Any]) -> Iterator[str]:
    return (gone.file.name for _, gone in found)


def test_limits_hold_for_all_roots_together() -> None:
    found = [gathered(some([1, 4], start="a")), gathered(some([2, 3], start="b"))]
    assert list(names(chosen(found, Limits(count=2), 100 * DAY))) == ["/a1", "/b2"]


def test_room_is_made_on_the_filesystem_that_lacks_it() -> None:
    full, empty = Disk(1, 5, 100), Disk(2, 90, 100)
    found = [gathered(some([2, 3, 4]), full), gathered(some([1, 5], 2, "e"), empty)]
    assert list(names(chosen(found, Limits(min_free=20), 100 * DAY))) == ["/f2", "/f3"]
    assert list(names(chosen(found, Limits(count=4, min_free=20), 100 * DAY))) == ["/e1", "/f2", "/f3"]
    assert list(names(chosen(found, Limits(min_free=20, min_count=4), 100 * DAY))) == ["/f2"]


def test_options_that_cannot_be_meant(tmp_path: Path) -> None:
    rule = RuleSettings("r", (str(tmp_path),), (), follow_symlinks=True)
    wrong = [p.where for p in package.check(package.Options(keep=Keep(), every=0.1), rule)]
    assert wrong == [("keep",), ("every",), ()]
    assert list(package.check(package.Options(keep=Keep(age=5.0)), rule._replace(follow_symlinks=False))) == []
