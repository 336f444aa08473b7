"""The scrub's cycle: one root of the rule after the other, again and again, each as `scrubbing` reads it.

What a first build or a full verify has read counts, too: a root is read again that long after the beginning of whatever
read it whole last, and not before it is built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filewatchd.actions.base import Ground
from filewatchd.actions.checksum import scrubbing
from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.judging import Reading, to_read
from filewatchd.actions.checksum.keeping import Ledger, Mark
from filewatchd.actions.checksum.options import Scrub
from filewatchd.actions.checksum.seeing import Presence, Wanted
from filewatchd.actions.checksum.settling import Looked
from filewatchd.errors import FilewatchdError
from filewatchd.state.index.rows import Run
from filewatchd.state.pack import pack, unpack

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum
    from filewatchd.actions.checksum.runs import Runs

_RETRY = 60.0  # seconds until a scrub that failed goes on


class Cycle:
    """The scrub of one rule."""

    def __init__(self, action: Checksum, runs: Runs) -> None:
        self._action = action
        self._runs = runs
        self._roots: set[str] = set()  # that were scanned
        self._to_scrub: set[str] = set()  # those that this cycle hasn't come to
        self._scrubbing = asyncio.Lock()  # one root at a time: the rates are the rule's
        self._at = ""  # the root that is being read
        self._touched: set[str] = set()  # its paths that jobs have written since the portion at hand was given out
        self.short = scrubbing.is_short
        self.waits = ""  # what it waits for

    def stands(self, root: str) -> None:
        """A root was scanned, or built: it begins, or goes on where the root went away."""
        self._roots.add(root)
        self._to_scrub.add(root)
        if not self._scrubbing.locked():
            self.reschedule()

    def reschedule(self) -> None:
        """Begin the scrub, or leave it as the rule now says."""
        running = self._runs.running
        for number in [number for number, each in running.items() if each.run.kind == "scrub"]:
            running.pop(number).task.cancel()
        if self._action.options.scrub is not None and self._roots and not self._runs.stopping:
            self._to_scrub.update(self._roots)
            self._action.follow("scrub", self._scrub())

    async def _scrub(self) -> None:
        """One cycle over every root, then a timer for the next; what is scanned meanwhile belongs to it."""
        async with self._scrubbing:
            await self._cycle()

    def touch(self, root: str, paths: Iterable[str]) -> None:
        """A job knows these paths better than a look that is under way."""
        if root == self._at:
            self._touched.update(paths)

    async def _cycle(self) -> None:
        action, due = self._action, list[float]()
        while self._to_scrub and (scrub := action.options.scrub) is not None:  # it may be reloaded meanwhile
            root = min(self._to_scrub)
            self._to_scrub.discard(root)
            try:
                due += await self._turn(root, scrub)
            except (FilewatchdError, OSError) as error:
                action.ctx.log.error("scrub of %s stopped: %s", root, error)
                due.append(action.ctx.clock.wall_ns() / 1e9 + _RETRY)
        if due:
            action.ctx.timers.at("scrub", min(due), self.reschedule)

    async def _turn(self, root: str, scrub: Scrub) -> list[float]:
        """Scrub a root if it is due; returns when it is due next, or nothing if it isn't built."""
        ledger = await self._action.ledger(root)
        if await self._action.ctx.pool.run(LANE, ledger.selection) is None:
            return []
        runs: list[Run] = await self._action.ctx.pool.run(LANE, ledger.whole_runs)
        begun = next((run for run in runs if run.kind == "scrub"), None)
        if begun is None or begun.state == "done":
            now = self._action.ctx.clock.wall_ns() / 1e9
            due = max((run.began_ns / 1e9 for run in runs if run.state == "done"), default=0.0) + scrub.every
            if due > now:
                return [min(due, now + scrub.every)]  # the clock may have been wrong then
            begun = await self._runs.enter(ledger, "scrub")
        await self._scrub_root(ledger, begun, scrub)
        return [begun.began_ns / 1e9 + scrub.every]

    async def _scrub_root(self, ledger: Ledger, run: Run, scrub: Scrub) -> None:
        action = self._action
        cursor = tuple(unpack(run.cursor)) if run.cursor else None
        portions = scrubbing.Portions(ledger, scrub, cursor)
        pace = scrubbing.Pace(scrub, action.ctx.clock.monotonic())
        with self._runs.under_way(run), self._reading(ledger.root):
            while (portion := await self._next(portions)) is not None:
                await self._yield()
                ground = action.ground(ledger.root)
                if ground is None:
                    break  # it goes on when the root is there again
                size = await self._scrub_portion(ledger, run, ground, portion)
                wait = pace.took(len(portion.rows), size, action.ctx.clock.monotonic())
                if wait > 0:
                    await asyncio.sleep(wait)
            else:
                await action.ctx.pool.run(LANE, ledger.end_run, run.id, "done")
        await action.walked(ledger)

    @contextmanager
    def _reading(self, root: str) -> Iterator[None]:
        self._at = root
        try:
            yield
        finally:
            self._at = ""
            self._touched.clear()

    async def _next(self, portions: scrubbing.Portions) -> scrubbing.Portion | None:
        self._touched.clear()
        portion: scrubbing.Portion | None = await self._action.ctx.pool.run(LANE, portions.next)
        return portion

    async def _yield(self) -> None:
        """Let others use the machine."""

        def told(lacking: str) -> None:
            self.waits = lacking

        await scrubbing.step_back(self.short, told)

    async def _scrub_portion(self, ledger: Ledger, run: Run, ground: Ground, portion: scrubbing.Portion) -> int:
        action = self._action
        track = action.options.tracking
        elsewhere = await action.ctx.pool.run(LANE, ledger.filesystem_of, portion.directory)
        names = {region.filesystem for region in ground.regions}
        looked: list[Looked] = []
        if elsewhere in ("", *names):
            wanted = [
                Wanted(portion.directory, name, to_read(row, None, track, Reading.FULL),
                       row.identity.size if track.growing else -1)
                for name, row in portion.rows.items()
            ]  # fmt: skip
            looked = await scrubbing.read(
                action.ctx, ground.root, portion, wanted, action.tracking(ground.granularity_ns), self._yield
            )
        sure = [
            each
            for each in looked
            if each.seen.presence in (Presence.HERE, Presence.UNREADABLE) and each.path not in self._touched
        ]
        mark = Mark(run.id, ledger.root, pack(list(portion.cursor)))  # what is gone is a job's to find
        settled = await action.ctx.pool.run(LANE, ledger.settle, sure, action.policy, False, mark)
        action.settled(ledger, settled)
        await action.report()
        return int(settled.bytes)
