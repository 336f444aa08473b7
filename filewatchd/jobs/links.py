"""New hard links: find the older names of a file that got one more.

Only rows known to have several names are indexed by inode, which keeps a row small. A link adds a name without
an event for the others, so their rows don't say so yet. They are found by one pass over the baseline, in the
pool, for all the links of the last moments together; looked at again, they are flagged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from filewatchd.clock import Clock
from filewatchd.model import Hint
from filewatchd.state.comparison import ManifestReader
from filewatchd.work.pool import Pool

if TYPE_CHECKING:
    from filewatchd.jobs.binding import Binding


class NewLinks:
    """Inodes that got a name, until the pass that finds their older ones."""

    def __init__(self, pool: Pool, clock: Clock, reader: Callable[[], ManifestReader]) -> None:
        self._pool = pool
        self._clock = clock
        self._reader = reader
        self._inodes: dict[Binding, set[int]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """True while older names are looked for."""
        return self._task is not None

    async def quiet(self) -> None:
        """Return when no older names are looked for."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def add(self, binding: Binding, inode: int) -> None:
        """A path with several names was created."""
        self._inodes.setdefault(binding, set()).add(inode)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._inodes:
                binding, inodes = self._inodes.popitem()
                if binding.baseline is None:
                    continue
                paths = await self._pool.run("state", self._find, binding.baseline.id, inodes)
                now = self._clock.monotonic()
                for path in paths:
                    binding.mark(path, Hint.AGAIN, now)
                binding.pipeline.engine.poke()
        finally:
            self._task = None

    def _find(self, baseline: int, inodes: set[int]) -> list[str]:
        return self._reader().of_inodes(baseline, inodes)
