"""The composition root: everything is made here, wired here, and ended here, in reverse.

Start: configuration, lock, state, commands of an earlier life swept, actions opened and recovered, roots watched.
Stop: intake ends, running jobs get ``shutdown_timeout``, what is left stays journaled, state is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from filewatchd import __version__
from filewatchd.actions import registry
from filewatchd.clock import SystemClock
from filewatchd.config.configuration import Configuration
from filewatchd.config.generation import Generation
from filewatchd.config.load import load
from filewatchd.control.server import ControlServer
from filewatchd.errors import FatalError, FilewatchdError, StateError
from filewatchd.jobs.engine import Engine, Watching
from filewatchd.jobs.retention import Retention
from filewatchd.jobs.store import Store
from filewatchd.jobs.timers import DurableTimers
from filewatchd.service import logging as service_logging
from filewatchd.service import report
from filewatchd.service.answers import answers, rights_of
from filewatchd.service.endpoints import Endpoints
from filewatchd.service.limits import collect_seldom, raise_descriptor_limit
from filewatchd.service.living import Living
from filewatchd.service.monitoring import Monitoring
from filewatchd.service.news import News
from filewatchd.service.ownfiles import OwnFiles
from filewatchd.service.promise import Promise
from filewatchd.service.reloading import Force, Reloading
from filewatchd.service.rooting import Rooting
from filewatchd.service.signals import Signals
from filewatchd.service.systemd import ServiceManager
from filewatchd.service.upkeep import Upkeep, sweep
from filewatchd.state import atomic, directories
from filewatchd.state.database import Database
from filewatchd.state.lock import InstanceLock
from filewatchd.work import cgroup
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
from filewatchd.work.units import Units
from filewatchd.work.ways import Ways

log = logging.getLogger("filewatchd.service")


class Daemon:
    """One life of the daemon on one configuration file."""

    def __init__(
        self,
        path: Path,
        flags: Mapping[str, object],
        environ: Mapping[str, str],
        *,
        hint: str = "",
        text: str | None = None,
    ) -> None:
        """``hint`` is logged once all is ready: what a new user may try. ``text``: the file's content, unread.

        Raises:
            ConfigError: with every mistake.
            FatalError: systemd waits for news, and the extra is missing.
        """
        self._manager = ServiceManager(environ)
        self._manager.opening()
        self._hint = hint
        self._packages = packages = registry.packages()
        self._reloading = Reloading(
            lambda: load(path, registry=packages, environ=environ, flags=flags, text=text, with_rows=True)
        )
        self._started_ns = time.time_ns()
        self._ready = False
        self._host = socket.gethostname()
        self._rights = rights_of(self.settings)

    @property
    def settings(self) -> Configuration:
        """The configuration in force."""
        return self._reloading.settings

    # ---- life

    def run(self) -> int:
        """Run until a signal ends it; returns the exit code. Raises FatalError."""
        raise_descriptor_limit()
        collect_seldom()
        service_logging.set_up(self.settings.logging)
        daemon = self.settings.daemon
        state = directories.state_directory(daemon.state_dir)
        directories.runtime_directory(daemon.runtime_dir)
        with InstanceLock(os.path.join(state, "filewatchd.lock")):
            atomic.clean_leftovers(state)
            return asyncio.run(self._main(state))

    async def _main(self, state: str) -> int:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._code = 0
        signals = Signals(self._drain_asked, self._stop_asked, self._reload_asked, self._report)
        try:
            await self._open(state, signals)
            signals.let_in()
            await self._serve()
        finally:
            await self._close()
            signals.close()
        return self._code

    async def _open(self, state: str, signals: Signals) -> None:
        clock = SystemClock()
        self._pool = Pool()
        groups = cgroup.find(state)
        units = Units(groups.key, lambda: self.settings.daemon.instance, self._pool)
        await sweep(self._pool, groups, units)
        log.debug("commands: %s", groups.describe()[1])
        self._commands = Ways(Commands(groups, self._pool), units, self._pool)
        daemon = self.settings.daemon
        self._database = Database(os.path.join(state, "journal.db"), durability=daemon.durability, clock=clock)
        if self._database.set_aside:
            log.error(
                "the job journal was damaged and is kept as %s: every root is compared anew; taken over: %s",
                self._database.set_aside,
                ", ".join(self._database.salvaged) or "nothing",
            )
        self._upkeep = Upkeep(self._pool, self._database, os.path.join(state, "state.json"), self._state)
        history = daemon.history
        self._retention = Retention(
            self._database.path, self._pool, clock, keep=history.jobs, age=history.age, changes=history.changes
        )
        self._store = Store(
            self._database,
            clock,
            committed=self._upkeep.committed,
            grown=lambda: self._upkeep.retain(self._retention),
        )
        self._timers = DurableTimers(self._database, clock)
        self._connect(clock, groups, signals)

    def _connect(self, clock: SystemClock, groups: cgroup.Groups, signals: Signals) -> None:
        """Make what works on the opened state, each part knowing those it asks."""
        rooting = self._rooting = Rooting(self._pool, clock, self._poke, self._root_changed, self._manager)
        self._engine = self._make_engine(clock, rooting)
        self._promise = Promise(self._engine, rooting, clock)
        self._rooting.engine = self._engine
        self._news = News(self._manager, self._engine, rooting, self._life)
        self._configured = asyncio.Event()
        self._own_files = OwnFiles(self._pool, self._reloading.reload)
        self._living = Living(
            self._engine,
            clock,
            lambda: self.settings.logging.level,
            lambda: self.settings.daemon.shutdown_timeout,
            signals.end,
        )
        self._open_to_questions(clock, groups)

    def _make_engine(self, clock: SystemClock, rooting: Rooting) -> Engine:
        watching = Watching(
            rooting.facts,
            rooting.wakes.add,
            rooting.room,
            rooting.intake,
            rooting.held,
            rooting.rescan,
            rooting.mounts,
            rooting.looked,
        )
        return Engine(
            clock,
            self._pool,
            self._commands,
            self._commands.workers,
            self._store,
            self._timers,
            self._packages,
            watching,
            max_running=self.settings.daemon.max_running,
            state_changed=self._upkeep.state_changed,
            state_damaged=self._state_damaged,
            doubted=lambda: self._promise.look(),
        )

    def _open_to_questions(self, clock: SystemClock, groups: cgroup.Groups) -> None:
        """The control socket, and what it tells of."""
        self._control = ControlServer(
            self.settings.daemon.runtime_dir,
            self._label,
            lambda: self._rights,
            Endpoints(self._engine, self._packages).routes,
            blocking=partial(self._pool.run, "control"),
            given=self._manager.socket,
        )
        self._parts = report.Parts(
            clock,
            self._database,
            self._engine,
            self._rooting,
            self._retention,
            self._commands,
            groups,
            self._control,
            self._pool,
            self._promise,
            self._life,
        )
        self._monitoring = Monitoring(self._pool, self._engine, lambda: report.status(self._parts), self._label)

    async def _serve(self) -> None:
        for warning in self.settings.warnings:
            log.warning("%s", warning)
        self._rooting.start()
        handlers = answers(self._parts, self._configured, self._reloading, self._living)
        await self._control.start({**handlers, **self._monitoring.handlers()})
        force = Force(self._prepare, self._take_over, self._news.reload_begins, self._reload_over)
        await self._reloading.begin(force, self._pool)
        self._apply_roots()
        self._configured.set()
        self._root_changed()  # without a root, nothing else would say so
        self._upkeep.spawn(self._upkeep.forget_dropped(self._store))
        self._upkeep.retain(self._retention)
        await self._over.wait()

    async def _prepare(self, generation: Generation, fresh: bool) -> None:
        settings = generation.configuration
        self._coming = await self._pool.run("users", rights_of, settings)  # names may have other numbers by now
        if not fresh:
            return
        grace = settings.daemon.shutdown_timeout
        async with self._monitoring.taking(settings.control):
            self._rooting.prepare(settings.rules)
            await self._engine.generations.configure(generation.number, settings.rules, settings.digests, grace)

    def _apply_roots(self) -> None:
        self._rooting.apply(self.settings.rules, self._own_files.roots(self.settings))
        self._engine.poke()

    async def _close(self) -> None:
        if not hasattr(self, "_engine"):
            return
        await self._control.stop()
        self._own_files.stop()
        self._rooting.stop()
        await self._engine.drain(self.settings.daemon.shutdown_timeout)
        await self._monitoring.stop()  # until here it tells that the daemon drains
        self._timers.close()
        self._retention.stop()
        await self._commands.stop()
        self._news.stop()
        await self._upkeep.close()
        try:
            self._store.close()
        except StateError as error:
            log.warning("the job journal was not closed in order, what was committed is kept: %s", error)
        self._pool.close()
        log.info("stopped")

    def _state_damaged(self) -> None:
        """The next start sets the bad file aside: end, and let the service manager start anew."""
        self._code = 1
        self._over.set()

    # ---- signals

    def _drain_asked(self, name: str) -> None:
        log.info("%s: finishing what runs; once more to stop at once", name)
        self._over.set()
        self._news.stopping()

    def _stop_asked(self, name: str) -> None:
        log.warning("%s again: stopping at once; unfinished jobs are taken up at the next start", name)
        self._engine.cancel_all()

    def _reload_asked(self) -> None:
        self._upkeep.spawn(self._reload())

    async def _reload(self) -> None:
        await self._configured.wait()
        with contextlib.suppress(FilewatchdError):  # it is logged, and status has it
            await self._reloading.reload()

    def _take_over(self, settings: Configuration, fresh: bool) -> None:
        """This configuration is in force now."""
        self._rights = self._coming
        self._living.forget()
        try:
            service_logging.set_up(settings.logging)
        except FatalError as error:
            log.error("it is logged as before: %s", error)
        if fresh:
            self._engine.allow(settings.daemon.max_running)
            history = settings.daemon.history
            self._retention.keep(history.jobs, history.age, history.changes)
            self._upkeep.retain(self._retention)
        self._apply_roots()

    def _reload_over(self) -> None:
        self._upkeep.state_changed()
        self._news.reload_over()

    def _report(self) -> None:
        log.info("statistics %s", json.dumps(report.statistics(self._parts), sort_keys=True))

    # ---- upkeep

    def _poke(self) -> None:
        self._engine.poke()

    def _root_changed(self) -> None:
        if not self._ready and self._rooting.settled:
            self._ready = True
            self._engine.started()
            log.info("ready: filewatchd %s, %s", __version__, self._rooting.described())
            self._news.ready()
            if self._hint:
                log.info("%s", self._hint)
        self._promise.look()
        self._upkeep.state_changed()

    def _state(self) -> dict[str, Any]:
        with contextlib.suppress(StateError):  # they stay in memory; the gate tells
            self._engine.save_counters()
        return report.state(self._parts)

    def _life(self) -> report.Life:
        number, configuration = self._reloading.generation
        error = self._reloading.error
        return report.Life(self._started_ns, self._ready, self._over.is_set(), number, configuration, error)

    def _label(self) -> dict[str, str]:
        """What every document says of where it comes from."""
        return {"host": self._host, "instance": self.settings.daemon.instance}
