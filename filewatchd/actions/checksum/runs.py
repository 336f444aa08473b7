"""The rule's builds, verifies and scrub: which there are, which go on after a restart, how far each is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.actions.base import Ground
from filewatchd.actions.checksum import scrubbing
from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.judging import Reading, to_read
from filewatchd.actions.checksum.keeping import Ledger, Mark
from filewatchd.actions.checksum.options import Scrub
from filewatchd.actions.checksum.seeing import Presence, Wanted
from filewatchd.actions.checksum.settling import Looked
from filewatchd.actions.checksum.walking import Walk
from filewatchd.errors import ActionError, FilewatchdError
from filewatchd.state.index.rows import Run
from filewatchd.state.pack import pack, unpack

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum


_RETRY = 60.0  # seconds until a build that failed is begun again


class Running(NamedTuple):
    """A run under way."""

    run: Run
    task: asyncio.Task[None]
    walk: Walk | None


class Runs:
    """All runs of one rule."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self.running: dict[int, Running] = {}
        self._claimed: set[int] = set()  # runs that begin, or run
        self._building: set[str] = set()  # roots of which a build begins or runs
        self._scanned: set[str] = set()
        self._to_scrub: set[str] = set()  # roots that this cycle hasn't come to
        self._scrubbing = asyncio.Lock()  # one root at a time: the rates are the rule's
        self._stopping = False
        self.short = scrubbing.is_short
        self.waits = ""  # what the scrub waits for

    # ---- what begins them

    def scanned(self, root: str) -> None:
        """From now on every change of a root brings a job: what it holds can be built, and cut off runs go on."""
        if not self._stopping:
            first = root not in self._scanned
            self._scanned.add(root)
            self._action.follow(f"begin {root}", self._begin(root, first=first))

    async def _begin(self, root: str, *, first: bool) -> None:
        action = self._action
        ledger = await action.ledger(root)
        cut_off: list[Run] = await action.ctx.pool.run(LANE, ledger.cut_off) if first else []
        await self._build(root, ledger, next((run for run in cut_off if run.kind == "build"), None))
        for run in cut_off:
            if run.kind == "verify":
                await self._start(root, run)
        if first:
            await action.again_racy(ledger)
        self._to_scrub.add(root)
        if not self._scrubbing.locked():
            self.reschedule()  # it begins, or goes on where the root went away

    async def _build(self, root: str, ledger: Ledger, cut_off: Run | None) -> None:
        """Build a root that isn't built, or not by the patterns that the rule has now."""
        ground = self._action.ground(root)
        if ground is None or root in self._building:
            return
        self._building.add(root)
        begun = False
        try:
            built = await self._action.ctx.pool.run(LANE, ledger.selection)
            if built != selection_of(ground):
                mode = Reading.FULL if built is None else Reading.QUICK  # then what is known needs no reading
                await self._start(root, cut_off or await self.enter(ledger, "build", mode.value))
                begun = True
        finally:
            if not begun:
                self._building.discard(root)

    async def enter(
        self, ledger: Ledger, kind: str, mode: str = "full", scope: str = "", uid: int | None = None
    ) -> Run:
        """A new run in the index."""
        return await self._action.ctx.pool.run(LANE, ledger.begin_run, kind, mode, scope, uid)

    async def verify(self, root: str, scope: str, mode: str, uid: int | None) -> int:
        """Begin to verify."""
        ledger = await self._action.ledger(root)
        run = await self.enter(ledger, "verify", mode, scope, uid)
        await self._start(root, run)
        return run.id

    async def resume(self, number: int) -> int:
        """Take a run up again.

        Raises:
            ActionError: there is no such run of this rule, or it needs no more.
        """
        for root in list(self._action.ledgers):
            ledger = self._action.ledgers[root]
            run = await self._action.ctx.pool.run(LANE, ledger.run, number)
            if run is not None and run.root == root and run.state != "done" and not self._is_under_way(run):
                await self._start(root, run)
                return number
        raise ActionError(f"there is no run {number} of rule {self._action.ctx.rule.name} to take up", retryable=False)

    def _is_under_way(self, run: Run) -> bool:
        if run.kind == "build" and run.root in self._building:
            return True
        return run.id in self._claimed or run.id in self.running

    async def _start(self, root: str, run: Run) -> None:
        self._claimed.add(run.id)
        if run.kind == "build":
            self._building.add(root)
        try:
            await self._walk(root, run)
        except BaseException:
            self._over(run, root)
            raise

    def _over(self, run: Run, root: str) -> None:
        """It may be begun again."""
        self._claimed.discard(run.id)
        if run.kind == "build":
            self._building.discard(root)

    async def _walk(self, root: str, run: Run) -> None:
        ground = self._action.ground(root)
        ledger = await self._action.ledger(root)
        if ground is None:
            await self._action.ctx.pool.run(LANE, ledger.end_run, run.id, "stopped")
            raise ActionError(f"{root} isn't there, or is not what it was; see filewatchctl status", retryable=False)
        action, build = self._action, run.kind == "build"
        walk = Walk(
            action.ctx, ledger, ground, action.policy, action.tracking(), Reading(run.mode), run.id,
            scope=run.scope, cursor=run.cursor, build=build, settled=action.settled, unstable=action.unstable,
        )  # fmt: skip
        await action.ctx.pool.run(LANE, ledger.end_run, run.id, "running")
        action.follow(f"{run.kind} {root}", self._follow(run, walk, ledger, ground))

    async def _follow(self, run: Run, walk: Walk, ledger: Ledger, ground: Ground) -> None:
        try:
            await self._guard(run, walk, ledger, ground)
        finally:
            self._over(run, ground.root)

    async def _guard(self, run: Run, walk: Walk, ledger: Ledger, ground: Ground) -> None:
        """Walk, and write how it ended; a stop leaves the cursor where it is."""
        action = self._action
        selection = selection_of(ground) if run.kind == "build" else None
        task = asyncio.current_task()
        assert task is not None, "a follow-up is a task"
        self.running[run.id] = Running(run, task, walk)
        action.ctx.log.info("%s of %s begins", run.kind, ground.root)
        try:
            await walk.run()
        except asyncio.CancelledError:
            if not self._stopping:
                await action.ctx.pool.run(LANE, ledger.end_run, run.id, "stopped")
            raise
        except (BaseExceptionGroup, FilewatchdError, OSError) as error:
            shown = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
            action.ctx.log.error("%s of %s stopped: %s", run.kind, ground.root, shown)
            action.ctx.finding(f"index-run:{ground.root}", f"{run.kind} of {ground.root} stopped: {shown}", ground.root)
            await action.ctx.pool.run(LANE, ledger.end_run, run.id, "failed")
            if run.kind == "build":
                when = action.ctx.clock.wall_ns() / 1e9 + _RETRY
                action.ctx.timers.at(f"build-{ledger.id}", when, partial(self.scanned, ground.root))
            return
        finally:
            self.running.pop(run.id, None)
        await action.ctx.pool.run(LANE, ledger.end_run, run.id, "done", selection)
        action.ctx.clear_finding(f"index-run:{ground.root}")
        words = ", ".join(f"{count:,} {verdict.value}" for verdict, count in walk.verdicts.items() if count)
        action.ctx.log.info(
            "%s of %s: %s files, %s", run.kind, ground.root, f"{walk.files:,}", words or "nothing there"
        )
        await action.walked(ledger)

    # ---- the scrub

    def reschedule(self) -> None:
        """Begin the scrub, or leave it as the rule now says."""
        for number, running in list(self.running.items()):
            if running.run.kind == "scrub":
                running.task.cancel()
                self.running.pop(number)
        if self._action.options.scrub is not None and self._scanned and not self._stopping:
            self._to_scrub.update(self._scanned)
            self._action.follow("scrub", self._scrub())

    async def _scrub(self) -> None:
        """One cycle over every root, then a timer for the next; what is scanned meanwhile belongs to it."""
        async with self._scrubbing:
            await self._cycle()

    async def _cycle(self) -> None:
        action, soonest = self._action, None
        while self._to_scrub and (scrub := action.options.scrub) is not None:  # it may be reloaded meanwhile
            root = min(self._to_scrub)
            self._to_scrub.discard(root)
            ledger = await action.ledger(root)
            run = await action.ctx.pool.run(LANE, ledger.scrub_run)
            if run is not None and run.state == "done":
                due = run.began_ns / 1e9 + scrub.every
                if due > action.ctx.clock.wall_ns() / 1e9:
                    soonest = min(soonest or due, due)
                    continue
                run = None
            ended = await self._scrub_root(ledger, run or await self.enter(ledger, "scrub"), scrub)
            soonest = min(soonest or ended + scrub.every, ended + scrub.every)
        if soonest is not None:
            action.ctx.timers.at("scrub", soonest, self.reschedule)

    async def _scrub_root(self, ledger: Ledger, run: Run, scrub: Scrub) -> float:
        action = self._action
        task = asyncio.current_task()
        assert task is not None
        self.running[run.id] = Running(run, task, None)
        cursor = tuple(unpack(run.cursor)) if run.cursor else None
        portions = scrubbing.Portions(ledger, scrub, cursor)
        pace = scrubbing.Pace(scrub, action.ctx.clock.monotonic())
        try:
            while (portion := await action.ctx.pool.run(LANE, portions.next)) is not None:
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
        finally:
            if run.id in self.running and self.running[run.id].task is task:  # not the one that goes on with it
                del self.running[run.id]
        await action.walked(ledger)
        return run.began_ns / 1e9

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
        sure = [each for each in looked if each.seen.presence in (Presence.HERE, Presence.UNREADABLE)]
        mark = Mark(run.id, ledger.root, pack(list(portion.cursor)))  # what is gone is a job's to find
        settled = await action.ctx.pool.run(LANE, ledger.settle, sure, action.policy, False, mark)
        action.settled(ledger, settled)
        await action.report()
        return int(settled.bytes)

    # ---- while they run

    def touch(self, root: str, paths: Iterable[str]) -> None:
        """A job knows these paths better than a walk that is under way."""
        for running in self.running.values():
            if running.walk is not None and running.run.root in ("", root):
                running.walk.touched.update(paths)

    async def halt(self, number: int) -> None:
        """Stop a run; it can be taken up again.

        Raises:
            ActionError: it doesn't run.
        """
        if number not in self.running:
            raise ActionError(f"run {number} isn't running", retryable=False)
        self.running[number].task.cancel()

    async def stop(self) -> None:
        """The daemon ends: what runs goes on at the next start."""
        self._stopping = True
        tasks = [running.task for running in self.running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def statistics(self) -> list[Mapping[str, Any]]:
        """Those under way."""
        return [
            {
                "id": number,
                "kind": running.run.kind,
                "mode": running.run.mode,
                "files": running.walk.files if running.walk is not None else 0,
                "bytes": running.walk.bytes if running.walk is not None else 0,
                "total": running.run.total,
                "waits": self.waits if running.run.kind == "scrub" else "",
            }
            for number, running in self.running.items()
        ]


def selection_of(ground: Ground) -> str:
    """The patterns a root is walked by, in a word."""
    return hashlib.sha256(repr((ground.include, ground.exclude)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
