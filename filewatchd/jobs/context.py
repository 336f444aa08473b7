"""What an action gets of the daemon: the real `actions.base.Context`, one for each action of each rule."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from filewatchd.actions.base import Ground, Pool, Services, Spawn, Tables, Timers, Unfinished, Worker
from filewatchd.clock import Clock
from filewatchd.errors import StateError
from filewatchd.jobs.filelocks import holding_nothing
from filewatchd.jobs.precedence import preceding
from filewatchd.model import Entry, Event, Found, RuleSettings, Trigger
from filewatchd.rules.match import PRESETS
from filewatchd.work.opening import safe_open
from filewatchd.work.workers import RuleWorker

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.pipeline import Pipeline


_TOLD = 20  # findings raised at once that are logged one by one


class ActionContext:
    """See `actions.base.Context`."""

    def __init__(self, engine: Engine, pipeline: Pipeline, action: str, tables: Tables, timers: Timers) -> None:
        """``action``: its place in the rule and its name, which own its tables and timers."""
        self._engine = engine
        self._pipeline = pipeline
        self.action = action
        self._tables = tables
        self._timers = timers
        self._log = logging.LoggerAdapter(
            logging.getLogger("filewatchd.action"), {"rule": pipeline.settings.name, "action": action}
        )
        self._worker = RuleWorker(engine.workers, lambda: self.rule.user, lambda: engine.lane(self._pipeline))
        self.tasks: set[asyncio.Task[None]] = set()

    def move(self, pipeline: Pipeline) -> None:
        """From now on the action belongs to the rule as this pipeline has it."""
        self._pipeline = pipeline

    @property
    def rule(self) -> RuleSettings:
        return self._pipeline.settings

    @property
    def clock(self) -> Clock:
        return self._engine.clock

    @property
    def log(self) -> logging.LoggerAdapter[Any]:
        return self._log

    @property
    def pool(self) -> Pool:
        return self._engine.pool

    @property
    def worker(self) -> Worker:
        return self._worker

    @property
    def spawn(self) -> Spawn:
        return self._engine.spawn

    @property
    def services(self) -> Services:
        return self._engine.services

    @property
    def timers(self) -> Timers:
        return self._timers

    @property
    def tables(self) -> Tables:
        return self._tables

    def selects(self, path: str) -> bool:
        return bool(self._pipeline.keys_of(path))

    def preceding(self, path: str) -> str | None:
        return preceding(self._engine, self._pipeline, self.action, path)

    @property
    def state_dir(self) -> str:
        return os.path.dirname(self._engine.store.database.path)

    def grounds(self) -> Sequence[Ground]:
        settings = self.rule
        exclude = tuple(pattern for preset in settings.presets for pattern in PRESETS[preset]) + settings.exclude
        found = []
        for binding in self._pipeline.bindings.values():
            facts = self._engine.facts(binding.root)
            if facts.stands and not facts.stalled and binding.baseline is not None:
                found.append(
                    Ground(
                        binding.root,
                        facts.lane,
                        tuple(binding.regions),
                        facts.granularity_ns,
                        settings.include,
                        exclude,
                        binding.baseline.started_ns,
                    )
                )
        return found

    def on_scan(self, callback: Callable[[str], None]) -> None:
        self._engine.scans[self] = callback

    def on_other(self, callback: Callable[[str, str, bool], None] | None) -> None:
        if callback is None:
            self._engine.others.pop(self, None)
        else:
            self._engine.others[self] = callback

    def safe_open(self, path: str, flags: int = 0) -> int:
        """Open a regular file beneath the rule's roots; blocking."""
        return safe_open(path, self.beneath(path), flags)

    def beneath(self, path: str) -> str:
        """The directory beneath which `safe_open` opens a path."""
        for binding in self._pipeline.bindings.values():
            root = binding.root
            if path == root:
                return os.path.dirname(root) or "/"
            if path.startswith(root.rstrip("/") + "/"):
                return root
        raise PermissionError(f"{path} is below no root of rule {self.rule.name}")

    def wake_on_write(self, path: str, callback: Callable[[], None]) -> Callable[[], None]:
        return self._engine.wake_on_write(path, callback)

    def follow_up(self, name: str, work: Awaitable[None]) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._guarded(name, work), context=holding_nothing())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self, grace: float) -> None:
        """Give follow-ups the grace, then cancel them."""
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=grace)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks))

    async def _guarded(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - an action's bug ends its task, not the daemon
            self._log.exception("follow-up %s failed", name)

    def lock(self, paths: Sequence[str], *, shared: bool = False) -> AbstractAsyncContextManager[None]:
        return self._engine.locks.hold(paths, shared=shared, lane=self._engine.lane(self._pipeline))

    def unfinished(self) -> Sequence[Unfinished]:
        running = self._engine.attempting
        return [cut for cut in self._engine.store.unfinished(self.rule.name) if cut.job not in running]

    def request_job(self, trigger: Trigger, paths: Sequence[str] = ()) -> None:
        self._pipeline.request(trigger, paths)

    def on_effect(self, callback: Callable[[str, str, str | None], None]) -> None:
        self._engine.effects[self] = callback

    def finding(self, key: str, message: str, path: str | None = None) -> None:
        self.raise_findings([Found(key, message, path)])

    def raise_findings(self, found: Sequence[Found]) -> None:
        self._engine.store.raise_findings(self.rule.name, found)
        for each in found[:_TOLD]:
            self._log.warning("finding %s: %s", each.key, each.message)
        if len(found) > _TOLD:
            self._log.warning("... and %d more findings", len(found) - _TOLD)

    def announce(self, key: str, message: str) -> None:
        now_ns = self._engine.clock.wall_ns()
        self._log.info("%s", message)
        try:
            with self._engine.store.database.transaction():
                self._engine.store.notices.add(self.rule.name, Event.FINDING, Entry(key, message, None, now_ns, now_ns))
        except StateError as error:
            self._log.error("%s can't be told: %s", key, error)

    def clear_finding(self, key: str) -> None:
        self._engine.store.clear_finding(key, self.rule.name)

    def count(self, name: str, by: int = 1) -> None:
        self._pipeline.count(f"{self.action}.{name}", by)
