"""A rule with `checksum` over a real directory, in one process: jobs, walks and what the index says then."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from filewatchd.actions.base import Caller
from filewatchd.actions.checksum import package
from filewatchd.actions.checksum.action import Checksum
from filewatchd.actions.checksum.options import Options
from filewatchd.actions.checksum.paths import full
from filewatchd.model import Change, FileIdentity, Kind, RuleSettings
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Change as IndexChange
from filewatchd.state.index.rows import Record
from filewatchd.testing import FakeClock, FakeContext, FakeJob


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Scene:
    """Use it as `async with Scene(tmp_path) as scene`."""

    def __init__(self, place: Path, clock: FakeClock | None = None, root: Path | None = None, **options: Any) -> None:
        self.root = root or place / "root"
        if not self.root.is_file():
            self.root.mkdir(exist_ok=True)
        (place / "state").mkdir(exist_ok=True)
        self.clock = clock or FakeClock()
        rule = RuleSettings(name="rule", roots=(str(self.root),), actions=())
        self.ctx = FakeContext(rule, clock=self.clock, state_dir=str(place / "state"))
        self.options = Options(**options)
        self.action: Checksum = package.open(self.options, self.ctx)
        self.action.labelling.root = str(place)  # where no packages are
        self.action.runs.cycle.short = lambda: ""  # however busy the machine is that tests
        self._jobs = 0

    async def __aenter__(self) -> Scene:
        await self.action.recover()
        await self.follow()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.action.stop(1.0)

    async def follow(self) -> None:
        """Wait for everything that goes on by itself."""
        while self.ctx.follow_ups:
            tasks, self.ctx.follow_ups = self.ctx.follow_ups, {}
            await asyncio.gather(*tasks.values())

    # ---- what happens

    async def job(self, *changes: Change) -> FakeJob:
        """One job."""
        self._jobs += 1
        job = FakeJob(changes, id=self._jobs)
        await self.action.run(job)
        await self.follow()
        return job

    async def changed(self, *names: str, kind: Kind = Kind.MODIFIED) -> FakeJob:
        """These files changed."""
        return await self.job(*(self.change(name, kind) for name in names))

    def change(self, name: str, kind: Kind = Kind.MODIFIED, old: str | None = None) -> Change:
        """A change as the daemon would tell it."""
        path = self.root / name
        identity = None
        if path.exists():
            found = path.stat()
            identity = FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        old_path = None if old is None else full(str(self.root), old)
        return Change(kind, str(path), str(self.root), identity, old_path)

    async def verify(self, mode: str = "full", path: str | None = None) -> None:
        """Hold everything against the index."""
        arguments = package.endpoints[2].arguments
        assert arguments is not None
        await self.action.answer_to("verify", arguments(mode=mode, path=path), Caller(1000, 1))
        await self.follow()

    # ---- what the index says

    def reader(self) -> Reader:
        return Reader(self.action.index.path)

    def rows(self) -> dict[str, Record]:
        with self.reader() as reader:
            return {path: row for root in reader.roots() for path, row in reader.rows(root.id)}

    def changes(self, *states: str) -> list[IndexChange]:
        with self.reader() as reader:
            return reader.changes(states=states)

    def told(self, *states: str) -> list[tuple[str, str]]:
        """(verdict, path) of all changes, or of those in these states."""
        return [(change.verdict.value, change.path) for change in self.changes(*states)]

    async def ask(self, endpoint: str, uid: int = 0, **arguments: Any) -> Any:
        """Ask an endpoint."""
        kind = next(each.arguments for each in package.endpoints if each.name == endpoint)
        return await self.action.answer_to(endpoint, None if kind is None else kind(**arguments), Caller(uid, 1))


def written(root: Path, files: Sequence[str]) -> None:
    """Files with their own names in them."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
