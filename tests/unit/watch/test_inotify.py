"""The backend inotify on the real kernel: the stories of all, and what through a watcher only a race shows."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filewatchd.watch.backends.base import (
    AnchorMoved,
    Armed,
    DirtyNames,
    Event,
    Given,
    Lost,
    NewDirectory,
    TopGone,
)
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.work.exchange import exchange
from filewatchd.work.pool import Pool
from tests.unit.watch.root_stories import RootStories
from tests.unit.watch.stories import Rig, Stories


class TestInotify(Stories, RootStories):
    def backend(self, pool: Pool) -> InotifyBackend:
        return InotifyBackend()

    def test_names_that_are_exchanged_all_the_time_are_walked_a_few_times(self, rig: Rig, tmp_path: Path) -> None:
        """Each exchange is a new directory twice, and anybody can do a hundred thousand in a second."""

        async def story(r: Any) -> None:
            for name in ("a", "b"):
                (tmp_path / name).mkdir()
                (tmp_path / name / f"in-{name}").touch()
            _, told = await r.watch(tmp_path)
            before = r.watcher._scanning.begun
            for _ in range(2001):
                exchange(str(tmp_path / "a"), str(tmp_path / "b"))
            await r.watcher.flush()
            assert r.watcher._scanning.begun - before < 50
            assert {"a/in-b", "b/in-a"} <= told.seen
            assert {"a", "b"} <= set(told.doubted)
            assert not r.watcher._scanning._fresh

        self.play(rig, story)

    def test_more_new_directories_than_can_wait_are_found_by_comparing(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("filewatchd.watch.scanning._MOST_WALKS", 10)

        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            before = r.watcher._scanning.begun
            for number in range(200):
                (tmp_path / f"n{number}" / "b").mkdir(parents=True)
                (tmp_path / f"n{number}" / "b" / "file").touch()
            await r.watcher.flush()
            assert {f"n{number}/b/file" for number in range(200)} <= told.seen
            assert r.watcher.statistics()["rescans"] > 0
            assert r.watcher._scanning.begun - before < 200

        self.play(rig, story)


@pytest.fixture
def backend() -> Iterator[InotifyBackend]:
    """Started; it wakes nobody, and is drained by hand."""
    made = InotifyBackend()
    made.start(lambda: None)
    yield made
    made.stop()


def arm(backend: InotifyBackend, path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return backend.arm(fd)
    finally:
        os.close(fd)


def drain(backend: InotifyBackend) -> list[Event]:
    asyncio.run(backend.barrier())
    return backend.drain()


def test_a_top_that_was_deleted_between_arming_and_adoption(backend: InotifyBackend, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    watch = arm(backend, top)
    top.rmdir()
    assert drain(backend) == []
    backend.adopt([Armed(watch, 0, os.fsencode(top))])
    assert drain(backend) == [TopGone(str(top))]
    assert backend.statistics()["watches"] == 0


def test_a_directory_that_was_deleted_between_arming_and_adoption(backend: InotifyBackend, tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    above = arm(backend, tmp_path)
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path))])
    watch = arm(backend, child)
    child.rmdir()
    drain(backend)
    backend.adopt([Armed(watch, above, b"child")])
    assert drain(backend) == [NewDirectory(above, str(tmp_path), "child")]
    assert backend.statistics()["watches"] == 1


def test_what_ended_is_remembered_only_until_all_is_adopted(backend: InotifyBackend, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    one, two = arm(backend, first), arm(backend, second)
    first.rmdir()
    drain(backend)
    backend.adopt([Armed(two, 0, os.fsencode(second))])
    backend.adopt([Armed(one, 0, os.fsencode(first))])
    assert drain(backend) == [TopGone(str(first))]
    assert backend._arrivals._ended == set()


def test_a_given_back_directory_tells_what_happened_before_and_nothing_after(
    backend: InotifyBackend, tmp_path: Path
) -> None:
    async def story() -> list[Event]:
        (tmp_path / "d" / "e").mkdir(parents=True)
        above = arm(backend, tmp_path)
        one = arm(backend, tmp_path / "d")
        two = arm(backend, tmp_path / "d" / "e")
        backend.adopt([Armed(above, 0, os.fsencode(tmp_path)), Armed(one, above, b"d"), Armed(two, one, b"e")])
        (tmp_path / "d" / "e" / "before").write_text("x")
        assert backend.give_back(5, lambda path: path.startswith(f"{tmp_path}/")) == [
            Given(str(tmp_path / "d" / "e"), one),
            Given(str(tmp_path / "d"), above),
        ]
        (tmp_path / "d" / "e" / "after").write_text("x")
        await backend.barrier()
        return backend.drain()

    (only,) = asyncio.run(story())
    assert isinstance(only, DirtyNames)
    assert (only.directory, list(only.names)) == (str(tmp_path / "d" / "e"), ["before"])
    assert backend.statistics()["watches"] == 1
    assert backend.ended == 0, "nobody needs to be told: they are spoken for"


def test_what_is_anchored_or_holds_watched_directories_is_not_given_back(
    backend: InotifyBackend, tmp_path: Path
) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    above, one, two = (arm(backend, path) for path in (tmp_path, tmp_path / "d", tmp_path / "d" / "e"))
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path)), Armed(one, above, b"d"), Armed(two, one, b"e")])
    backend.anchor(two, str(tmp_path / "d" / "e"), "name")
    assert backend.give_back(5, lambda path: True) == []


def test_a_directory_armed_or_anchored_just_as_it_is_given_back(backend: InotifyBackend, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    above, one = arm(backend, tmp_path), arm(backend, tmp_path / "d")
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path)), Armed(one, above, b"d")])
    (tmp_path / "busy").mkdir()
    arm(backend, tmp_path / "busy")  # a scan is under way
    assert len(backend.give_back(1, lambda path: True)) == 1
    backend.adopt([Armed(one, above, b"d")])
    assert NewDirectory(above, str(tmp_path), "d") in drain(backend)
    backend.anchor(one, str(tmp_path / "d"), "name")
    assert drain(backend) == [AnchorMoved(str(tmp_path / "d"), "name", True)]


def test_a_watch_armed_to_see_whether_it_can_be_had_is_given_back_unless_it_is_in_use(
    backend: InotifyBackend, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    above, probed = arm(backend, tmp_path), arm(backend, tmp_path / "d")
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path))])
    backend.disarm(probed)
    backend.disarm(above)
    (tmp_path / "d" / "unheard").write_text("x")
    (tmp_path / "heard").write_text("x")
    (only,) = drain(backend)
    assert isinstance(only, DirtyNames)
    assert list(only.names) == ["heard"]


def test_to_prove_another_directory_leaves_no_watch_on_it(backend: InotifyBackend, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    above = arm(backend, tmp_path)
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path))])
    fd = os.open(tmp_path / "d", os.O_RDONLY)
    try:
        assert not backend.proves(fd, above)
    finally:
        os.close(fd)
    fdinfo = Path(f"/proc/self/fdinfo/{backend._kernel.fd}").read_text()
    assert fdinfo.count("inotify wd:") == 1


def test_what_happens_in_a_renamed_directory_is_told_under_its_new_name(
    backend: InotifyBackend, tmp_path: Path
) -> None:
    """A scan has armed and listed it there; until that is adopted, the table has its old name."""
    (tmp_path / "old").mkdir()
    above, one = arm(backend, tmp_path), arm(backend, tmp_path / "old")
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path)), Armed(one, above, b"old")])
    (tmp_path / "old").rename(tmp_path / "new")
    assert arm(backend, tmp_path / "new") == one
    drain(backend)
    (tmp_path / "new" / "file").write_text("x")
    (tmp_path / "new" / "below").mkdir()
    assert drain(backend) == []
    backend.adopt([Armed(one, above, b"new")])
    below, names = drain(backend)
    assert below == NewDirectory(one, str(tmp_path / "new"), "below")
    assert isinstance(names, DirtyNames)
    assert (names.directory, list(names.names)) == (str(tmp_path / "new"), ["file"])


def test_a_directory_that_moves_on_is_at_the_place_of_its_last_adoption(
    backend: InotifyBackend, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    above, one = arm(backend, tmp_path), arm(backend, tmp_path / "a")
    backend.adopt([Armed(above, 0, os.fsencode(tmp_path))])
    (tmp_path / "a").rename(tmp_path / "b")
    arm(backend, tmp_path / "b")
    drain(backend)
    (tmp_path / "b" / "file").write_text("x")
    backend.adopt([Armed(one, above, b"a")])
    assert drain(backend) == []
    backend.adopt([Armed(one, above, b"b")])
    (only,) = drain(backend)
    assert isinstance(only, DirtyNames)
    assert only.directory == str(tmp_path / "b")


def test_more_than_can_be_parked_is_an_overflow(
    backend: InotifyBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were listed before: the next listing has to be asked for."""
    monkeypatch.setattr("filewatchd.watch.backends.inotify_arrivals._MOST_PARKED", 5)
    arm(backend, tmp_path)
    for number in range(5):
        (tmp_path / f"{number}").touch()
    assert drain(backend) == []
    (tmp_path / "one").touch()
    assert drain(backend) == []
    (tmp_path / "more").touch()
    assert drain(backend) == [Lost()]
    assert drain(backend) == []


