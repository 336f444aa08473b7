"""pyinotify as a backend, on the real kernel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.errors import FatalError
from filewatchd.model import RootState
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.backends.pyinotify import PyinotifyBackend, PyinotifyDescriptor
from filewatchd.work.pool import Pool
from tests.unit.watch.conftest import few_queued
from tests.unit.watch.root_stories import RootStories
from tests.unit.watch.stories import Rig, Stories


class TestPyinotify(Stories, RootStories):
    def backend(self, pool: Pool) -> Backend:
        return PyinotifyBackend()

    def test_an_overflow_ends_in_a_rescan(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            root, told = await r.watch(tmp_path)
            told.forget()
            with r.backend.reader.reading:
                for number in range(200):
                    (tmp_path / f"f{number}").write_text("x")
            await r.watcher.flush()
            assert {f"f{number}" for number in range(200)} <= told.seen
            assert r.backend.statistics()["overflows"]
            assert root.state is RootState.LIVE

        self.play(rig, story, few_queued())


def test_a_used_up_budget_degrades_and_says_how_much(budget: Callable[[str], str]) -> None:
    assert "directories are not watched" in budget("pyinotify")


def test_its_descriptor_blocks_nobody_and_no_child_inherits_it() -> None:
    descriptor = PyinotifyDescriptor()
    assert not os.get_blocking(descriptor.fd)
    assert not os.get_inheritable(descriptor.fd)
    os.close(descriptor.fd)


def test_without_the_extra_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyinotify" else find(name))
    with pytest.raises(FatalError, match=r"extra pyinotify is not installed.*pip install 'filewatchd\[pyinotify\]'"):
        PyinotifyBackend()


def test_its_import_says_nothing_of_asyncore() -> None:
    code = "from filewatchd.watch.backends.pyinotify import PyinotifyBackend as B; B()"
    ran = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "asyncore" not in ran.stderr
