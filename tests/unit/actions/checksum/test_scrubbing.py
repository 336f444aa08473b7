"""The scrub's pace, and how it makes way."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from filewatchd.actions.checksum import scrubbing, walking
from filewatchd.actions.checksum.options import Options, Scrub
from filewatchd.actions.checksum.scrubbing import Pace, step_back
from filewatchd.actions.given import Ground
from filewatchd.errors import StateError
from filewatchd.model import Region
from filewatchd.state.index.reading import Reader
from filewatchd.testing import FakeClock
from filewatchd.testing.clock import START, settle
from filewatchd.work.pressure import idle, pressure
from tests.unit.actions.checksum.scene import Scene, story, written

FAST = Scrub(every=3600.0, rate=1e12, files=1e9)


@pytest.mark.parametrize(
    ("files", "size", "seconds"), [(100, 0, 1.0), (1, 2000, 2.0), (50, 500, 0.5), (0, 0, 0.0), (10, 100_000, 100.0)]
)
def test_neither_rate_is_passed(files: int, size: int, seconds: float) -> None:
    pace = Pace(Scrub(rate=1000.0, files=100.0), 50.0)
    assert pace.took(files, size, 50.0) == pytest.approx(seconds)


def test_time_that_reading_takes_counts() -> None:
    pace = Pace(Scrub(rate=1000.0, files=100.0), 50.0)
    assert pace.took(100, 0, 50.7) == pytest.approx(0.3)
    assert pace.took(100, 0, 51.0) == pytest.approx(1.0)


def test_a_long_pause_is_not_made_up_for() -> None:
    pace = Pace(Scrub(rate=1000.0, files=100.0), 50.0)
    assert pace.took(100, 0, 1000.0) == 0.0
    assert pace.took(300, 0, 1000.0) == pytest.approx(3.0)


def test_it_makes_way_but_not_for_ever() -> None:
    told: list[str] = []
    answers = ["io", "cpu", ""]
    with mock.patch.object(asyncio, "sleep", mock.AsyncMock()) as sleep:
        asyncio.run(step_back(lambda: answers.pop(0), told.append))
        assert told == ["io", "cpu", ""]
        assert sleep.await_count == 2
        asyncio.run(step_back(lambda: "io", told.append))
    assert sleep.await_count == 2 + scrubbing._STEPS_BACK
    assert told[-1] == ""


def test_pressure_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "io").write_text("some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0 avg300=0\n")
    (tmp_path / "cpu").write_text("what is this")
    assert pressure("io", str(tmp_path)) == 12.34
    assert pressure("cpu", str(tmp_path)) is None
    assert pressure("memory", str(tmp_path)) is None


def test_a_thread_reads_in_the_idle_class_and_then_as_ever() -> None:
    def now() -> int:
        import ctypes
        import os

        number = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)
        if number is None:
            pytest.skip("the system call's number isn't known here")
        return int(ctypes.CDLL(None).syscall(number, 1, 0)) >> 13

    before = now()
    with idle():
        assert now() == 3
    assert now() in (before, 0)


@story
async def test_roots_are_scrubbed_one_after_the_other(tmp_path: Path) -> None:
    """Also one that is scanned while another is read."""
    roots = [tmp_path / name for name in ("first", "second", "third")]
    under_way, read = Counter[str](), Counter[str]()
    most = 0
    really = scrubbing.read

    async def reads(ctx: Any, root: str, *rest: Any) -> Any:
        nonlocal most
        under_way[root] += 1
        most = max(most, under_way.total())
        if root == str(roots[0]) and not read[root]:
            scene.ctx.scan(str(roots[2]))
        for _ in range(100):
            await asyncio.sleep(0)
        under_way[root] -= 1
        read[root] += 1
        return await really(ctx, root, *rest)

    for root in roots:
        written(root, ["x"])
    clock = FakeClock()
    for scrub in (None, FAST):  # a life that builds, one that scrubs
        async with Scene(tmp_path, clock, scrub=scrub) as scene:
            region = (Region("", "disk"),)
            scene.ctx.standing = [Ground(str(root), "", region, 0, (), ()) for root in roots]
            with mock.patch.object(scrubbing, "read", reads):
                for root in roots if scrub is None else roots[:2]:
                    scene.ctx.scan(str(root))
                while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.gather(*tasks)
        clock.advance(FAST.every)
    assert most == 1
    assert read == {str(root): 1 for root in roots}


def kinds(scene: Scene) -> list[tuple[str, str]]:
    """(kind, state) of all runs, oldest first."""
    with Reader(scene.action.index.path) as reader:
        return [(run.kind, run.state) for run in reversed(reader.runs())]


@story
async def test_what_a_build_or_a_verify_has_read_is_not_read_again_at_once(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    written(tmp_path / "root", ["a", "d/b"])
    async with Scene(tmp_path, scrub=FAST) as scene:
        assert kinds(scene) == [("build", "done")]
        scene.clock.advance(FAST.every / 2)
        await scene.verify()
        scene.clock.advance(FAST.every - 1)
        await scene.follow()
        assert kinds(scene) == [("build", "done"), ("verify", "done")]
        scene.clock.advance(2)
        await scene.follow()
        assert kinds(scene)[2:] == [("scrub", "done")]
        assert (await scene.ask("runs")).runs[0].files == 2


@story
async def test_what_isnt_built_is_not_scrubbed(tmp_path: Path) -> None:
    """Also if it was once built for longer than the scrub's time."""
    (tmp_path / "root").mkdir()
    written(tmp_path / "root", ["a", "d/b"])
    begun = asyncio.Event()
    really = walking.Walk.run

    async def slow(walk: walking.Walk) -> None:
        await begun.wait()
        await really(walk)

    scene = Scene(tmp_path, scrub=FAST)
    with mock.patch.object(walking.Walk, "run", slow):
        await scene.action.recover()
        await settle()
        scene.clock.advance(2 * FAST.every)
        await settle()
        assert kinds(scene) == [("build", "running")]
        begun.set()
        await scene.follow()
    assert kinds(scene) == [("build", "done"), ("scrub", "done")]  # as old as it is by now
    await scene.action.stop(1.0)


