"""The rule's builds and verifies: which there are, which go on after a restart, how far each is. See also `cycle`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.actions.base import Ground
from filewatchd.actions.checksum.beginning import beginning, selection_of
from filewatchd.actions.checksum.cycle import Cycle
from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.judging import Reading
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.listing import is_bare
from filewatchd.actions.checksum.walking import Walk
from filewatchd.errors import ActionError, FilewatchdError
from filewatchd.state.index.rows import Run, Verdict

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
        self.stopping = False
        self.cycle = Cycle(action, self)

    # ---- what begins them

    def scanned(self, root: str) -> None:
        """From now on every change of a root brings a job: what it holds can be built, and cut off runs go on."""
        if not self.stopping:
            first = root not in self._scanned
            self._scanned.add(root)
            self._action.follow(f"begin {root}", self._begin(root, first=first))

    async def _begin(self, root: str, *, first: bool) -> None:
        action = self._action
        ledger = await action.ledger(root)
        cut_off: list[Run] = await action.ctx.pool.run(LANE, ledger.cut_off) if first else []
        builds = await self._build(root, ledger, next((run for run in cut_off if run.kind == "build"), None))
        for run in cut_off:
            if run.kind == "verify":
                await self._start(root, run)
        if await self._is_back(ledger):
            await self.verify(root, "", Reading.QUICK.value, None)
        if first:
            await action.again_racy(ledger)
            await action.stands(root)
        if action.options.others and not builds:
            await action.others.sweep(root)
        self.cycle.stands(root)

    async def _is_back(self, ledger: Ledger) -> bool:
        """Whether a root is there that was told as gone."""
        waiting = await self._action.ctx.pool.run(LANE, ledger.waiting, "")
        gone = any(change.verdict is Verdict.ROOT_GONE for change in waiting)
        return gone and not await self._action.ctx.worker.call(is_bare, ledger.root)

    async def _build(self, root: str, ledger: Ledger, cut_off: Run | None) -> bool:
        """Build a root that isn't built, or not by the rule's patterns and types of now, or whose changes weren't told.

        That is so where the daemon lost its journal, or never had one with this index. Returns whether it is under way.
        """
        ground = self._action.ground(root)
        if ground is None or root in self._building:
            return root in self._building
        self._building.add(root)
        begun = False
        try:
            built = await self._action.ctx.pool.run(LANE, ledger.selection)
            other = built != selection_of(ground, self._action.options.types)
            if other or await self._action.ctx.pool.run(LANE, ledger.is_older, ground.since_ns):
                mode = Reading.FULL if built is None else Reading.QUICK  # then what is known needs no reading
                await self._start(root, cut_off or await self.enter(ledger, "build", mode.value))
                begun = True
        finally:
            if not begun:
                self._building.discard(root)
        return begun

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
        action = self._action
        types, builds = action.options.types, run.kind == "build"
        start = await action.ctx.pool.run(LANE, beginning, ledger, ground, types) if builds else None
        walk = Walk(
            action.ctx, ledger, ground, action.policy, action.tracking(), Reading(run.mode), run.id,
            scope=run.scope, cursor=run.cursor, beginning=start, settled=action.settled,
            unstable=action.unstable,
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
        selection = selection_of(ground, action.options.types) if run.kind == "build" else None
        action.ctx.log.info("%s of %s begins", run.kind, ground.root)
        try:
            with self.under_way(run, walk):
                await walk.run()
        except asyncio.CancelledError:
            if not self.stopping:
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
        await action.ctx.pool.run(LANE, ledger.end_run, run.id, "done", selection)
        action.ctx.clear_finding(f"index-run:{ground.root}")
        words = ", ".join(f"{count:,} {verdict.value}" for verdict, count in walk.verdicts.items() if count)
        action.ctx.log.info(
            "%s of %s: %s files, %s", run.kind, ground.root, f"{walk.files:,}", words or "nothing there"
        )
        await action.walked(ledger)
        if run.kind == "build":
            action.others.built(ground.root)
            self.cycle.stands(ground.root)
            if selection != selection_of(ground, action.options.types):  # they are other types by now
                self._building.discard(ground.root)
                self.scanned(ground.root)

    # ---- while they run

    @contextmanager
    def under_way(self, run: Run, walk: Walk | None = None) -> Iterator[None]:
        """A run that the task at hand does."""
        task = asyncio.current_task()
        assert task is not None, "a follow-up is a task"
        if self.stopping:
            task.cancel()  # at its next step
        self.running[run.id] = Running(run, task, walk)
        try:
            yield
        finally:
            if run.id in self.running and self.running[run.id].task is task:  # not the one that goes on with it
                del self.running[run.id]

    def touch(self, root: str, paths: Sequence[str]) -> None:
        """A job knows these paths better than a walk that is under way."""
        for running in self.running.values():
            if running.walk is not None and running.run.root in ("", root):
                running.walk.touched.update(paths)
        for sweep in self._action.others.sweeps:
            sweep.touched.update(paths)
        self.cycle.touch(root, paths)

    async def halt(self, number: int) -> None:
        """Stop a run; it can be taken up again.

        Raises:
            ActionError: it doesn't run.
        """
        if number not in self.running:
            raise ActionError(f"run {number} isn't running", retryable=False)
        if self.running[number].run.kind == "scrub":
            text = f"run {number} is the scrub, which goes on by itself; take `scrub` out of the rule, and reload"
            raise ActionError(text, retryable=False)
        self.running[number].task.cancel()

    async def stop(self) -> None:
        """The daemon ends: what runs goes on at the next start."""
        self.stopping = True
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
                "waits": self.cycle.waits if running.run.kind == "scrub" else "",
            }
            for number, running in self.running.items()
        ]
