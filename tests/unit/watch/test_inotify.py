"""The backend inotify on the real kernel: the stories of all, and what through a watcher only a race shows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.watch.backends.base import Armed, Event, NewDirectory, TopGone
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.work.pool import Pool
from tests.unit.watch.root_stories import RootStories
from tests.unit.watch.stories import Stories


class TestInotify(Stories, RootStories):
    def backend(self, pool: Pool) -> InotifyBackend:
        return InotifyBackend()


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
