"""File work with a rule's rights: in a thread of the pool, or, where it has a ``user:``, in a worker of that user.

Both ways look the same to who asks: a function of a module and plain arguments, its result, OSError and ActionError.
Where there is much to do, `apart` spreads it over some processes more, with the same rights: threads that make many
system calls hold each other up, since each call gives the interpreter's lock away.
A user's worker (`filewatchd.work.worker`) is started when it is first wanted and ends when it was idle for a while.
It can't import once it has dropped its rights, so it is told the modules it will need; for another one there is
another worker. If it dies, what it was asked fails (retryable), and the next call starts a new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from filewatchd.work.employee import Process, Starts
from filewatchd.work.pool import Pool
from filewatchd.work.users import Rights, Users, own_name

T = TypeVar("T")
log = logging.getLogger(__name__)

_END = object()
_ABREAST = 4  # processes that share one user's work, or one for each processor where there are fewer
_LINGER = 5.0  # seconds that they wait for more


class Workers:
    """The workers of all users. Lives on the loop."""

    def __init__(self, starts: Starts, pool: Pool) -> None:
        self._starts = starts
        self._pool = pool
        self._users = Users(pool)
        self._running: dict[str, Process] = {}  # by user
        self._crews: dict[str | None, list[Process]] = {}  # the same: those that share work
        self._leaving: set[Process] = set()
        self._modules: set[str] = set()  # all that work was ever asked of

    async def call(self, user: str | None, lane: str, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        """Run ``work(*args)`` as this user (None: as the daemon, in a thread of the lane).

        Raises:
            ActionError: there is no such user, or the worker died; or the function's own.
            OSError: the function's own.
        """
        rights = await self._users.rights(user, None)
        if user is None or rights is None:
            return await self._pool.run(lane, work, *args)
        return await self._of(user, rights, work).call(work, args)

    async def steps(
        self, user: str | None, lane: str, work: Callable[..., Iterator[T]], args: tuple[Any, ...]
    ) -> AsyncGenerator[T]:
        """The values of a generator function, which goes on only when the next one is asked for. Raises: as `call`."""
        rights = await self._users.rights(user, None)
        if user is None or rights is None:
            series = self._here(lane, work, args)
        else:
            series = self._of(user, rights, work).series(work, args)
        async with aclosing(series) as values:
            async for value in values:
                yield value

    async def apart(self, user: str | None, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        """Run ``work(*args)`` as this user (None: as the daemon) in one of some processes. Raises: as `call`."""
        rights = await self._users.rights(user, None)
        return await self._idlest(user, rights, work).call(work, args)

    def _idlest(self, user: str | None, rights: Rights | None, work: Callable[..., Any]) -> Process:
        crew = [process for process in self._crews.get(user, ()) if not process.over]
        able = [process for process in crew if work.__module__ in process.modules]
        idlest = min(able, key=lambda process: process.busy, default=None)
        for process in crew:
            if process not in able:
                self._leave(process)
        if idlest is None or (idlest.busy and len(able) < abreast()):
            self._modules.add(work.__module__)
            idlest = Process(
                user or own_name(), rights, frozenset(self._modules), self._starts, alone=True, idle=_LINGER
            )
            able.append(idlest)
        self._crews[user] = able
        return idlest

    async def _here(self, lane: str, work: Callable[..., Iterator[T]], args: tuple[Any, ...]) -> AsyncGenerator[T]:
        series = work(*args)
        stepping: asyncio.Future[Any] | None = None
        over = False
        try:
            while True:
                stepping = asyncio.ensure_future(self._pool.run(lane, next, series, _END))
                value = await asyncio.shield(stepping)
                stepping = None
                if value is _END:
                    over = True
                    return
                yield value
        finally:
            if stepping is not None:  # cancelled in the middle of a step: a generator that runs can't be closed
                await asyncio.wait([stepping])
            if not over:
                await self._pool.run(lane, _close, series)

    def _of(self, user: str, rights: Rights, work: Callable[..., Any]) -> Process:
        """This user's worker; one that hasn't the work's module ends what it does and goes."""
        process = self._running.get(user)
        if process is None or process.over or work.__module__ not in process.modules:
            self._modules.add(work.__module__)
            if process is not None:
                self._leave(process)
            process = self._running[user] = Process(user, rights, frozenset(self._modules), self._starts)
        return process

    def _leave(self, process: Process) -> None:
        if not process.over:
            self._leaving.add(process)
            process.leave(lambda: self._leaving.discard(process))

    async def stop(self) -> None:
        """Let all workers go."""
        crews = (process for crew in self._crews.values() for process in crew)
        for process in (*self._running.values(), *crews, *self._leaving):
            await process.stop()

    def statistics(self) -> dict[str, int]:
        """How many calls each user's worker has under way."""
        found = {user: process.busy for user, process in self._running.items() if not process.over}
        for user, crew in self._crews.items():
            standing = [process.busy for process in crew if not process.over]
            if standing:
                name = user or own_name()
                found[name] = found.get(name, 0) + sum(standing)
        return found


def abreast() -> int:
    """How many processes share one user's work."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)  # not on macOS
    return min(_ABREAST, len(usable))


def _close(series: Iterator[Any]) -> None:
    close = getattr(series, "close", None)
    if close is not None:
        close()


class RuleWorker:
    """One rule's way to work with its rights (`filewatchd.actions.base.Worker`)."""

    def __init__(self, workers: Workers, user: Callable[[], str | None], lane: Callable[[], str]) -> None:
        """``user`` and ``lane``: the rule's, as they are when work is asked for."""
        self._workers = workers
        self._user = user
        self._lane = lane

    def call(self, work: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        """As `Workers.call`."""
        return self._workers.call(self._user(), self._lane(), work, args)

    def apart(self, work: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        """As `Workers.apart`."""
        return self._workers.apart(self._user(), work, args)

    @property
    def abreast(self) -> int:
        """As `abreast`."""
        return abreast()

    def steps(self, work: Callable[..., Iterator[T]], *args: Any) -> AsyncGenerator[T]:
        """As `Workers.steps`."""
        return self._workers.steps(self._user(), self._lane(), work, args)
