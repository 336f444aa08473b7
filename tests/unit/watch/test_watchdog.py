"""watchdog as a backend, on the real kernel."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
)
from watchdog.observers.inotify_c import InotifyFD
from watchdog.utils import BaseThread

from filewatchd.model import Hint, RootState
from filewatchd.testing.waiting import wait_until
from filewatchd.watch.backends.base import AnchorMoved, Backend, DirtyNames, GoneDirectory, NewDirectory
from filewatchd.watch.backends.watchdog import WatchdogBackend
from filewatchd.watch.backends.watchdog_events import Telling
from filewatchd.watch.dirty import HINTS, IN_CLOSE_WRITE, IN_CREATE, IN_MODIFY
from filewatchd.work.pool import Pool
from tests.unit.watch.conftest import few_queued
from tests.unit.watch.root_stories import RootStories
from tests.unit.watch.stories import Rig, Stories


class TestWatchdog(Stories, RootStories):
    def backend(self, pool: Pool) -> Backend:
        return WatchdogBackend(pool)

    def test_a_dead_thread_of_watchdogs_is_noticed_and_replaced(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "sub").mkdir()
            _, told = await r.watch(tmp_path)
            old = r.backend._observation.observer
            old._inotify_fd.handle_event = lambda event: 1 / 0
            (tmp_path / "sub" / "unseen").write_text("x")
            await r.until(lambda: r.backend.statistics()["revivals"] == 1, "a new observer")
            assert r.backend._observation.observer is not old
            await r.until(lambda: "sub/unseen" in told.seen, "what happened meanwhile")
            (tmp_path / "sub" / "later").write_text("x")
            await r.watcher.flush()
            assert self.complete(told, "sub/later")

        self.play(rig, story)

    def test_an_overflow_ends_in_a_rescan(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "sub").mkdir()
            root, told = await r.watch(tmp_path)
            told.forget()
            with stopped(r.backend._observation.observer._inotify_fd):
                for number in range(200):
                    (tmp_path / "sub" / f"f{number}").write_text("x")
            await r.watcher.flush()
            assert {f"sub/f{number}" for number in range(200)} <= told.seen
            assert r.backend.statistics()["overflows"]
            assert told.scans
            assert root.state is RootState.LIVE

        self.play(rig, story, few_queued())

    def test_a_file_root_or_a_flat_one_watches_nothing_below(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for number in range(20):
                (tmp_path / "etc" / f"d{number}" / "deep").mkdir(parents=True)
            (tmp_path / "etc" / "conf").write_text("x")
            _, file = await r.watch(tmp_path / "etc" / "conf")
            _, flat = await r.watch(tmp_path / "etc", recursive=False)
            assert self.directories(r) < 20
            file.forget()
            flat.forget()
            (tmp_path / "etc" / "conf").write_text("y")
            await r.watcher.flush()
            assert self.complete(file, "")
            assert self.complete(flat, "conf")

        self.play(rig, story)

    def test_the_last_root_gone_leaves_no_schedule_but_our_own(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "root" / "sub").mkdir(parents=True)
            await r.watch(tmp_path / "root")
            assert r.backend.statistics()["schedules"] > 1
            r.watcher.set_roots({})
            await r.until(lambda: r.backend.statistics()["schedules"] == 1, "all ended")

        self.play(rig, story)

    def test_our_own_directory_may_vanish(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            shutil.rmtree(r.backend._barrier.directory)
            (tmp_path / "a").write_text("x")
            await r.watcher.flush()
            assert self.complete(told, "a")

        self.play(rig, story)

    def test_it_leaves_nothing_behind(self, rig: Rig, tmp_path: Path) -> None:
        before, hook = set(threading.enumerate()), threading.excepthook
        backends = []

        async def story(r: Any) -> None:
            backends.append(r.backend)
            await r.watch(tmp_path)

        self.play(rig, story)
        wait_until(
            lambda: not any(isinstance(thread, BaseThread) for thread in set(threading.enumerate()) - before),
            "no thread of watchdog's",
        )
        wait_until(lambda: not os.path.exists(backends[0]._barrier.directory), "no directory of ours")
        assert threading.excepthook is hook
        assert backends[0]._observation._ear not in logging.getLogger("watchdog").handlers
        assert logging.getLogger("watchdog").propagate


@contextmanager
def stopped(thread: InotifyFD) -> Iterator[None]:
    """Its next event waits until the block ends: the kernel's queue fills."""
    handle, go_on = thread.handle_event, threading.Event()

    def held(event: Any) -> None:
        assert go_on.wait(20)
        handle(event)

    thread.handle_event = held  # type: ignore[method-assign]
    try:
        yield
    finally:
        go_on.set()


def test_a_later_write_takes_back_that_a_file_is_complete() -> None:
    telling = Telling(lambda directory, name, moved: False)
    for event in (
        FileCreatedEvent("/r/a"),
        FileClosedEvent("/r/a"),
        FileModifiedEvent("/r/a"),
        FileClosedEvent("/r/b"),
    ):
        telling.take(event)
    telling.take(FileClosedEvent("/r/b"))
    a = HINTS[IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE] & ~Hint.CLOSED
    assert telling.all() == [DirtyNames("/r", {"a": a, "b": HINTS[IN_CLOSE_WRITE]})]


def test_a_directorys_rename_has_both_places() -> None:
    telling = Telling(lambda directory, name, moved: False)
    telling.take(DirMovedEvent("/r/a", "/r/sub/b"))
    assert telling.all() == [
        GoneDirectory("/r", "a", moved=True, renamed=True),
        NewDirectory(0, "/r/sub", "b", source=("/r", "a")),
    ]


def test_an_anchor_is_told_once_per_drain() -> None:
    telling = Telling(lambda directory, name, moved: (directory, name) == ("/", "srv"))
    telling.take(FileModifiedEvent("/srv"))
    telling.take(FileDeletedEvent("/srv"))
    telling.take(FileModifiedEvent("/var"))
    assert [event for event in telling.all() if isinstance(event, AnchorMoved)] == [AnchorMoved("/", "srv", True)]


def test_a_used_up_budget_degrades_and_says_how_much(budget: Callable[[str], str]) -> None:
    assert "directories are not watched" in budget("watchdog")
