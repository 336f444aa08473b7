"""Polling a real tree: after a flush every change has been told, whatever it was, as the watching backends would."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from filewatchd.clock import SystemClock
from filewatchd.model import FileIdentity, Hint
from filewatchd.testing.clock import FakeClock, settle
from filewatchd.testing.waiting import eventually
from filewatchd.watch.backends import believed, poll
from filewatchd.watch.backends.base import (
    ANY,
    AnchorMoved,
    Armed,
    Backend,
    DirtyNames,
    Event,
    Forgetful,
    GoneDirectory,
    NewDirectory,
    TopGone,
)
from filewatchd.watch.backends.pacing import Device, next_interval, rest_for
from filewatchd.watch.backends.poll import PollBackend, build
from filewatchd.watch.backends.snapshot import Looked, Wanted, look_at, take
from filewatchd.watch.dirty import HINTS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MODIFY
from filewatchd.work.pool import Pool
from tests.unit.watch.root_stories import RootStories
from tests.unit.watch.stories import Stories

Rig = Callable[..., Any]
Story = Callable[[Any], Any]
WRITTEN = Hint.LIVE | Hint.WRITE


class TestPoll(Stories, RootStories):
    closes = False
    pairs = False  # the rule finds them, by inode

    def backend(self, pool: Pool) -> Backend:
        return build(pool, SystemClock(), Forgetful())

    def directories(self, r: Any) -> int:
        return int(r.backend.statistics()["directories"])


@pytest.fixture
def polling(rig: Rig) -> Callable[[], Any]:
    @asynccontextmanager
    async def made(patience: float = 10.0) -> AsyncIterator[Any]:
        pool = Pool(patience=patience)
        async with rig(build(pool, SystemClock(), Forgetful()), pool) as r:
            yield r
        pool.close()

    return made


def test_created_modified_rewritten_chmodded_and_deleted(polling: Rig, tmp_path: Path) -> None:
    file = tmp_path / "a"
    steps: list[tuple[Callable[[], Any], int]] = [
        (lambda: file.write_text("1"), HINTS[IN_CREATE]),
        (lambda: file.write_text("longer"), HINTS[IN_MODIFY]),
        (lambda: file.write_text("equal!"), HINTS[IN_MODIFY]),
        (lambda: file.chmod(0o600), HINTS[IN_ATTRIB]),
        (lambda: os.link(file, tmp_path.parent / "elsewhere"), HINTS[IN_ATTRIB]),
        (file.unlink, HINTS[IN_DELETE]),
    ]

    async def story() -> None:
        async with polling() as r:
            _, told = await r.watch(tmp_path)
            for step, hint in steps:
                step()
                await r.watcher.flush()
                assert told.marked == [("a", hint)]
                told.forget()
            await r.watcher.flush()
            assert not told.seen, "nothing happened"

    asyncio.run(story())


def test_what_a_job_saw_between_two_passes_is_told_if_it_is_not_what_the_next_one_sees(
    polling: Rig, tmp_path: Path
) -> None:
    """Two directories changed places and back: the passes agree, and the job saw the other one's file."""
    (tmp_path / "a").write_text("x")
    status = (tmp_path / "a").stat()
    seen = FileIdentity(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    looks: list[tuple[str, FileIdentity | None, list[str]]] = [
        ("a", seen, []),
        ("a", seen._replace(ino=seen.ino + 1), ["a"]),
        ("a", None, ["a"]),
        ("gone", None, []),
        ("gone", seen, ["gone"]),
    ]

    async def story() -> None:
        async with polling() as r:
            _, told = await r.watch(tmp_path)
            for name, identity, expected in looks:
                told.forget()
                r.watcher.looked(str(tmp_path / name), identity)
                await r.watcher.flush()
                assert told.marked == [(path, HINTS[IN_MODIFY]) for path in expected]
                await r.watcher.flush()
                assert len(told.marked) == len(expected), "once"

    asyncio.run(story())


def test_looks_in_directories_that_are_gone_make_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(believed, "_MOST", 3)
    looks = believed.Believed()
    for number in range(10):
        looks.looked(f"/gone{number}/a", None)
    looks.looked(f"{tmp_path}/a", FileIdentity(1, 2, 3, 4))
    fd = os.open(tmp_path, os.O_RDONLY)
    assert looks.differing(str(tmp_path), take(fd, 0.0)) == {"a": HINTS[IN_MODIFY]}
    os.close(fd)


def test_files_made_while_a_tree_is_walked_are_all_told(polling: Rig, tmp_path: Path) -> None:
    def make() -> None:
        for number in range(300):
            directory = tmp_path / f"d{number % 60}" / f"e{number}"
            directory.mkdir(parents=True)
            (directory / "file").write_text("x")

    async def story() -> None:
        async with polling() as r:
            _, told = await r.watch(tmp_path)
            maker = asyncio.get_running_loop().run_in_executor(None, make)
            while not maker.done():
                await r.watcher.flush()
            await maker
            await r.watcher.flush()
            assert {f"d{n % 60}/e{n}/file" for n in range(300)} <= told.seen

    asyncio.run(story())


def test_a_tree_moved_in_across_and_out(polling: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with polling() as r:
            outside, root = tmp_path / "outside", tmp_path / "root"
            (outside / "deep").mkdir(parents=True)
            (outside / "deep" / "old").write_text("x")
            (root / "left").mkdir(parents=True)
            (root / "right").mkdir()
            _, told = await r.watch(root)
            outside.rename(root / "left" / "tree")
            await r.watcher.flush()
            assert "left/tree/deep/old" in told.seen
            (root / "left" / "tree" / "deep" / "later").write_text("x")
            await r.watcher.flush()
            assert "left/tree/deep/later" in told.seen
            told.forget()
            (root / "left" / "tree").rename(root / "right" / "tree")
            await r.watcher.flush()
            assert told.doubted == ["left/tree"]
            assert ("left/tree/deep/old", "right/tree/deep/old") in told.pairs
            told.forget()
            (root / "right" / "tree").rename(tmp_path / "gone")
            await r.watcher.flush()
            assert told.doubted == ["right/tree"]
            told.forget()
            (tmp_path / "gone" / "deep" / "ghost").write_text("x")
            await r.watcher.flush()
            assert not told.seen
            assert r.backend.statistics()["directories"] == 3

    asyncio.run(story())


def test_a_directory_becomes_a_file_and_a_directory_again(polling: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with polling() as r:
            place = tmp_path / "x"
            place.mkdir()
            (place / "f").write_text("x")
            _, told = await r.watch(tmp_path)
            told.forget()
            shutil.rmtree(place)
            place.write_text("a file now")
            await r.watcher.flush()
            assert (told.doubted, told.marked) == (["x"], [("x", HINTS[IN_CREATE])])
            told.forget()
            place.unlink()
            place.mkdir()
            (place / "g").write_text("x")
            await r.watcher.flush()
            assert told.seen == {"x", "x/g"}

    asyncio.run(story())


def test_followed_symlinks_are_marked_when_their_target_changes(polling: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with polling() as r:
            root_path, away = tmp_path / "root", tmp_path / "away"
            root_path.mkdir()
            away.mkdir()
            (away / "target").write_text("1")
            (root_path / "link").symlink_to(away / "target")
            _, told = await r.watch(root_path, follow=True)
            await r.watcher.flush()
            told.forget()
            await r.watcher.flush()
            assert not told.seen, "nothing happened"
            (away / "target").write_text("2")
            await r.watcher.flush()
            assert ("link", WRITTEN) in told.marked

    asyncio.run(story())


def test_names_of_any_bytes_pipes_and_symlinks(polling: Rig, tmp_path: Path) -> None:
    names = [b"line\nbreak", b" spaces ", b"-rf", b"*?[", b"\xff\xfe", b"n" * 255]

    async def story() -> None:
        async with polling() as r:
            _, told = await r.watch(tmp_path)
            for name in names:
                (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_text("x")
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "loop").symlink_to(tmp_path)
            await r.watcher.flush()
            assert {os.fsdecode(n) for n in names} | {"pipe", "loop"} == told.seen

    asyncio.run(story())


def test_an_unreadable_directory_is_not_gone_and_is_walked_once_it_is_readable(
    polling: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: set[str] = set()
    really_open = os.open

    def opens(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).rpartition("/")[2] in closed:
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *args, **kwargs)

    async def story() -> None:
        async with polling() as r:
            for name in ("early", "late"):
                (tmp_path / name).mkdir()
                (tmp_path / name / "f").write_text("x")
            monkeypatch.setattr(os, "open", opens)
            closed.add("early")
            root, told = await r.watch(tmp_path)
            assert root.state.value == "degraded"
            told.forget()
            closed.add("late")
            (tmp_path / "late" / "g").write_text("x")
            await r.watcher.flush()
            assert (told.doubted, told.seen) == ([], set()), "it can't be told"
            closed.clear()
            (tmp_path / "early").chmod(0o711)
            await r.watcher.flush()
            assert told.seen == {"early/f", "late/g"}
            assert root.state.value == "live"

    asyncio.run(story())


class Mess:
    """Does whatever can be done to a tree, at random."""

    def __init__(self, top: Path, outside: Path, seed: int) -> None:
        self.top, self.outside = top, outside
        self.random = random.Random(seed)
        self.number = 0

    def files(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for directory, _, names in os.walk(self.top):
            for name in names:
                path = Path(directory) / name
                info = path.stat()
                identity = (info.st_ino, info.st_size, info.st_mtime_ns)
                found[str(path.relative_to(self.top))] = identity
        return found

    def directories(self) -> list[Path]:
        return [Path(directory) for directory, _, _ in os.walk(self.top)]

    def make(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            somewhere = self.random.choice(self.directories())
            step = self.random.choice(
                [self.write, self.write, self.fresh, self.rename, self.remove, self.out, self.back]
            )
            step(somewhere)

    def write(self, at: Path) -> None:
        (at / f"f{self.random.randrange(3)}").write_text(f"{self.number:8}")

    def fresh(self, at: Path) -> None:
        deep = at / f"d{self.random.randrange(3)}" / "deep"
        deep.mkdir(parents=True, exist_ok=True)
        self.write(deep)

    def rename(self, at: Path) -> None:
        target = self.random.choice(self.directories()) / f"d{self.random.randrange(3)}"
        if at != self.top and not target.exists() and at not in target.parents:
            at.rename(target)
        for file in [entry for entry in target.parent.iterdir() if entry.is_file()][:1]:
            file.rename(target.parent / f"f{self.random.randrange(3)}")

    def remove(self, at: Path) -> None:
        if at != self.top and self.random.random() < 0.5:
            shutil.rmtree(at)

    def out(self, at: Path) -> None:
        if at != self.top:
            at.rename(self.outside / str(self.number))

    def back(self, at: Path) -> None:
        for away in list(self.outside.iterdir())[:1]:
            away.rename(at / f"b{self.number}")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_to_a_tree_is_told(polling: Rig, tmp_path: Path, seed: int) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    top.mkdir()
    outside.mkdir()
    mess = Mess(top, outside, seed)
    mess.make(20)

    async def story() -> None:
        async with polling() as r:
            root, told = await r.watch(top)
            await r.watcher.flush()
            before = mess.files()
            for count in (1, 1, 2, 3, 5, 8, 13, 40, 40, 40, 100, 2, 1):
                told.forget()
                making = asyncio.get_running_loop().run_in_executor(None, mess.make, count)
                while count >= 40 and not making.done():
                    await r.watcher.flush()
                await making
                await r.watcher.flush()
                after = mess.files()
                unsaid = {path for path, _ in before.items() ^ after.items()} - told.seen
                doubted = tuple(f"{directory}/" for directory in told.doubted)
                assert not {path for path in unsaid if not path.startswith(doubted)}
                assert root.state.value == "live"
                directories = {token: r.backend.table.path(token) for token in r.backend.table}
                assert sorted(map(str, directories.values())) == sorted(map(str, mess.directories()))
                before = after

    asyncio.run(story())


# ---- barriers


class Gate:
    """Holds the pass up after it has looked."""

    def __init__(self) -> None:
        self.looked, self.go_on = threading.Event(), threading.Event()

    def __call__(self, wanted: Sequence[Wanted], trusting: bool, monotonic: Callable[[], float]) -> Looked:
        looked = look_at(wanted, trusting, monotonic)
        self.looked.set()
        assert self.go_on.wait(30)
        return looked


def test_a_pass_under_way_does_not_count_for_a_barrier(
    polling: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    async def story() -> None:
        async with polling() as r:
            _, told = await r.watch(tmp_path)
            monkeypatch.setattr(poll, "look_at", gate)
            early = asyncio.create_task(r.backend.barrier())
            await r.until(gate.looked.is_set, "a pass that has looked")
            (tmp_path / "a").write_text("x")
            late = asyncio.create_task(r.backend.barrier())
            gate.go_on.set()
            await early
            assert not late.done()
            await late
            await r.until(lambda: ("a", HINTS[IN_CREATE]) in told.marked, "the file")

    asyncio.run(story())


def test_a_filesystem_that_hangs_holds_up_no_barrier(
    polling: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    async def story() -> None:
        async with polling(patience=0.05) as r:
            await r.watch(tmp_path)
            monkeypatch.setattr(poll, "look_at", gate)
            await r.backend.barrier()
            assert not gate.go_on.is_set(), "it still hangs"
            gate.go_on.set()
            await r.backend.barrier()

    asyncio.run(story())


# ---- the pace


def test_the_interval_grows_while_nothing_changes(polling: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with polling() as r:
            await r.watch(tmp_path)
            intervals = []
            for number in range(8):
                if number == 6:
                    (tmp_path / "a").write_text("x")
                await r.watcher.flush()
                intervals.append(r.backend.statistics()["interval"])
            assert sorted(intervals[1:6]) == intervals[1:6]
            assert intervals[5] == 10
            assert intervals[6:] == [1, 2]

    asyncio.run(story())


def test_pace() -> None:
    assert [next_interval(1, False), next_interval(8, False), next_interval(10, True)] == [2, 10, 1]
    assert rest_for(0.5, 0.05) == pytest.approx(9.5)
    assert rest_for(0.01, 0.20) == pytest.approx(0.04)


def test_a_pass_rests_in_proportion_and_an_urgent_one_does_not() -> None:
    async def story() -> None:
        clock = FakeClock()
        device = Device(1, clock.monotonic)
        device.begin()
        resting = asyncio.create_task(device.breathe(0.01))
        await settle()
        clock.advance(0.039)
        await settle()
        assert not resting.done()
        clock.advance(0.002)
        await asyncio.wait_for(resting, 10)
        device.end(False)
        assert device.ask() == 2
        await device.rest()
        device.begin()
        await device.breathe(1000.0)
        assert device.urgent
        assert device.pause == pytest.approx(19_000)

    asyncio.run(story())


# ---- the protocol


class Bare:
    """A backend without a watcher."""

    def __init__(self, clock: Any) -> None:
        self.backend = PollBackend(Pool(), clock)
        self.woken = 0
        self.backend.start(self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def arm(self, path: Path) -> int:
        fd = os.open(path, os.O_RDONLY)
        try:
            return self.backend.arm(fd)
        finally:
            os.close(fd)

    def anchor(self, path: Path, name: str, *, contents: bool = False) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            token = self.backend.arm_anchor(fd, contents=contents)
        finally:
            os.close(fd)
        self.backend.anchor(token, str(path), name)

    async def events(self) -> list[Event]:
        await self.backend.barrier()
        return self.backend.drain()


def bare(story: Callable[[Bare], Any], clock: Any = None) -> None:
    async def told() -> None:
        b = Bare(clock or SystemClock())
        try:
            await story(b)
        finally:
            b.backend.stop()

    asyncio.run(told())


def test_events_of_a_pass_in_order(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "f").write_text("x")
    top = str(tmp_path)

    async def story(b: Bare) -> None:
        root = b.arm(tmp_path)
        assert b.arm(tmp_path) == root, "known, so not looked at again"
        b.backend.adopt([Armed(root, 0, os.fsencode(tmp_path)), Armed(b.arm(tmp_path / "a"), root, b"a")])
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "b").chmod(0o700)
        (tmp_path / "f").unlink()
        assert await b.events() == [
            GoneDirectory(top, "a", moved=True, renamed=True),
            NewDirectory(root, top, "c", source=(top, "a")),
            NewDirectory(root, top, "b", fresh=False),
            DirtyNames(top, {"f": HINTS[IN_DELETE]}),
        ]
        assert b.backend.drain() == []
        shutil.rmtree(tmp_path)
        assert await b.events() == [TopGone(top)]
        assert await b.events() == []

    bare(story)


def test_what_was_forgotten_before_it_was_adopted_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    clock = FakeClock()

    async def story(b: Bare) -> None:
        root, a = b.arm(tmp_path), b.arm(tmp_path / "a")
        b.backend.adopt([Armed(root, 0, os.fsencode(tmp_path))])
        clock.advance(61)
        await b.events()
        b.backend.adopt([Armed(a, root, b"a")])
        assert b.backend.drain() == [NewDirectory(root, str(tmp_path), "a")]
        assert b.arm(tmp_path / "a") != a

    bare(story, clock)


def test_anchors_tell_of_their_first_look_and_then_of_changes(tmp_path: Path) -> None:
    top = str(tmp_path)

    async def story(b: Bare) -> None:
        b.anchor(tmp_path, "name")
        assert await b.events() == [AnchorMoved(top, "name", True)]
        b.anchor(tmp_path, "name")
        assert await b.events() == [], "anchored again is no news"
        (tmp_path / "name").write_text("x")
        (tmp_path / "other").write_text("x")
        assert await b.events() == [AnchorMoved(top, "name", True)]
        (tmp_path / "name").write_text("xx")
        assert await b.events() == [], "contents weren't asked for"
        b.anchor(tmp_path, "name", contents=True)
        (tmp_path / "name").write_text("x")
        assert await b.events() == [AnchorMoved(top, "name", False)]
        b.anchor(tmp_path, ANY)
        assert await b.events() == [AnchorMoved(top, ANY, True)]
        (tmp_path / "third").write_text("x")
        assert await b.events() == [AnchorMoved(top, ANY, True)]
        tmp_path.rename(tmp_path.parent / "moved")
        assert await b.events() == [AnchorMoved(top, "name", True), AnchorMoved(top, ANY, True)]
        assert await b.events() == []
        b.backend.unanchor(top)
        await b.events()
        await eventually(lambda: not b.backend._devices, "nothing is polled any more")

    bare(story)


def test_an_anchor_forgotten_before_it_was_taken_over_is_looked_for_again(tmp_path: Path) -> None:
    async def story(b: Bare) -> None:
        b.backend.anchor(4711, str(tmp_path), "name")
        assert b.backend.drain() == [AnchorMoved(str(tmp_path), "name", True)]

    bare(story)


def test_still_there(tmp_path: Path) -> None:
    async def story(b: Bare) -> None:
        token = b.arm(tmp_path)
        assert b.backend.still_there(token, str(tmp_path))
        assert not b.backend.still_there(token, str(tmp_path / "x"))
        assert b.backend.suspects() == {}

    bare(story)