@story
async def test_a_job_knows_better_than_a_scrub_that_looked_before_it(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    written(tmp_path / "root", ["a", "b"])
    really = scrubbing.read

    async def reads(*args: Any) -> Any:
        found = await really(*args)
        (scene.root / "a").write_text("written meanwhile")
        await scene.changed("a")
        return found

    async with Scene(tmp_path) as scene:
        scene.action.options = Options(algorithm="sha512", scrub=FAST)  # so that what it reads is put
        scene.clock.advance(FAST.every)
        with mock.patch.object(scrubbing, "read", reads):
            scene.action.runs.cycle.reschedule()
            await scene.follow()
        assert kinds(scene)[1:] == [("scrub", "done")]
        rows = scene.rows()
        assert rows["a"].digest == hashlib.sha512(b"written meanwhile").digest()
        assert rows["b"].digest == hashlib.sha512(b"b").digest()


@story
async def test_a_scrub_that_fails_goes_on_later(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    written(tmp_path / "root", ["a", "b"])
    async with Scene(tmp_path, scrub=FAST) as scene:
        with mock.patch.object(scrubbing, "read", side_effect=StateError("the disk is full")):
            scene.clock.advance(FAST.every)
            await scene.follow()
        assert kinds(scene)[1:] == [("scrub", "running")]
        scene.clock.advance(60.0)
        await scene.follow()
        assert kinds(scene)[1:] == [("scrub", "done")]


@story
async def test_a_clock_that_was_wrong_holds_up_no_scrub(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    written(tmp_path / "root", ["a"])
    clock = FakeClock()
    clock.advance(10 * 365 * 86400.0)
    async with Scene(tmp_path, clock, scrub=FAST) as scene:
        scene.clock.set_wall(START)
        scene.action.runs.cycle.reschedule()
        await scene.follow()
        assert scene.ctx.timers.due["scrub"] == START + FAST.every
