"""A real watcher on real inotify, and a subscriber that writes down what it is told."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from filewatchd.clock import SystemClock
from filewatchd.model import Region, RootState
from filewatchd.rules.match import Selection
from filewatchd.testing.waiting import eventually
from filewatchd.watch.backends.base import Backend
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.roots import Root, RootKey
from filewatchd.watch.scan import Entry
from filewatchd.watch.watcher import Watcher
from filewatchd.work.pool import Pool


class Recorder:
    """A `Subscriber` whose manifest is empty: a full scan finds everything new."""

    every = True
    unmounted = here = 0

    def __init__(self, selection: Selection | None = None) -> None:
        self.selection = selection or Selection([], [])
        self.marked: list[tuple[str, int]] = []
        self.found_files: list[str] = []
        self.scanned: list[str] = []
        self.doubted: list[str] = []
        self.pairs: list[tuple[str, str]] = []
        self.regions: Sequence[Region] = ()
        self.scans: list[bool] = []
        self.appeared: list[bool] = []
        self.came: list[int] = []

    @property
    def seen(self) -> set[str]:
        """Every path that was marked, found or scanned."""
        return {path for path, _ in self.marked} | set(self.found_files) | set(self.scanned)

    def settle(self, regions: Sequence[Region]) -> None:
        self.regions = regions

    def forget(self) -> None:
        for told in (self.marked, self.found_files, self.scanned, self.doubted, self.pairs, self.scans, self.appeared):
            told.clear()

    def mark(self, path: str, hint: int, now: float) -> None:
        self.marked.append((path, hint))

    def pair(self, old: str, new: str) -> None:
        self.pairs.append((old, new))

    def beneath(self, directory: str, now: float) -> None:
        self.doubted.append(directory)

    def other(self, directory: str, hint: int, now: float) -> None: ...

    def found(self, directory: str, entries: Sequence[Entry], now: float) -> None:
        self.found_files += [f"{directory}/{name}" if directory else name for name, _, _ in entries]

    def comparison(self, *, appeared: bool, lost: bool, came_ns: int) -> Recorder:
        self.appeared.append(appeared)
        self.came.append(came_ns)
        return self

    def feed(self, directories: Sequence[tuple[str, Sequence[Entry]]]) -> list[str]:
        return [f"{d}/{name}" if d else name for d, entries in directories for name, _, _ in entries]

    def skip(self, directory: str) -> None: ...

    def finish(self) -> list[str]:
        return []

    def compared(self, result: Any, now: float) -> None:
        self.scanned += result

    def scan_ended(self, *, whole: bool, now: float) -> None:
        self.scans.append(whole)


class Rig:
    """A watcher at work on one root or more."""

    def __init__(self, watcher: Watcher, backend: Backend) -> None:
        self.watcher = watcher
        self.backend = backend

    async def watch(self, path: Path | str, *, recursive: bool = True, follow: bool = False,
                    selection: Selection | None = None) -> tuple[Root, Recorder]:  # fmt: skip
        recorder = Recorder(selection)
        key = RootKey(str(path), recursive, follow)
        wanted = {root.key: root.subscribers for root in self.watcher.roots.values()}
        self.watcher.set_roots({**wanted, key: [*wanted.get(key, []), recorder]})
        root = self.watcher.roots[key]
        await eventually(lambda: not root.evaluating and root.state is not RootState.SCANNING, f"{path} looked at")
        return root, recorder

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        await eventually(condition, what)


_BUDGET = """
import asyncio, sys, tempfile
from pathlib import Path
from filewatchd.clock import SystemClock
from filewatchd.model import Region, RootState
from filewatchd.testing.waiting import eventually
from filewatchd.watch.backends.choose import make
from filewatchd.watch.roots import RootKey
from filewatchd.watch.watcher import Watcher
from filewatchd.work.pool import Pool
from tests.unit.watch.conftest import Recorder

async def story():
    top = Path(sys.argv[2])
    for number in range(40):
        (top / f"d{number}").mkdir(parents=True)
    Path("/proc/sys/user/max_inotify_watches").write_text("20")
    pool = Pool()
    watcher = Watcher(make(sys.argv[1], pool, SystemClock()), pool, SystemClock())
    watcher.start()
    key = RootKey(str(top), True, False)
    watcher.set_roots({key: [Recorder()]})
    root = watcher.roots[key]
    await eventually(lambda: root.state is RootState.DEGRADED, "degraded")
    print(root.why, len(root.failed))
    watcher.stop()

asyncio.run(story())
"""


@pytest.fixture
def budget(tmp_path: Path) -> Callable[[str], str]:
    """What a root of 41 directories says of itself on a backend that may have 20 watches."""

    def told(backend: str) -> str:
        command = ["unshare", "-Ur", sys.executable, "-c", _BUDGET, backend, str(tmp_path / "root")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout

    return told


@contextmanager
def few_queued() -> Iterator[None]:
    """Whoever asks for inotify inside gets a queue of 64 events: whoever on the system, so only for a moment."""
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    if not os.access(limit, os.W_OK):
        pytest.skip("only root may set fs.inotify.max_queued_events")
    with limit.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another test may be doing the same
        before = limit.read_text()
        try:
            limit.write_text("64")
            yield
        finally:
            limit.write_text(before)


@pytest.fixture
def rig() -> Callable[[], Any]:
    @asynccontextmanager
    async def made(backend: Backend | None = None, pool: Pool | None = None) -> AsyncIterator[Rig]:
        backend = backend or InotifyBackend()
        watcher = Watcher(backend, pool or Pool(), SystemClock())
        watcher.start()
        try:
            yield Rig(watcher, backend)
        finally:
            watcher.stop()

    return made