def test_events_of_a_directory_that_is_gone_are_not_kept(backend: InotifyBackend, tmp_path: Path) -> None:
    for number in range(50):
        child = tmp_path / str(number)
        child.mkdir()
        backend.adopt([Armed(arm(backend, child), 0, os.fsencode(child))])
        (child / "file").touch()
        shutil.rmtree(child)
        assert set(drain(backend)) == {TopGone(str(child))}
    assert backend.statistics()["parked"] == 0


def test_a_quiet_watch_tells_of_names_and_not_of_writes(backend: InotifyBackend, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        watch = backend.arm_quietly(fd)
    finally:
        os.close(fd)
    backend.adopt([Armed(watch, 0, os.fsencode(tmp_path))])
    log = tmp_path / "log"
    log.touch()
    assert [event.names.keys() for event in drain(backend) if isinstance(event, DirtyNames)] == [{"log"}]
    for _ in range(100):
        with log.open("a") as file:
            file.write("line\n")
    assert drain(backend) == []
    assert arm(backend, tmp_path) == watch, "somebody else wants to know of writes"
    backend.adopt([Armed(watch, 0, os.fsencode(tmp_path))])
    log.write_text("line\n")
    assert [event.names.keys() for event in drain(backend) if isinstance(event, DirtyNames)] == [{"log"}]
