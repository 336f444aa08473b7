"""When a root's checksum file is written: inside a job, which declares it as its own write, and not too often.

What waits to be written is remembered by nobody: when a root stands, the index knows whether the list is older than its
rows (`filewatchd.state.index.lists`). A list that somebody else has changed or removed is put back, at most once a
minute: two that both want to write one file aren't to do nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from filewatchd.actions.base import JobContext
from filewatchd.actions.checksum import summing
from filewatchd.actions.checksum.glance import LANE, look_at
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.seeing import Presence, Wanted
from filewatchd.errors import FilewatchdError
from filewatchd.model import Change, FileIdentity
from filewatchd.state.index import lists
from filewatchd.state.index.lists import Listed
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import joined, split

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum

_SHARE = 20  # a write that takes a second isn't repeated for so many
_PUT_BACK = 60.0  # seconds until a list that others have changed is written again


class Sums:
    """The checksum files of a rule's roots."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self._dirty: set[str] = set()
        self._written: dict[str, FileIdentity] = {}  # by root: the list that we wrote last
        self._not_before = 0.0

    def dirty(self, root: str) -> None:
        """Digests of a root's files have changed."""
        if self._action.options.checksum_file is not None:
            self._dirty.add(root)

    async def check(self, root: str) -> None:
        """A root stands, or the options are others: whether its list is what its rows say, and is there."""
        name = self._action.options.checksum_file
        if name is None:
            return
        ctx, ledger = self._action.ctx, await self._action.ledger(root)
        found: Listed | None = await ctx.pool.run(LANE, _current, ledger.index.path, ledger.id)
        if found is not None and (found.name, found.algorithm) == (name, self._action.options.algorithm):
            self._written[root] = found.identity
            (seen,) = await look_at(ctx, root, [Wanted(*split(name))], self._action.tracking())
            if seen.presence is Presence.HERE and seen.identity[:3] == found.identity[:3]:
                return
        self._dirty.add(root)
        if await self._is_built(root):  # else its end asks
            self.when_due()

    def others(self, changes: Iterable[Change]) -> list[Change]:
        """The changes that aren't of the checksum file itself. One that we didn't write is written anew."""
        name = self._action.options.checksum_file
        own = [change for change in changes if name is not None and change.relative == name]
        for change in own:
            written = self._written.get(change.root)
            if written is not None and (change.identity is None or change.identity[:3] != written[:3]):
                self._dirty.add(change.root)
                self._not_before = max(self._not_before, self._action.ctx.clock.monotonic() + _PUT_BACK)
        return [change for change in changes if change not in own] if own else list(changes)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What leaves the checksum file, and what becomes one, out of a walk."""
        name = self._action.options.checksum_file
        if name is None:
            return ()
        directory, last = split(re.sub(r"([\\*?\[\]!# ])", r"\\\1", name))
        return (f"/{joined(directory, last)}", f"/{joined(directory, f'.{last}.*.tmp')}")

    def when_due(self) -> None:
        """Ask for a job that writes, now or when it isn't too soon."""
        if not self._dirty:
            return
        wait = self._not_before - self._action.ctx.clock.monotonic()
        if wait <= 0:
            self._action.request()
        else:
            when = self._action.ctx.clock.wall_ns() / 1e9 + wait
            self._action.ctx.timers.at("sums", when, self._action.request)

    async def write(self, job: JobContext) -> None:
        """Write those that are due."""
        clock = self._action.ctx.clock
        if not self._dirty or clock.monotonic() < self._not_before:
            self.when_due()
            return
        began = clock.monotonic()
        dirty, self._dirty = self._dirty, set()
        for root in dirty:
            try:
                if self._action.ground(root) is None or not await self._is_built(root):
                    self._dirty.add(root)  # for later
                    continue
                await self._write(job, root)
            except (OSError, FilewatchdError) as error:
                self._dirty.add(root)
                words = f"{self._action.options.checksum_file}: {error}"
                self._action.ctx.finding(f"checksum-file:{root}", words, root)
            else:
                self._action.ctx.clear_finding(f"checksum-file:{root}")
        self._not_before = clock.monotonic() + _SHARE * (clock.monotonic() - began)

    async def _is_built(self, root: str) -> bool:
        ledger = await self._action.ledger(root)
        return bool(await self._action.ctx.pool.run(LANE, ledger.built))

    async def _write(self, job: JobContext, root: str) -> None:
        ctx, options = self._action.ctx, self._action.options
        name = str(options.checksum_file)
        ledger = await self._action.ledger(root)
        entry = await ctx.pool.run(LANE, _newest, ledger.index.path)
        pieces = await ctx.pool.run(LANE, summing.Pieces, ledger.index.path, ledger.id, options.algorithm, name)
        try:
            temporary = await ctx.worker.call(summing.begin, root, name)
            try:
                while piece := await ctx.pool.run(LANE, pieces.next):
                    await ctx.worker.call(summing.append, root, name, temporary, piece)
                identity = await ctx.worker.call(summing.finish, root, name, temporary)
            except BaseException:
                await ctx.worker.call(summing.discard, root, name, temporary)
                raise
        finally:
            await ctx.pool.run(LANE, pieces.close)
        job.wrote(f"{root.rstrip('/')}/{name}", identity)
        self._written[root] = identity
        await ctx.pool.run(LANE, _note, ledger, Listed(name, options.algorithm, entry, identity))


def _current(path: str, root: int) -> Listed | None:
    """The list that was written of the rows as they are."""
    with Reader(path) as reader:
        found = lists.listed(reader, root)
        return None if found is None or lists.is_stale(reader, root, found) else found


def _newest(path: str) -> int:
    with Reader(path) as reader:
        return lists.newest(reader)


def _note(ledger: Ledger, found: Listed) -> None:
    with ledger.index.edit() as edit:
        lists.note(edit, ledger.id, found)
