"""Watching, on the real kernel: what happens in a directory reaches the subscribers, whatever happens to it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.errors import StateError
from filewatchd.model import Hint, RootState
from filewatchd.testing.backend import ScriptedBackend
from filewatchd.testing.clock import settle
from filewatchd.watch import locate, placing, scanning
from filewatchd.watch.backends.base import DirtyNames, Event, Lost, NewDirectory
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.placing import Glob
from filewatchd.watch.roots import RootKey
from tests.unit.watch.conftest import Recorder

Rig = Callable[..., Any]


def test_a_new_member_of_a_glob_appeared_and_an_old_one_did_not(rig: Rig, tmp_path: Path) -> None:
    told: dict[str, Recorder] = {}

    async def story() -> None:
        async with rig() as r:

            def members(glob: Glob) -> None:
                told.update({path: Recorder() for path in glob.members if path not in told})
                r.watcher.set_roots({RootKey(path): [recorder] for path, recorder in told.items()})

            r.watcher._placing._members = members
            (tmp_path / "one").mkdir()
            r.watcher.set_globs([f"{tmp_path}/*"])
            await r.until(lambda: len(told) == 1, "the first member")
            (tmp_path / "two").mkdir()
            await r.until(lambda: len(told) == 2 and all(t.scans for t in told.values()), "both scanned")
            assert [set(t.appeared) for t in told.values()] == [{False}, {True}]

    asyncio.run(story())


def test_what_does_not_answer_is_in_the_way_of_nothing(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first look already, and a glob's filesystem as well as a root's."""
    answers = threading.Event()

    def slow(find: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (answers.wait(60), find(*arguments))[1]

    monkeypatch.setattr(placing, "expand", slow(locate.expand))
    monkeypatch.setattr(placing, "_find", slow(placing._find))
    pattern, path = f"{tmp_path}/*", str(tmp_path)

    async def story() -> None:
        async with rig() as r:
            r.watcher.set_globs([pattern])
            r.watcher.set_roots({RootKey(path): [Recorder()]})
            assert not r.watcher.settled
            r.watcher.hangs(lambda root: True, True)
            assert not r.watcher.settled
            r.watcher.glob_hangs(pattern, True)
            assert r.watcher.settled
            await r.watcher.flush()
            answers.set()
            r.watcher.hangs(lambda root: True, False)
            r.watcher.glob_hangs(pattern, False)
            root, glob = r.watcher.roots[RootKey(path)], r.watcher.globs[pattern]
            await r.until(lambda: root.state is RootState.LIVE and glob.known, "both are looked for")

    asyncio.run(story())


def test_an_overflow_scans_every_root_again(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        backend = ScriptedBackend()
        async with rig(backend) as r:
            root, told = await r.watch(tmp_path)
            (tmp_path / "unseen").write_text("x")
            told.forget()
            backend.feed(Lost())
            await r.until(lambda: told.scanned == ["unseen"] and root.state is RootState.LIVE, "the rescan")

    asyncio.run(story())


def test_a_root_that_was_gone_when_it_was_scanned_is_scanned_again(rig: Rig, tmp_path: Path) -> None:
    """The directory that is there next may have the inode of the one before it."""

    async def story() -> None:
        class GoneOnce(InotifyBackend):
            gone = True

            def arm(self, fd: int) -> int:
                if self.gone:
                    self.gone = False
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return super().arm(fd)

        async with rig(GoneOnce()) as r:
            root, told = await r.watch(tmp_path)
            assert root.state is RootState.LIVE
            (tmp_path / "a").write_text("x")
            await r.until(lambda: "a" in told.seen, "a file in the directory that was there at last")

    asyncio.run(story())


def test_a_used_up_budget_degrades_loudly(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        for number in range(10):
            (tmp_path / f"d{number}").mkdir()
        async with rig(ScriptedBackend(budget=5)) as r:
            root, told = await r.watch(tmp_path)
            await r.until(lambda: root.state is RootState.DEGRADED, "degraded")
            assert len(root.failed) >= 5
            assert "max_user_watches" in root.why
            assert told.scans == [False]

    asyncio.run(story())


def test_a_followed_file_is_looked_at_again_once_its_way_is_watched(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        armed, go_on = threading.Event(), threading.Event()

        class Slow(InotifyBackend):
            def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
                if contents:
                    armed.set()
                    assert go_on.wait(20)
                return super().arm_anchor(fd, contents=contents)

        (tmp_path / "root").mkdir()
        (tmp_path / "outside").write_text("x")
        (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
        async with rig(Slow()) as r:
            watched = asyncio.create_task(r.watch(tmp_path / "root", follow=True))
            await r.until(armed.is_set, "the scan has seen the link")
            (tmp_path / "outside").write_text("changed while nobody watched it")
            assert not watched.done(), "the root is not live before all of it is watched"
            go_on.set()
            _, told = await watched
            assert ("link", Hint.AGAIN | Hint.STRICT) in told.marked
            (tmp_path / "outside").write_text("changed")
            await r.until(lambda: any(p == "link" and h & Hint.WRITE for p, h in told.marked), "it is watched")

    asyncio.run(story())


def test_a_flush_goes_on_as_long_as_one_thing_leads_to_another(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        class Chain(ScriptedBackend):
            links = 0

            def drain(self) -> list[Event]:
                if not self.links:
                    return super().drain()
                self.links -= 1
                return [NewDirectory(0, str(tmp_path), "new")]

        backend = Chain()
        async with rig(backend) as r:
            await r.watch(tmp_path)
            (tmp_path / "new").mkdir()
            backend.links = 8
            await r.watcher.flush()
            assert backend.links == 0

    asyncio.run(story())


def test_events_stay_with_the_backend_while_nothing_is_taken_in(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        backend = ScriptedBackend()
        async with rig(backend) as r:
            _, told = await r.watch(tmp_path)
            r.watcher.take_in(False)
            backend.feed(DirtyNames(str(tmp_path), {"a": Hint.LIVE}))
            flush = asyncio.create_task(r.watcher.flush())
            await settle()
            assert told.marked == []
            assert not flush.done()
            r.watcher.take_in(True)
            await flush
            assert [path for path, _ in told.marked] == ["a"]

    asyncio.run(story())


class Failing(Recorder):
    """A subscriber whose state can't be written ``times`` times: at the start of a scan, in it and at its end."""

    def __init__(self, where: str, times: int) -> None:
        super().__init__()
        self.where, self.times = where, times

    def fail(self, where: str) -> None:
        if where == self.where and self.times:
            self.times -= 1
            raise StateError("journal.db: database or disk is full; free space on this filesystem")

    def comparison(self, *, appeared: bool, lost: bool, came_ns: int) -> Recorder:
        self.fail("begin")
        return super().comparison(appeared=appeared, lost=lost, came_ns=came_ns)

    def compared(self, result: Any, now: float) -> None:
        self.fail("compared")
        super().compared(result, now)

    def scan_ended(self, *, whole: bool, now: float) -> None:
        self.fail("end")
        super().scan_ended(whole=whole, now=now)


@pytest.mark.parametrize("where", ["begin", "compared", "end"])
def test_a_root_is_compared_again_until_that_can_be_written(
    rig: Rig, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scanning, "_COMPARE_AGAIN", 0.01)

    async def story() -> None:
        async with rig() as r:
            (tmp_path / "a").write_text("x")
            failing = Failing(where, 3)
            key = RootKey(str(tmp_path))
            r.watcher.set_roots({key: [failing]})
            root = r.watcher.roots[key]
            await r.until(lambda: failing.scans, "it was compared")
            assert failing.scans == [True]
            assert failing.times == 0
            assert "a" in failing.scanned
            await r.until(lambda: root.state is RootState.LIVE, "it is live")

    asyncio.run(story())
    assert len([record for record in caplog.records if "is compared again later" in record.getMessage()]) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_of_directories_themselves_only_those_are_told_who_want_to_know(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    told: list[tuple[str, int]] = []
    if kept:
        monkeypatch.setattr(Recorder, "other", lambda _, path, hint, now: told.append((path, hint)), raising=False)
    top = tmp_path / "top"
    (top / "there").mkdir(parents=True)

    async def story() -> None:
        async with rig() as r:
            _, recorder = await r.watch(top)
            (top / "there").chmod(0o700)
            (top / "new/inner").mkdir(parents=True)
            top.chmod(0o700)
            (top / "file").write_text("x")
            await r.until(lambda: "file" in recorder.seen, "the file")
            if kept:
                wanted = {("there", Hint.LIVE), ("new", Hint.SCAN), ("", Hint.LIVE)}
                await r.until(lambda: wanted <= set(told), f"{wanted}")
            else:
                assert told == []
            assert {path for path, _ in recorder.marked} == {"file"}

    asyncio.run(story())
