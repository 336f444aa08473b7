"""The budget of watches, with a backend that has just so many, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from filewatchd.model import RootState
from filewatchd.testing.backend import ScriptedBackend
from filewatchd.testing.clock import FakeClock
from filewatchd.watch.backends.base import GoneDirectory, Lost, NewDirectory, WatchLimitError
from filewatchd.watch.roots import Root
from filewatchd.watch.watcher import Watcher
from filewatchd.work.pool import Pool
from tests.unit.watch.conftest import Rig

RESERVE = 4


class Scene(Rig):
    """A watcher on a backend with a budget; it shares at once, and tries again when the clock is moved."""

    backend: ScriptedBackend
    clock: FakeClock

    async def rest(self) -> None:
        """Let everything be done that isn't waited for with the clock, but for what shall be a second apart."""
        flush = asyncio.ensure_future(self.watcher.flush())
        while not flush.done():
            if self.status["next_retry"] is not None and self.watcher._budget._urgent:
                self.clock.advance(1.0)
            await asyncio.wait([flush], timeout=0.01)
        flush.result()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.rest()

    @property
    def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.watcher.statistics()["budget"]
        return found

    def watched(self, root: Root) -> int:
        assert root.top is not None
        return self.backend.census([root.top])[root.top]


class Crowded(ScriptedBackend):
    """It also has a limit of the directories watched for names in them, or for what is written to them."""

    names = contents = True

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        if not (self.contents if contents else self.names):
            raise WatchLimitError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().arm_anchor(fd)


