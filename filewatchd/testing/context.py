"""All of the daemon that an action may touch, in memory and under the test's control."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from filewatchd.actions.base import Ground, Pool, Spawn, Unfinished, Worker
from filewatchd.model import Found, Region, RuleSettings, Trigger
from filewatchd.patterns import selects
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.services import FakeServices
from filewatchd.testing.spawn import FakeSpawn
from filewatchd.testing.timers import FakeTimers
from filewatchd.work.opening import safe_open
from filewatchd.work.wire import arguments_for, name_of, pack, result_of, unpack

T = TypeVar("T")


class FakePool:
    """`filewatchd.actions.base.Pool` that does the work at once, in this thread."""

    def run(self, lane: str, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Do the work."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - it travels to whoever awaits
            future.set_exception(error)
        return future


class FakeWorker:
    """`filewatchd.actions.base.Worker` that works at once, in this thread, with values that travel as to a process."""

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """Do the work."""
        result: T = travelled(work, work(*sent(work, args)))
        return result

    apart = call
    abreast = 2

    async def steps(self, work: Callable[..., Iterator[T]], *args: Any) -> AsyncGenerator[T]:
        """Do the work, step by step."""
        series = work(*sent(work, args))
        try:
            for value in series:
                yield travelled(work, value)
        finally:
            close = getattr(series, "close", None)
            if close is not None:
                close()


def sent(work: Callable[..., Any], args: Sequence[Any]) -> list[Any]:
    """Arguments as they reach a function in another process."""
    name_of(work)
    return arguments_for(work, unpack(pack({"args": list(args)}))["args"])


def travelled(work: Callable[..., Any], value: Any) -> Any:
    """A result as it comes back from another process."""
    return result_of(work, unpack(pack({"value": value}))["value"])


class FakeTables:
    """`filewatchd.actions.base.Tables` over a database in memory, or one given to outlive an action."""

    def __init__(self, database: sqlite3.Connection | None = None) -> None:
        self._database = database or sqlite3.connect(":memory:", isolation_level=None)
        self._database.execute("CREATE TABLE IF NOT EXISTS migrated (step INTEGER)")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def migrate(self, steps: Sequence[str]) -> None:
        """Run the steps that never ran here."""
        done = self._database.execute("SELECT count(*) FROM migrated").fetchone()[0]
        for number, step in enumerate(steps[done:], done):
            self.execute(step)
            self._database.execute("INSERT INTO migrated VALUES (?)", (number,))

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; ``{name}`` is this action's table of that name."""
        named = re.sub(r"\{(\w+)\}", r"action_\1", statement)
        return self._database.execute(named, tuple(parameters)).fetchall()

    def durable(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Run the statements, all or none."""
        self._database.execute("BEGIN")
        try:
            for statement, parameters in statements:
                self.execute(statement, parameters)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


class FakeContext:
    """`filewatchd.actions.base.Context`. What the action asked for is in the attributes.

    ``findings`` (key -> message, path), ``announced`` (key, message), ``counters``, ``requested`` (trigger, paths),
    ``follow_ups`` (name -> task), ``held`` (files now locked), ``others`` (path -> the rule that has it instead) and
    ``interrupted`` (put `Unfinished` jobs there before ``open``). `write` plays a write to a file that the action waits
    for, `tell` another action's effect.
    """

    def __init__(
        self,
        rule: RuleSettings | None = None,
        *,
        clock: FakeClock | None = None,
        pool: Pool | None = None,
        spawn: Spawn | None = None,
        services: FakeServices | None = None,
        tables: FakeTables | None = None,
        timers: FakeTimers | None = None,
        state_dir: str = "",
    ) -> None:
        self.rule = rule or RuleSettings(name="rule", roots=("/",), actions=())
        self.clock = clock or FakeClock()
        self.log = logging.getLogger("filewatchd.testing")
        self.pool: Pool = pool or FakePool()
        self.worker: Worker = FakeWorker()
        self.spawn: Spawn = spawn or FakeSpawn()
        self.services = services or FakeServices()
        self.timers = timers or FakeTimers(self.clock)
        self.tables = tables or FakeTables()
        self.state_dir = state_dir
        self.findings: dict[str, tuple[str, str | None]] = {}
        self.announced: list[tuple[str, str]] = []
        self.counters: Counter[str] = Counter()
        self.requested: list[tuple[Trigger, tuple[str, ...]]] = []
        self.follow_ups: dict[str, asyncio.Task[None]] = {}
        self.held: set[str] = set()
        self.others: dict[str, str] = {}
        self.interrupted: list[Unfinished] = []
        self._freed = asyncio.Condition()
        self._wakers: dict[str, list[Callable[[], None]]] = {}
        self.standing: list[Ground] | None = None
        self._scans: list[Callable[[str], None]] = []
        self._others: Callable[[str, str, bool], None] | None = None
        self._listeners: list[Callable[[str, str, str | None], None]] = []

    # ---- what the test does

    def write(self, path: str) -> int:
        """Play a write: wake all who wait for one, once. Returns how many did."""
        woken = self._wakers.pop(path, [])
        for callback in woken:
            callback()
        return len(woken)

    def tell(self, kind: str, old: str, new: str | None = None) -> None:
        """Play another action's effect."""
        for listener in self._listeners:
            listener(kind, old, new)

    def other(self, root: str, path: str, *, whole: bool = False) -> None:
        """Play that something happened at a path of a root where no file is."""
        if self._others is not None:
            self._others(root, path, whole)

    def scan(self, root: str) -> None:
        """Play the beginning of a full scan of a root."""
        for listener in self._scans:
            listener(root)

    # ---- what the action does

    def grounds(self) -> Sequence[Ground]:
        """The rule's roots that are there, each on a filesystem named ``disk``, unless the test set `standing`."""
        if self.standing is not None:
            return self.standing
        rule, region = self.rule, (Region("", "disk"),)
        return [Ground(root, "", region, 0, rule.include, rule.exclude) for root in rule.roots if os.path.exists(root)]

    def on_other(self, callback: Callable[[str, str, bool], None] | None) -> None:
        """Kept for `other`."""
        self._others = callback

    def on_scan(self, callback: Callable[[str], None]) -> None:
        """Remember who listens; `scan` tells them."""
        self._scans.append(callback)

    def selects(self, path: str) -> bool:
        """By the rule's patterns; presets are left out."""
        below = [path.removeprefix(root.rstrip("/") + "/") for root in self.rule.roots]
        wanted = (selects(self.rule.include, self.rule.exclude, each) for each in below if each != path)
        return path in self.rule.roots or any(wanted)

    def preceding(self, path: str) -> str | None:
        """What the test has put into ``others``."""
        return self.others.get(path)

    def safe_open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file below one of the rule's roots, for real and as safely as the daemon.

        Raises:
            PermissionError: it is below none of them.
        """
        return safe_open(path, self.beneath(path), flags)

    def beneath(self, path: str) -> str:
        """The root above a path.

        Raises:
            PermissionError: there is none.
        """
        for root in self.rule.roots:
            if path == root:
                return os.path.dirname(root)
            if path.startswith(root.rstrip("/") + "/"):
                return root
        raise PermissionError(f"{path} is below no root of rule {self.rule.name}")

    def wake_on_write(self, path: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Remember who waits; `write` wakes them."""
        waiting = self._wakers.setdefault(path, [])
        waiting.append(callback)
        return lambda: waiting.remove(callback) if callback in waiting else None

    def follow_up(self, name: str, work: Awaitable[None]) -> None:
        """Start it; the test awaits ``follow_ups[name]``."""
        self.follow_ups[name] = asyncio.ensure_future(finish(work))

    @asynccontextmanager
    async def lock(self, paths: Sequence[str], *, shared: bool = False) -> AsyncIterator[None]:
        """Hold all the files, by (dev, ino) or by path where there is none; here nobody shares."""
        keys = {file_key(path) for path in paths}
        async with self._freed:
            await self._freed.wait_for(lambda: not keys & self.held)
            self.held |= keys
        try:
            yield
        finally:
            self.held -= keys
            async with self._freed:
                self._freed.notify_all()

    def unfinished(self) -> Sequence[Unfinished]:
        """What the test put into ``interrupted``."""
        return tuple(self.interrupted)

    def request_job(self, trigger: Trigger, paths: Sequence[str] = ()) -> None:
        """Record it."""
        self.requested.append((trigger, tuple(paths)))

    def on_effect(self, callback: Callable[[str, str, str | None], None]) -> None:
        """Remember who listens; `tell` tells them."""
        self._listeners.append(callback)

    def finding(self, key: str, message: str, path: str | None = None) -> None:
        """Record it."""
        self.findings[key] = (message, path)

    def raise_findings(self, found: Sequence[Found]) -> None:
        """Record several."""
        for each in found:
            self.finding(*each)

    def announce(self, key: str, message: str) -> None:
        """Record it."""
        self.announced.append((key, message))

    def clear_finding(self, key: str) -> None:
        """Forget it."""
        self.findings.pop(key, None)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] += by


async def finish(work: Awaitable[None]) -> None:
    """Any awaitable as a coroutine."""
    await work


def file_key(path: str) -> str:
    """What two names of one file have in common."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return path
    return f"{found.st_dev}:{found.st_ino}"
