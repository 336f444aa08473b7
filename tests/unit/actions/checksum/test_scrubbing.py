"""The scrub's pace, and how it makes way."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from filewatchd.actions.checksum import scrubbing
from filewatchd.actions.checksum.options import Scrub
from filewatchd.actions.checksum.scrubbing import Pace, step_back
from filewatchd.actions.given import Ground
from filewatchd.model import Region
from filewatchd.work.pressure import idle, pressure
from tests.unit.actions.checksum.scene import Scene, story, written


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
    for scrub in (None, Scrub(every=3600.0, rate=1e12, files=1e9)):  # a life that builds, one that scrubs
        async with Scene(tmp_path, scrub=scrub) as scene:
            region = (Region("", "disk"),)
            scene.ctx.standing = [Ground(str(root), "", region, 0, (), ()) for root in roots]
            with mock.patch.object(scrubbing, "read", reads):
                for root in roots if scrub is None else roots[:2]:
                    scene.ctx.scan(str(root))
                while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.gather(*tasks)
    assert most == 1
    assert read == {str(root): 1 for root in roots}
