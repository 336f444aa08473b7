"""The action ``checksum``, opened: jobs bring single changes, walks build and verify, a scrub reads on and on.

All of them look at files with the rule's rights, judge by `judging` and write through a root's `Ledger`. Jobs are
told to running walks (`Walk.touched`), whose own looks are older. What could not be trusted yet is looked at once
more, from here: a racy row once the clock has moved, a file that changes while it is read some seconds later; after
the third time it is a finding.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

from filewatchd.actions.base import Caller, Context, Ground, JobContext
from filewatchd.actions.checksum import shared
from filewatchd.actions.checksum.again import RACY, Again
from filewatchd.actions.checksum.answering import Answers
from filewatchd.actions.checksum.changes import Changes
from filewatchd.actions.checksum.endpoints import ENDPOINTS
from filewatchd.actions.checksum.figures import Figures
from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.labelling import LABELLED, Labelling
from filewatchd.actions.checksum.options import Options
from filewatchd.actions.checksum.others import Others
from filewatchd.actions.checksum.paths import full, path_of
from filewatchd.actions.checksum.reporting import report
from filewatchd.actions.checksum.runs import Runs
from filewatchd.actions.checksum.seeing import Seen, Tracking
from filewatchd.actions.checksum.settling import Policy, Settled
from filewatchd.actions.checksum.sums import Sums
from filewatchd.errors import FilewatchdError
from filewatchd.model import OK, Change, Kind, Outcome, Trigger
from filewatchd.state.index.rows import State, Verdict

FIGURES = frozenset(endpoint.name for endpoint in ENDPOINTS)
_BATCH = 500
_SLOW = 1 << 30  # bytes: a file that takes seconds


class Checksum:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self.ctx = ctx
        self.options = options
        self._user = ctx.rule.name, ctx.announce
        self.index = shared.acquire(ctx.state_dir, ctx.clock, *self._user)
        self.ledgers: dict[str, Ledger] = {}
        self.verdicts: Counter[Verdict] = Counter()
        self._bytes = 0
        self.again = Again(ctx, lambda by_root: self.follow("again", self._repeat(by_root)))
        self._changes = Changes(self)
        self._sums = Sums(self)
        self.runs = Runs(self)
        self.others = Others(self)
        self._figures = Figures(self)
        self.labelling = Labelling(self)
        self._answers = Answers(self.index, ctx.rule.name, ctx.pool, self, lambda: self.options.keep.versions)
        self._recount = False
        self._reporting = asyncio.Lock()
        self._following: set[asyncio.Task[Any]] = set()
        if self.index.set_aside is not None:
            ctx.finding(
                "index-set-aside",
                f"the index was damaged and is built anew; it is kept as {self.index.set_aside}, and"
                f" {self.index.kept} of its changes were taken over",
            )

    # ---- what the rule says

    @property
    def policy(self) -> Policy:
        """How files are judged."""
        return Policy(self.options.tracking, self.options.approval == "required", self.options.keep.versions)

    def tracking(self, granularity_ns: int = 0) -> Tracking:
        """What is looked at."""
        track, options = self.options.tracking, self.options
        return Tracking(
            track.xattr, track.acl, self.ctx.rule.follow_symlinks, track.growing, granularity_ns,
            options.symlinks, options.directories,
        )  # fmt: skip

    def ground(self, root: str) -> Ground | None:
        """Where a root stands, if it does."""
        own = self._sums.patterns
        found = (ground for ground in self.ctx.grounds() if ground.root == root)
        return next((ground._replace(exclude=ground.exclude + own) for ground in found), None)

    async def ledger(self, root: str) -> Ledger:
        """A root's part of the index."""
        if root not in self.ledgers:
            rule = self.ctx.rule
            made = await self.ctx.pool.run(LANE, Ledger, self.index, rule.name, root, self.ctx.clock, rule.renamed_from)
            self.ledgers.setdefault(root, made)
        return self.ledgers[root]

    # ---- the protocol

    async def recover(self) -> None:
        """Runs that were cut off go on when their roots are scanned."""
        self.ctx.on_scan(self.runs.scanned)
        self.ctx.on_effect(self._changes.rotated.effect)
        self.others.ask()
        for ground in self.ctx.grounds():  # the rule was reloaded: its roots stand already
            self.runs.scanned(ground.root)

    async def run(self, job: JobContext) -> Mapping[str, Outcome] | Outcome:
        """Look at what changed, judge it, write it."""
        outcomes: dict[str, Outcome] = {}
        changes = self._sums.others(job.changes)
        done = 0
        for root in dict.fromkeys(change.root for change in changes):
            for part in parts([change for change in changes if change.root == root]):
                outcomes |= await self._changes.work(job, root, part)
                done += len(part)
                job.progress(done, len(changes), "files")
        await self._sums.write(job)
        await self.report()
        return {change.path: outcomes.get(change.path, OK) for change in job.changes} or OK

    def plan(self, job: JobContext) -> Sequence[str]:
        """What would be hashed."""
        words = {Kind.DELETED: "forget", Kind.MOVED: "carry on as moved"}
        return [f"checksum: {words.get(change.kind, 'hash and compare')} {change.path}" for change in job.changes]

    def reconfigure(self, options: Options) -> bool:
        """Always in place; what is another algorithm's now is taken over as it is read."""
        before, self.options = self.options, options
        self.runs.cycle.reschedule()
        if set(before.types) != set(options.types):
            self.others.ask()
            for ground in self.ctx.grounds():  # it is built anew, by the new types
                self.runs.scanned(ground.root)
        self.follow("sums", self._options_changed())
        return True

    async def _options_changed(self) -> None:
        """Lists may have another name now, or another algorithm."""
        for root in list(self.ledgers):
            await self.stands(root)

    async def stop(self, grace: float) -> None:
        """Walks stop where their cursors are, what else goes on has the grace; the last user closes the index."""
        await self.runs.stop()
        if self._following:
            await asyncio.wait(list(self._following), timeout=grace)
        for task in list(self._following):
            task.cancel()
        if self._following:
            await asyncio.wait(list(self._following))
        for ledger in self.ledgers.values():
            await self.ctx.pool.run(LANE, ledger.close)
        shared.release(self.index, *self._user)

    def statistics(self) -> Mapping[str, Any]:
        """Files by verdict and bytes hashed in this life, the runs, the index's size."""
        return {
            "verdicts": {verdict.value: count for verdict, count in self.verdicts.items() if count},
            "hashed_bytes": self._bytes,
            "looked_at_again": len(self.again),
            "runs": self.runs.statistics(),
            "index": self.index.statistics(),
        }

    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Any:
        """See `endpoints` and `documents`."""
        if endpoint in FIGURES:
            return await self._figures.answer(endpoint, arguments, caller.uid)
        return await self._answers.answer_to(endpoint, arguments, caller)

    # ---- what follows

    def settled(self, ledger: Ledger, settled: Settled) -> None:
        """Something was written; on the loop."""
        self.verdicts.update(settled.verdicts)
        self._bytes += settled.bytes
        for told in settled.news:
            if told.verdict is Verdict.DELETED and told.before is not None:
                self._changes.vanished.add(ledger.root, told.path, told.before)
        if settled.racy:
            self.again.later([(ledger.root, path) for path in settled.racy], RACY)
        if settled.written:
            self._sums.dirty(ledger.root)
        for told in settled.news:
            self._recount = self._recount or told.state is not State.ACCEPTED
            self.ctx.count(told.verdict.value)
        if any(told.verdict in LABELLED and told.label is None for told in settled.news):
            self.labelling.news()
        self._recount = self._recount or settled.written

    def unstable(self, ledger: Ledger, seen: Seen, begins: bool) -> None:
        """A walk met a file that can't be trusted yet; it may be one that a build would have taken as it is."""
        if self.again.wait_for(ledger, seen) and begins:
            self._changes.begins.add((ledger.root, path_of(seen)))

    def follow(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task of its own; what can't be done is told, and done again by the next scan or verify."""
        self.ctx.follow_up(name, self._told(name, work))

    async def _told(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if self.runs.stopping:  # the index is about to be closed, or is
            work.close()
            return
        task = asyncio.current_task()
        assert task is not None, "a follow-up is a task"
        self._following.add(task)
        try:
            await work
        except (FilewatchdError, OSError) as error:
            self.ctx.log.error("%s: %s", name, error)
        finally:
            self._following.discard(task)

    async def take(self, root: str, changes: Sequence[Change]) -> None:
        """Changes that no job brings."""
        for start in range(0, len(changes), _BATCH):
            await self._changes.work(None, root, changes[start : start + _BATCH])

    async def _repeat(self, by_root: Mapping[str, Sequence[str]]) -> None:
        for root, paths in by_root.items():
            await self.take(root, [Change(Kind.MODIFIED, full(root, path), root) for path in paths])
        await self.report()
        self._sums.when_due()

    async def report(self) -> None:
        """Say in status what waits."""
        async with self._reporting:  # or what was counted first might be told last
            if self._recount:
                self._recount = False
                try:
                    await self._count()
                except BaseException:
                    self._recount = True
                    raise

    async def _count(self) -> None:
        waits = [
            (verdict, number, full(ledger.root, path))
            for ledger in list(self.ledgers.values())
            for verdict, number, path in await self.ctx.pool.run(LANE, ledger.waits)
        ]
        report(self.ctx, waits, await self.labelling.upgrades())

    async def labelled(self) -> None:
        """Changes are known to be a package's doing."""
        self._recount = True
        await self.report()

    async def stands(self, root: str) -> None:
        """A root was scanned."""
        await self._sums.check(root)

    async def again_racy(self, ledger: Ledger) -> None:
        """Rows that an earlier life left racy."""
        paths = await self.ctx.pool.run(LANE, ledger.racy)
        if paths:
            self.again.later([(ledger.root, path) for path in paths], RACY)

    async def walked(self, ledger: Ledger) -> None:
        """A walk or scrub has ended."""
        await self.labelling.remember()
        await self.report()
        self._sums.when_due()

    def sealed(self, number: int, head: str, files: int) -> None:
        """The index was sealed: whoever hears of findings may keep the head elsewhere."""
        words = f"the index was sealed: head {number}:{head}, {files:,} files"
        shared.tell_all(self.index, f"index-sealed-{number}", words)

    def uses(self, rule: str) -> bool:
        """Whether a rule keeps this index."""
        return shared.uses(self.index, rule)

    async def rewritten(self) -> None:
        """Rows were changed by a decision or a list."""
        self._recount = True
        for root in self.ledgers:
            self._sums.dirty(root)
        await self.report()
        self._sums.when_due()

    def request(self) -> None:
        """Ask for a job over nothing, in which the checksum file is written."""
        self.ctx.request_job(Trigger.SCHEDULE)


def parts(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """In batches, each written when it was read; large files come last and alone.

    Else one of them, which may be a hole of any size that costs who made it nothing, would hold up all others.
    """
    slow = [change for change in changes if change.identity is not None and change.identity.size >= _SLOW]
    quick = [change for change in changes if change.identity is None or change.identity.size < _SLOW]
    yield from (quick[start : start + _BATCH] for start in range(0, len(quick), _BATCH))
    yield from ([change] for change in slow)
