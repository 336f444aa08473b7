"""Running commands so that nothing they start outlives them: the daemon's side of the spawner.

A command's life: its request goes to the spawner (`filewatchd.work.spawner` tells what happens there), its output
comes through a pipe that this process reads, at most 64 KiB at a time, so that a flood fills the pipe and not our
memory, and nobody else waits long. At its time-out the process group gets the stop signal, and after a grace
everything is killed. The spawner reports a command's end when nothing of it is left, which closes the pipe's other
end; what is in the pipe by then is read, and no more, so that a descriptor passed elsewhere can't hold the job.

If the spawner dies, what it had started is killed, running commands fail (retryable), and the next command starts a
new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from filewatchd.errors import ActionError, FilewatchdError
from filewatchd.work import failures
from filewatchd.work.cgroup import Groups
from filewatchd.work.command import Command, Finished
from filewatchd.work.ending import resolve, wait_out
from filewatchd.work.link import Link
from filewatchd.work.pool import Pool
from filewatchd.work.stdio import Input, Output
from filewatchd.work.users import Rights, Users

log = logging.getLogger(__name__)

KILL_GRACE = 15.0  # seconds for the spawner to report a killed command; then the spawner itself is killed


class Run:
    """One command on its way."""

    def __init__(self, number: int, command: Command, output: Callable[[bytes], None]) -> None:
        self.id = number
        self.command = command
        self.output = Output(output)
        try:
            self.input = Input(command.stdin) if command.stdin is not None else None
        except OSError:
            self.output.abandon()
            raise
        self.over: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None
        self.timed_out = False
        self.failure: ActionError | None = None

    def finish(self, result: Finished | ActionError) -> None:
        """Close everything and resolve; what was still in the pipe is read first."""
        if self.timer is not None:
            self.timer.cancel()
        self.output.finish()
        if self.input is not None:
            self.input.close()
        resolve(self.over, result)


class Commands:
    """Runs commands (`filewatchd.actions.base.Spawn`). Lives on the event loop's thread; ``stop`` ends it."""

    def __init__(self, groups: Groups, pool: Pool) -> None:
        self._groups = groups
        self._pool = pool
        self._numbers = itertools.count(1)
        self._runs: dict[int, Run] = {}
        self._link: Link | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._users = Users(pool)
        self._spawners = 0
        self._leftover = 0

    async def run(
        self, command: Command, output: Callable[[bytes], None], talk: socket.socket | None = None
    ) -> Finished:
        """Run a command to its end; merged stdout and stderr go to ``output`` in pieces of at most 64 KiB.

        ``talk``: its standard input, a socket to talk to it, which is closed here.

        Cancelling it ends the command as its time-out would, and returns when nothing of it is left; a second
        cancellation skips the grace.

        Raises:
            ActionError: it can't be started (not retryable where the program or the user doesn't exist).
        """
        with talk if talk is not None else contextlib.nullcontext():
            encoded = failures.encode(command)
            rights = await self._users.rights(command.user, command.group)
            if self._recovery is not None:
                await asyncio.wait([self._recovery])
            run = self._start(command, output, encoded, rights, talk)
        try:
            await asyncio.wait([run.over])
        except asyncio.CancelledError:
            await self._cancel(run)
            raise
        return run.over.result()

    async def stop(self) -> None:
        """End all commands at once, and the spawner."""
        for run in list(self._runs.values()):
            self._kill(run)
        if self._runs:
            await asyncio.wait([run.over for run in self._runs.values()])
        if self._recovery is not None:
            await self._recovery
        if self._link is not None:
            link, self._link = self._link, None
            link.close()
        self._groups.remove()

    def statistics(self) -> dict[str, Any]:
        """What runs and for how many seconds, and how commands are kept together here."""
        now = time.monotonic()
        kind, text = self._groups.describe()
        return {
            "containment": kind,
            "containment_text": text,
            "running": [
                {"argv": list(run.command.argv), "seconds": now - run.began, "output": run.output.total}
                for run in self._runs.values()
            ],
            "spawner": self._link.pid if self._link else None,
            "spawners_started": self._spawners,
            "leftover_ended": self._leftover,
        }

    # ---- starting

    def _start(
        self,
        command: Command,
        output: Callable[[bytes], None],
        encoded: failures.Encoded,
        rights: Rights | None,
        talk: socket.socket | None,
    ) -> Run:
        link = self._connected()
        try:
            run = Run(next(self._numbers), command, output)
        except OSError as error:  # no descriptors left
            raise ActionError(f"can't start {command.argv[0]!r}: {error.strerror}; raise LimitNOFILE=") from error
        self._runs[run.id] = run
        if command.timeout is not None:
            run.timer = asyncio.get_running_loop().call_later(command.timeout, self._time_out, run)
        descriptors = [run.output.theirs] + ([run.input.theirs] if run.input else [])
        if talk is not None:
            descriptors.append(talk.detach())  # the link closes it once it is on its way
        link.run(run.id, (encoded.argv, encoded.env, encoded.cwd, rights, encoded.binds), descriptors)
        return run

    def _connected(self) -> Link:
        if self._link is None:
            try:
                self._link = Link(self._groups.key, self._groups.directory, self._deliver, self._lose)
            except OSError as error:
                raise ActionError(f"can't start the process that starts commands: {error}") from error
            self._spawners += 1
        return self._link

    # ---- ending

    def _time_out(self, run: Run) -> None:
        run.timed_out = True
        self._stop(run)

    def _stop(self, run: Run) -> None:
        """Ask the command to stop, and kill it after the grace."""
        if self._link is not None and run.id in self._runs:
            self._link.signal(run.id, run.command.stop_signal)
        self._after(run, run.command.stop_timeout, self._kill)

    def _kill(self, run: Run) -> None:
        if self._link is not None and run.id in self._runs:
            self._link.end(run.id)
        self._after(run, KILL_GRACE, self._give_up)

    def _give_up(self, run: Run) -> None:
        """The spawner doesn't do as told (somebody stopped it): kill it, which `_lose` takes care of."""
        log.error("the process that starts commands doesn't answer; it is killed and started anew")
        if self._link is not None:
            self._link.kill()

    def _after(self, run: Run, seconds: float, callback: Callable[[Run], None]) -> None:
        if run.timer is not None:
            run.timer.cancel()
        run.timer = asyncio.get_running_loop().call_later(seconds, callback, run)

    async def _cancel(self, run: Run) -> None:
        """End a command whose waiter was cancelled; every further cancellation makes it quick."""
        self._stop(run)
        await wait_out(run.over, lambda: self._kill(run))

    # ---- reports

    def _deliver(self, message: tuple[Any, ...]) -> None:
        what, number, *details = message
        run = self._runs.get(number)
        if run is None:
            return
        if what == "failed":
            run.failure = failures.explain(run.command, *details)
        else:
            del self._runs[number]
            run.finish(run.failure or self._finished(run, *details))

    def _finished(self, run: Run, status: int, leftover: int, stuck: int) -> Finished:
        self._leftover += leftover
        if stuck:
            log.error(
                "%d processes of %r can't be killed (they wait inside the kernel); look at them",
                stuck,
                run.command.argv[0],
            )
        code, number = (status, None) if status >= 0 else (None, -status)
        return Finished(code, number, run.timed_out, leftover)

    def _lose(self) -> None:
        """The spawner died. What it had started may not have: that is killed before anything is started again."""
        self._link = None
        lost, self._runs = self._runs, {}
        for run in lost.values():
            if run.timer is not None:
                run.timer.cancel()
        self._recovery = asyncio.get_running_loop().create_task(self._recover(list(lost.values())))

    async def _recover(self, lost: list[Run]) -> None:
        log.error(
            "the process that starts commands has died; %d running commands are ended and count as failed", len(lost)
        )
        try:
            await self._pool.run("", self._groups.sweep)
        except (FilewatchdError, OSError) as error:
            log.error("%s", error)
        self._recovery = None
        for run in lost:
            run.finish(ActionError(f"{run.command.argv[0]!r} was ended: the process that started it has died"))
