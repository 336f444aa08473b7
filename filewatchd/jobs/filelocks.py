"""Who may use which file now: actions of two rules that work on one file exclude each other.

A file is known by (device, inode), so all its names count; one that isn't there, by its path. Any number may share a
file, or one has it to itself; who came first is first. One call takes its files in one order for everybody, so two
calls never wait for each other. What the runner holds for an action (`Needs.use`) the action holds already when it
asks again, and so do the tasks it starts, as long as the runner holds it; follow-ups start with nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context

from filewatchd.actions.base import Pool
from filewatchd.work.gathering import Gathered

FileKey = tuple[str | int, ...]


class _Grant:
    """What one call holds, until it gives it back."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.over = False


_held: ContextVar[dict[FileKey, _Grant]] = ContextVar("files held by this task and those above it")


def holding_nothing() -> Context:
    """A context for a task that outlives who starts it."""
    context = copy_context()
    context.run(_held.set, {})
    return context


class _Turn:
    """One file's turns: any number of sharers, or one owner."""

    def __init__(self) -> None:
        self._sharers = 0
        self._owned = False
        self._line: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @property
    def unused(self) -> bool:
        return not (self._owned or self._sharers or self._line)

    async def take(self, shared: bool) -> None:
        if not self._line and self._fits(shared):
            self._enter(shared)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((shared, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # given and cancelled at once
                self.give(shared)
            else:
                self._line.remove((shared, place))
                self._admit()
            raise

    def give(self, shared: bool) -> None:
        if shared:
            self._sharers -= 1
        else:
            self._owned = False
        self._admit()

    def _fits(self, shared: bool) -> bool:
        return not self._owned and (shared or not self._sharers)

    def _enter(self, shared: bool) -> None:
        if shared:
            self._sharers += 1
        else:
            self._owned = True

    def _admit(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            shared, place = self._line.popleft()
            if not place.done():
                self._enter(shared)
                place.set_result(None)


class FileLocks:
    """The files in use, over all rules. Lives on the loop; files are looked at in the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turns: dict[FileKey, _Turn] = {}
        self._asking: dict[str, Gathered[Sequence[str], set[FileKey]]] = {}  # by lane

    @asynccontextmanager
    async def hold(self, paths: Sequence[str], *, shared: bool = False, lane: str = "") -> AsyncIterator[None]:
        """Hold these files. ``lane``: the pool's, for their filesystem.

        Raises:
            RuntimeError: a file is held as shared already and asked for alone, which could wait for itself.
        """
        if lane not in self._asking:
            self._asking[lane] = Gathered(lambda wanted: self._pool.run(lane, keys_of_each, wanted))
        keys = await self._asking[lane].ask(paths)
        already = {key: grant for key, grant in _held.get({}).items() if not grant.over}
        if not shared and any(already[key].shared for key in keys & already.keys()):
            raise RuntimeError("a file that is shared can't be held alone: ask for exclusive use from the start")
        wanted = sorted(keys - already.keys(), key=repr)
        grant = _Grant(shared)
        token = _held.set({**already, **dict.fromkeys(wanted, grant)})
        taken: list[FileKey] = []
        try:
            for key in wanted:
                await self._take(key, shared)
                taken.append(key)
            yield
        finally:
            grant.over = True
            for key in taken:
                self._give(key, shared)
            _held.reset(token)

    async def _take(self, key: FileKey, shared: bool) -> None:
        turn = self._turns.setdefault(key, _Turn())
        try:
            await turn.take(shared)
        finally:
            self._tidy(key)

    def _give(self, key: FileKey, shared: bool) -> None:
        self._turns[key].give(shared)
        self._tidy(key)

    def _tidy(self, key: FileKey) -> None:
        if self._turns[key].unused:
            del self._turns[key]


def keys_of_each(wanted: Sequence[Sequence[str]]) -> list[set[FileKey]]:
    """`keys_of` of several at once."""
    return [keys_of(paths) for paths in wanted]


def keys_of(paths: Sequence[str]) -> set[FileKey]:
    """What two names of one file have in common. Blocking."""
    return set(map(_key_of, paths))


def _key_of(path: str) -> FileKey:
    try:
        info = os.stat(path, follow_symlinks=False)
    except OSError:
        return ("path", path)
    return (info.st_dev, info.st_ino)
