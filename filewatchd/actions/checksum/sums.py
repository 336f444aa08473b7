"""When a root's checksum file is written: inside a job, which declares it as its own write, and not too often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filewatchd.actions.base import JobContext
from filewatchd.actions.checksum import summing
from filewatchd.actions.checksum.glance import LANE
from filewatchd.errors import FilewatchdError
from filewatchd.model import Change
from filewatchd.state.index.rows import joined, split

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum

_SHARE = 20  # a write that takes a second isn't repeated for so many


class Sums:
    """The checksum files of a rule's roots."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self._dirty: set[str] = set()
        self._not_before = 0.0

    def dirty(self, root: str) -> None:
        """Digests of a root's files have changed."""
        if self._action.options.checksum_file is not None:
            self._dirty.add(root)

    def is_own(self, change: Change) -> bool:
        """Whether a change is of the checksum file itself."""
        name = self._action.options.checksum_file
        return name is not None and change.relative == name

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