@asynccontextmanager
async def scene(budget: int | None = None, backend: ScriptedBackend | None = None) -> AsyncIterator[Scene]:
    clock, backend = FakeClock(), backend or ScriptedBackend(budget=budget)

    def later(seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        return clock.call_at(clock.monotonic() + seconds, callback)

    watcher = Watcher(backend, Pool(), clock, later=later)
    watcher.start()
    made = Scene(watcher, backend)
    made.backend, made.clock = backend, clock
    try:
        yield made
    finally:
        watcher.stop()


def told(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def tree(top: Path, number: int, *, files: bool = False) -> Path:
    for each in range(number):
        (top / f"d{each:03}").mkdir(parents=True)
        if files:
            (top / f"d{each:03}" / "file").write_text("x")
    return top


def made(s: Scene, root: Root, name: str) -> None:
    """A directory comes to be in a root's top, and the backend tells."""
    top = Path(str(root.top))
    (top / name).mkdir()
    token = next(t for t in s.backend.table if s.backend.table.path(t) == str(top))
    s.backend.feed(NewDirectory(token, str(top), name))


def test_watches_that_come_free_are_taken_and_what_had_none_is_compared(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(30) as s:
            root, heard = await s.watch(tree(tmp_path / "r", 60, files=True))
            await s.rest()
            assert root.state.value == "degraded"
            assert len(root.failed) == 61 - 30 + RESERVE
            missing = {f"{Path(path).name}/file" for path in root.failed}
            heard.forget()
            s.backend.budget = 1000
            await s.rest()
            assert root.failed, "nobody tells that watches are free"
            await s.pass_time(1.0)
            assert root.state is RootState.LIVE
            assert root.failed == {}
            assert set(heard.scanned) == missing, "the rest of the tree isn't walked again"
            assert s.status["next_retry"] is None

    told(story)


def test_tries_are_ever_further_apart_and_cost_no_more_than_the_reserve(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(30) as s:
            root, heard = await s.watch(tree(tmp_path / "r", 60))
            await s.rest()
            heard.forget()
            waits = []
            for _ in range(8):
                waits.append(s.status["next_retry"])
                before = s.backend.calls
                await s.pass_time(s.status["next_retry"])
                assert s.backend.calls - before == RESERVE + 1
            assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
            assert (s.watched(root), s.status["retries"]) == (30 - RESERVE, 9)
            assert not heard.appeared, "not even a comparison was begun"

    told(story)


def test_others_who_take_the_reserve_get_no_more_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(30) as s:
            root, _ = await s.watch(tree(tmp_path / "r", 60))
            await s.rest()
            for _ in range(5):
                s.backend.budget = s.watched(root)
                before = s.backend.calls
                await s.pass_time(60)
                assert s.backend.calls - before == 1, "one refused call"
            assert s.watched(root) == 30 - RESERVE

    told(story)


@pytest.mark.parametrize("first", ["greedy", "modest"])
def test_a_large_root_makes_room_for_a_small_one_whichever_comes_first(tmp_path: Path, first: str) -> None:
    async def story() -> None:
        tree(tmp_path / "greedy", 200)
        tree(tmp_path / "modest", 5)
        async with scene(60) as s:
            await s.watch(tmp_path / first)
            await s.rest()
            await s.watch(tmp_path / ("modest" if first == "greedy" else "greedy"))
            await s.rest()
            greedy, modest = (
                next(r for r in s.watcher.roots.values() if r.path.endswith(n)) for n in ("greedy", "modest")
            )
            assert (greedy.state, modest.state) == (RootState.DEGRADED, RootState.LIVE)
            assert s.watched(modest) == 6
            assert s.watched(greedy) == 60 - 6 - RESERVE
            assert len(greedy.failed) == 201 - s.watched(greedy)
            for number in range(RESERVE):
                made(s, modest, f"fresh{number}")
            retries = s.status["retries"]
            await s.rest()
            assert modest.state is RootState.LIVE
            assert s.status["retries"] == retries, "they were to be had from the reserve"
            for number in range(10):
                made(s, modest, f"more{number}")
            await s.rest()
            assert modest.state is RootState.LIVE
            assert s.watched(modest) == 6 + RESERVE + 10

    told(story)


def test_a_rescan_of_the_large_root_disturbs_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(60) as s:
            greedy, _ = await s.watch(tree(tmp_path / "greedy", 200))
            modest, _ = await s.watch(tree(tmp_path / "modest", 5))
            await s.rest()
            states = []
            for _ in range(3):
                s.watcher._scanning.rescan(greedy)
                await s.rest()
                states.append((s.watched(greedy), s.watched(modest), modest.state))
            assert states == [(60 - 6 - RESERVE, 6, RootState.LIVE)] * 3
            s.backend.feed(Lost())
            await s.rest()
            assert (s.watched(greedy), s.watched(modest), modest.state) == states[0]

    told(story)


def test_two_large_roots_leave_each_other_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(60) as s:
            one, _ = await s.watch(tree(tmp_path / "one", 200))
            two, _ = await s.watch(tree(tmp_path / "two", 200))
            await s.rest()
            shares = (s.watched(one), s.watched(two))
            assert max(shares) <= 2 * min(shares) + RESERVE
            given = s.status["given_back"]
            for _ in range(5):
                await s.pass_time(60)
            assert (s.watched(one), s.watched(two)) == shares
            assert s.status["given_back"] == given

    told(story)


def test_a_directory_of_a_small_root_within_a_large_one_is_not_given_back(tmp_path: Path) -> None:
    async def story() -> None:
        top = tree(tmp_path / "large", 40)
        tree(top / "z-inner", 4)
        tree(tmp_path / "small", 5)
        async with scene(1000) as s:
            large, _ = await s.watch(top)
            inner, _ = await s.watch(top / "z-inner")
            s.backend.budget = s.backend.table.count
            small, _ = await s.watch(tmp_path / "small")
            await s.rest()
            assert [root.state for root in (large, inner, small)] == [
                RootState.DEGRADED, RootState.LIVE, RootState.LIVE,
            ]  # fmt: skip
            assert s.watched(inner) == 5

    told(story)


def test_a_whole_tree_that_was_given_back_is_one_missing_directory_and_comes_back_whole(tmp_path: Path) -> None:
    async def story() -> None:
        for number in range(12):
            (tmp_path / "large" / "z" / f"{number}" / "below").mkdir(parents=True)
            (tmp_path / "large" / "z" / f"{number}" / "below" / "file").write_text("x")
        async with scene(1000) as s:
            large, heard = await s.watch(tmp_path / "large")
            whole = s.backend.budget = s.backend.table.count
            small, _ = await s.watch(tree(tmp_path / "small", 7))
            await s.rest()
            assert small.state is RootState.LIVE
            assert any(Path(path).parent.name == "z" for path in large.failed), "a directory with one in it"
            assert not any(str(Path(path).parent) in large.failed for path in large.failed)
            given = [path.removesuffix("/below") for path in large.failed]
            assert "max_user_watches" in large.why
            heard.forget()
            s.backend.budget = 1000
            await s.pass_time(60)
            assert large.state is RootState.LIVE
            assert s.watched(large) == whole
            assert {f"z/{Path(path).name}/below/file" for path in given} == set(heard.scanned)

    told(story)


def test_what_one_root_gives_back_the_other_has_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(30) as s:
            one, _ = await s.watch(tree(tmp_path / "one", 25))
            two, told_two = await s.watch(tree(tmp_path / "two", 25))
            await s.rest()
            for _ in range(6):
                await s.pass_time(60)
            s.watcher.set_roots({two.key: [told_two]})
            await s.rest()
            assert two.state is RootState.LIVE
            assert one.state is not RootState.LIVE

    told(story)


def test_a_missing_directory_that_goes_is_missed_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(30) as s:
            root, heard = await s.watch(tree(tmp_path / "r", 32))
            await s.rest()
            gone = sorted(root.failed)
            for path in gone:
                shutil.rmtree(path)
            s.backend.feed(*(GoneDirectory(str(tmp_path / "r"), Path(path).name) for path in gone))
            await s.rest()
            assert root.state is RootState.LIVE
            assert set(heard.doubted) == {Path(path).name for path in gone}
            await s.pass_time(60)
            assert s.status["next_retry"] is None

    told(story)


# ---- what is on the way


def test_a_way_that_cant_be_watched_degrades_its_root_and_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        backend = Crowded()
        backend.names = False
        async with scene(backend=backend) as s:
            root, _ = await s.watch(tree(tmp_path / "r", 3))
            await s.rest()
            assert root.state.value == "degraded"
            assert root.statistics()["missing"] == 1
            assert f"on the way to {tmp_path / 'r'} are watched: no inotify watch is left" in root.why
            backend.names = True
            await s.pass_time(60)
            assert root.state is RootState.LIVE
            assert backend.anchors[str(tmp_path)] == {"r"}
            assert s.status["next_retry"] is None

    told(story)


def test_a_root_that_waits_out_of_sight_is_found_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        backend = Crowded()
        backend.names = False
        async with scene(backend=backend) as s:
            root, _ = await s.watch(tmp_path / "r")
            await s.rest()
            assert root.why.startswith(f"waits for r in {tmp_path}; not all directories on the way are watched")
            backend.names = True
            tree(tmp_path / "r", 1)
            await s.pass_time(60)
            assert root.state is RootState.LIVE

    told(story)


def test_the_way_of_a_followed_symlink_counts_as_well(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "outside").write_text("x")
        tree(tmp_path / "r", 1)
        (tmp_path / "r" / "link").symlink_to(tmp_path / "outside")
        backend = Crowded()
        backend.contents = False
        async with scene(backend=backend) as s:
            root, heard = await s.watch(tmp_path / "r", follow=True)
            await s.rest()
            assert root.state.value == "degraded"
            assert f"on the way to {tmp_path / 'r' / 'link'} are watched" in root.why
            backend.contents = True
            heard.forget()
            await s.pass_time(60)
            assert root.state is RootState.LIVE
            assert "link" in heard.seen, "it is looked at once more now that it is watched"

    told(story)


def test_a_large_root_makes_room_for_a_way(tmp_path: Path) -> None:
    class Shared(ScriptedBackend):
        """Directories for single names come out of the same budget."""

        def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
            return self.arm(fd)

    async def story() -> None:
        async with scene(backend=Shared()) as s:
            large, _ = await s.watch(tree(tmp_path / "large", 40))
            (tmp_path / "new").mkdir()
            s.backend.budget = len(s.backend._of)
            small, _ = await s.watch(tmp_path / "new" / "small")
            await s.rest()
            assert small.why == f"waits for small in {tmp_path / 'new'}"
            assert large.state is RootState.DEGRADED

    told(story)
