"""Commands that run outside the daemon's sandbox, each as a transient systemd unit with limits of its own.

A command's life: pipes are made, systemd starts a launcher in a unit (`filewatchd.work.transient` says with which
properties, `filewatchd.work.launcher` what it does), and only when systemd has answered is the command written down
the launcher's pipe, followed by its standard input. Output comes as an ordinary command's does. At its time-out the
unit is stopped, which sends all of it the stop signal, and after the grace it is killed. When the command itself has
ended, systemd sends what it left behind the same signal; what is still there is counted and killed at once. The unit's
end is read from its properties, then the unit goes.

Units don't die with the daemon. So every connection begins by ending what there is of this instance's units, before
anything is started over it: those of an earlier life that was killed, and those of a connection that was lost. Commands
whose connection is lost fail (retryable) at once, and a new connection is tried for until there is one. Unit files
below /run tell without D-Bus whether an earlier life left any.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from filewatchd.errors import ActionError, FilewatchdError
from filewatchd.work import failures, launcher, transient
from filewatchd.work.command import Command, Finished, Unit
from filewatchd.work.ending import wait_out
from filewatchd.work.grace import pass_grace
from filewatchd.work.pool import Pool
from filewatchd.work.unitrun import Run
from filewatchd.work.unitsweep import end_all, leftovers, quietly, tell_stuck
from filewatchd.work.users import Users

if TYPE_CHECKING:
    from filewatchd.work.manager import Manager

log = logging.getLogger(__name__)

KILL_GRACE = 15.0  # seconds for a killed unit to be gone; then its processes wait inside the kernel
_LOOK_AGAIN = 0.05  # seconds between two looks at what a command has left behind
_RETRIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between two tries to connect again; the last one repeats


class Units:
    """Runs commands as units (`filewatchd.actions.base.Spawn`). Lives on the event loop's thread; ``stop`` ends it."""

    def __init__(self, key: str, instance: Callable[[], str], pool: Pool) -> None:
        """``key``: the instance's, as in `filewatchd.work.cgroup`; ``instance``: its name, for people."""
        self._key = key
        self._instance = instance
        self._pool = pool
        self._users = Users(pool)
        self._numbers = itertools.count(1)
        self._runs: dict[str, Run] = {}  # by the unit's object path
        self._manager: Manager | None = None
        self._own_unit = ""
        self._connecting: asyncio.Task[Manager] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._grace: asyncio.Future[None] | None = None
        self._leftover = 0

    def foresee(self) -> None:
        """As `filewatchd.actions.base.Spawn.foresee`."""
        if self._grace is None or self._grace.done():
            self._grace = self._pool.run("cgroups", pass_grace)

    async def run(self, command: Command, output: Callable[[bytes], None]) -> Finished:
        """Run a command, which has a ``unit``, to its end; as `filewatchd.work.helper.Commands.run`.

        Raises:
            ActionError: it can't be started, or the connection to systemd was lost meanwhile.
        """
        assert command.unit is not None
        self.foresee()
        encoded = failures.encode(command)
        rights = await self._users.rights(command.user, command.group)
        manager = await self._connected()
        request = launcher.request(encoded.argv, encoded.env, encoded.cwd, command.stdin)
        run = self._prepare(command, command.unit, request, output)
        properties = transient.properties(
            command, command.unit, self._instance(), rights=rights is not None, before=self._own_unit
        )
        self._do(self._start(manager, run, properties))
        try:
            await asyncio.wait([run.over])
        except asyncio.CancelledError:
            await self._cancel(run)
            raise
        return run.over.result()

    async def sweep(self) -> None:
        """End what an earlier life left. Without D-Bus, which is spoken only if there is something.

        Raises:
            ActionError: systemd can't be asked yet; that is tried again.
        """
        if not await self._pool.run("", leftovers, transient.prefix(self._key)):
            return
        try:
            await self._connected()
        except ActionError:
            self._do(self._recover())
            raise

    async def stop(self) -> None:
        """End all commands at once, and hang up."""
        for run in list(self._runs.values()):
            self._kill(run)
        if self._runs:
            await asyncio.wait([run.over for run in self._runs.values()])
        pending = [*self._tasks, *([self._connecting] if self._connecting else [])]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        if self._manager is not None:
            self._manager.close()

    def statistics(self) -> dict[str, Any]:
        """What runs and for how many seconds."""
        now = time.monotonic()
        return {
            "running": [
                {
                    "argv": list(run.command.argv),
                    "seconds": now - run.began,
                    "output": run.output.total,
                    "unit": run.name,
                }
                for run in self._runs.values()
            ],
            "leftover_ended": self._leftover,
        }

    # ---- the connection

    async def _connected(self) -> Manager:
        """The connection, made if there is none; then nothing of ours runs that this object doesn't know.

        Raises:
            ActionError: it can't be made.
        """
        if self._manager is not None:
            return self._manager
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._tried)
        return await asyncio.shield(self._connecting)

    def _tried(self, connecting: asyncio.Task[Manager]) -> None:
        self._connecting = None
        if not connecting.cancelled():
            connecting.exception()  # whoever waits is told, if anybody still does

    async def _connect(self) -> Manager:
        try:
            module = await self._pool.run("", import_module, "filewatchd.work.manager")
        except ImportError as error:
            text = f"units need the extra systemd ({error}); pip install 'filewatchd[systemd]'"
            raise ActionError(text, retryable=False) from error
        try:
            manager: Manager = await module.Manager.connect()
            try:
                await end_all(manager, transient.prefix(self._key), KILL_GRACE)
                self._own_unit = await manager.own_unit()
            except BaseException:
                manager.close()
                raise
        except FilewatchdError as error:
            raise ActionError(f"commands can't run in units: {error}") from error
        manager.changed, manager.returned, manager.lost = self._change, self._look_again, self._lose
        self._manager = manager
        return manager

    def _lose(self, why: str) -> None:
        """The connection is lost. What runs is ended by the next one, before it starts anything."""
        self._manager = None
        lost, self._runs = self._runs, {}
        log.error("the connection to systemd is lost: %s; %d running commands count as failed", why, len(lost))
        for run in lost.values():
            run.finish(ActionError(f"{run.command.argv[0]!r} was given up: the connection to systemd is lost ({why})"))
        if lost:
            self._do(self._recover())

    async def _recover(self) -> None:
        """Try until a connection has ended what was running."""
        for seconds in itertools.chain(_RETRIES, itertools.repeat(_RETRIES[-1])):
            try:
                await self._connected()
            except ActionError as error:
                log.debug("%s", error)
                await asyncio.sleep(seconds)
            else:
                log.info("connected to systemd again")
                return

    # ---- starting

    def _prepare(self, command: Command, unit: Unit, request: bytes, output: Callable[[bytes], None]) -> Run:
        name = transient.name_of(self._key, unit, next(self._numbers))
        try:
            run = Run(name, command, request, output)
        except OSError as error:
            raise ActionError(f"can't start {command.argv[0]!r}: {error.strerror}; raise LimitNOFILE=") from error
        self._runs[transient.path_of(name)] = run
        if command.timeout is not None:
            run.timer = asyncio.get_running_loop().call_later(command.timeout, self._time_out, run)
        return run

    async def _start(self, manager: Manager, run: Run, properties: list[transient.Property]) -> None:
        """Have the unit started, then let the launcher have its command, unless it is unwanted by now."""
        try:
            await manager.start(run.name, properties, run.theirs)
        except FilewatchdError as error:
            # Refused: nothing runs, or a launcher that will get nothing to do, if systemd was executed anew before it
            # answered. If the connection was lost instead, the run has been finished already.
            manager.forget(run.name)
            self._runs.pop(transient.path_of(run.name), None)
            run.finish(ActionError(f"systemd can't start {run.command.argv[0]!r} in a unit: {error}"))
            return
        run.started = True
        run.hand_over()
        if run.stopped:
            run.input.close()
        else:
            run.input.begin()
        self._judge(run)

    # ---- ending

    def _time_out(self, run: Run) -> None:
        run.timed_out = True
        self._stop(run)

    def _stop(self, run: Run) -> None:
        """Ask the unit to stop, and kill it after the grace."""
        self._end(run, lambda manager: manager.stop(run.name))
        self._after(run, run.command.stop_timeout, self._kill)

    def _kill(self, run: Run) -> None:
        async def at_once(manager: Manager) -> None:
            await quietly(manager.kill(run.name))
            await manager.stop(run.name)  # one that has not begun is called off

        self._end(run, at_once)
        self._after(run, KILL_GRACE, self._give_up)

    def _end(self, run: Run, how: Callable[[Manager], Coroutine[Any, Any, None]]) -> None:
        run.stopped = True
        if self._manager is not None and not run.over.done():
            self._do(quietly(how(self._manager)))

    def _after(self, run: Run, seconds: float, callback: Callable[[Run], None]) -> None:
        if run.timer is not None:
            run.timer.cancel()
        if not run.over.done():
            run.timer = asyncio.get_running_loop().call_later(seconds, callback, run)

    def _give_up(self, run: Run) -> None:
        """All of it was killed and some of it doesn't die, or systemd doesn't do as told: that is found out."""
        if self._manager is not None:
            self._do(self._let_go(self._manager, run))

    async def _let_go(self, manager: Manager, run: Run) -> None:
        await quietly(manager.kill(run.name))
        if not run.over.done():
            tell_stuck([run.name])
            self._finish(manager, run)

    async def _cancel(self, run: Run) -> None:
        """End a command whose waiter was cancelled; every further cancellation makes it quick."""
        self._stop(run)
        await wait_out(run.over, lambda: self._kill(run))

    # ---- what systemd tells

    def _change(self, path: str, changes: dict[str, Any]) -> None:
        if (run := self._runs.get(path)) is not None:
            run.state |= changes
            self._judge(run)

    def _judge(self, run: Run) -> None:
        """See whether the unit has ended, or only its command."""
        if self._manager is None or not run.started or run.over.done():
            return
        if transient.has_ended(run.state):
            self._finish(self._manager, run)
        elif transient.has_leftover(run.state) and run.leftover is None:
            run.leftover = 0
            self._do(self._clear(self._manager, run))
            self._after(run, KILL_GRACE, self._give_up)

    async def _clear(self, manager: Manager, run: Run) -> None:
        """The command has ended: count and kill what it left behind, also what that forks meanwhile."""
        while not run.over.done():
            with contextlib.suppress(FilewatchdError):  # it was gone by itself
                run.leftover = max(run.leftover or 0, await manager.processes(run.name))
                await manager.kill(run.name)
            await asyncio.sleep(_LOOK_AGAIN)

    def _finish(self, manager: Manager, run: Run) -> None:
        manager.forget(run.name)
        del self._runs[transient.path_of(run.name)]
        run.report.finish()
        leftover = run.leftover or 0
        self._leftover += leftover
        try:
            end = transient.finished(run.command, run.state, run.said, leftover, run.stopped, run.timed_out)
        except ActionError as error:
            run.finish(error)
        else:
            run.finish(end)

    def _look_again(self) -> None:
        """See what units have come to while systemd was away and signals were missed."""
        if self._manager is not None:
            self._do(self._look_at_all(self._manager))

    async def _look_at_all(self, manager: Manager) -> None:
        with contextlib.suppress(FilewatchdError):
            await manager.subscribe()
        for path, run in [(path, run) for path, run in self._runs.items() if run.started]:
            try:
                self._change(path, await manager.state(run.name))
            except FilewatchdError as error:
                if self._runs.pop(path, None) is not None:
                    run.finish(ActionError(f"{run.command.argv[0]!r} was lost sight of: {error}"))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
