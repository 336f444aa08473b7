"""The backend inotify on the descriptor of an earlier life."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from filewatchd.model import Hint
from filewatchd.watch.backends.base import Armed, DirtyNames, Event
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.backends.inotify_queue import Descriptor


def arm(backend: InotifyBackend, path: Path) -> Armed:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Armed(backend.arm(fd), 0, os.fsencode(path))
    finally:
        os.close(fd)


def drain(backend: InotifyBackend) -> list[Event]:
    asyncio.run(backend.barrier())
    return backend.drain()


def retained(events: list[Event]) -> dict[str, bool]:
    dirty = [event for event in events if isinstance(event, DirtyNames)]
    return {name: bool(hint & Hint.RETAINED) for event in dirty for name, hint in event.names.items()}


@pytest.mark.parametrize("ready_first", [False, True])
def test_only_what_happened_between_two_lives_is_marked_as_such(ready_first: bool, tmp_path: Path) -> None:
    earlier = InotifyBackend()
    arm(earlier, tmp_path)
    (tmp_path / "between").touch()
    later = InotifyBackend(Descriptor(os.dup(earlier._kernel.fd)))
    later.start(lambda: None)
    assert drain(later) == []
    later.adopt([arm(later, tmp_path)])
    if ready_first:
        assert later.give_up() == 0
    assert retained(drain(later)) == {"between": True}
    later.give_up()
    again = arm(later, tmp_path)
    (tmp_path / "now").touch()
    assert drain(later) == []
    later.adopt([again])
    assert retained(drain(later)) == {"now": False}
    later.stop()
    os.close(earlier._kernel.fd)


def test_the_watches_that_nobody_asks_for_are_given_back(tmp_path: Path) -> None:
    earlier = InotifyBackend()
    for name in ("wanted", "unwanted"):
        (tmp_path / name).mkdir()
        arm(earlier, tmp_path / name)
    later = InotifyBackend(Descriptor(os.dup(earlier._kernel.fd)))
    later.start(lambda: None)
    later.adopt([arm(later, tmp_path / "wanted")])
    assert later.give_up() == 1
    (tmp_path / "unwanted" / "file").touch()
    (tmp_path / "wanted" / "file").touch()
    assert [event.directory for event in drain(later) if isinstance(event, DirtyNames)] == [str(tmp_path / "wanted")]
    later.stop()
    os.close(earlier._kernel.fd)
