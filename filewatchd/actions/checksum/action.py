"""The action ``checksum``, opened: jobs bring single changes, walks build and verify, a scrub reads on and on.

All of them look at files with the rule's rights, judge by `judging` and write through a root's `Ledger`. Jobs are
told to running walks (`Walk.touched`), whose own looks are older. What could not be trusted yet is looked at once
more, from here: a racy row once the clock has moved, a file that changes while it is read some seconds later; after
the third time it is a finding.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from filewatchd.actions.base import Caller, Context, Ground, JobContext
from filewatchd.actions.checksum import shared
from filewatchd.actions.checksum.answering import Answers
from filewatchd.actions.checksum.endpoints import ENDPOINTS
from filewatchd.actions.checksum.figures import Figures
from filewatchd.actions.checksum.judging import Reading, to_read
from filewatchd.actions.checksum.keeping import Ledger, still_waits
from filewatchd.actions.checksum.labelling import LABELLED, Labelling
from filewatchd.actions.checksum.options import Options
from filewatchd.actions.checksum.reporting import report
from filewatchd.actions.checksum.rotated import Rotated
from filewatchd.actions.checksum.runs import Runs
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted
from filewatchd.actions.checksum.settling import Looked, Policy, Settled
from filewatchd.actions.checksum.sums import Sums
from filewatchd.actions.checksum.vanished import Vanished
from filewatchd.actions.checksum.walking import LANE, look_at
from filewatchd.errors import FilewatchdError
from filewatchd.model import OK, Change, Kind, Outcome, Trigger
from filewatchd.state.index.rows import WAITING, Record, State, Verdict, split, stamp
from filewatchd.state.index.rows import Change as IndexChange

FIGURES = frozenset(endpoint.name for endpoint in ENDPOINTS)
_BATCH = 500
_RACY = 2.5  # seconds until a racy row is read again: the coarsest clock there is has moved by then
_AGAIN = (1.0, 5.0, 20.0)  # seconds until a file is looked at again that changed while it was read


class Checksum:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self.ctx = ctx
        self.options = options
        self.index = shared.acquire(ctx.state_dir, ctx.clock)
        self.ledgers: dict[str, Ledger] = {}
        self.verdicts: Counter[Verdict] = Counter()
        self._bytes = 0
        self._again: dict[tuple[str, str], int] = {}  # (root, path) -> times it was unstable
        self._due: dict[tuple[str, str], float] = {}  # to be looked at, at that time (monotonic)
        self._vanished = Vanished()
        self._rotated = Rotated(self)
        self._sums = Sums(self)
        self.runs = Runs(self)
        self._figures = Figures(self)
        self.labelling = Labelling(self)
        self._answers = Answers(self.index, ctx.rule.name, ctx.pool, self, lambda: self.options.keep.versions)
        self._recount = False
        self._reporting = asyncio.Lock()
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
        track = self.options.tracking
        return Tracking(track.xattr, track.acl, self.ctx.rule.follow_symlinks, track.growing, granularity_ns)

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
        self.ctx.on_effect(self._rotated.effect)
        for ground in self.ctx.grounds():  # the rule was reloaded: its roots stand already
            self.runs.scanned(ground.root)

    async def run(self, job: JobContext) -> Mapping[str, Outcome] | Outcome:
        """Look at what changed, judge it, write it."""
        outcomes: dict[str, Outcome] = {}
        changes = [change for change in job.changes if not self._sums.is_own(change)]
        done = 0
        for root in dict.fromkeys(change.root for change in changes):
            of_root = [change for change in changes if change.root == root]
            for start in range(0, len(of_root), _BATCH):
                part = of_root[start : start + _BATCH]
                outcomes |= await self._work(job, root, part)
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
        self.options = options
        self.runs.reschedule()
        return True

    async def stop(self, grace: float) -> None:
        """Walks stop where their cursors are; the last user closes the index."""
        await self.runs.stop()
        for ledger in self.ledgers.values():
            await self.ctx.pool.run(LANE, ledger.close)
        shared.release(self.index)

    def statistics(self) -> Mapping[str, Any]:
        """Files by verdict and bytes hashed in this life, the runs, the index's size."""
        return {
            "verdicts": {verdict.value: count for verdict, count in self.verdicts.items() if count},
            "hashed_bytes": self._bytes,
            "looked_at_again": len(self._again),
            "runs": self.runs.statistics(),
            "index": self.index.statistics(),
        }

    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Any:
        """See `endpoints` and `documents`."""
        if endpoint in FIGURES:
            return await self._figures.answer(endpoint, arguments, caller.uid)
        return await self._answers.answer_to(endpoint, arguments, caller)

    # ---- changes

    async def _work(self, job: JobContext | None, root: str, changes: Sequence[Change]) -> dict[str, Outcome]:
        """Look at changed paths of one root, and write what follows."""
        ledger = await self.ledger(root)
        places = {relative(change.path, root): change for change in changes}
        old = {path: relative(c.old_path, root) for path, c in places.items() if c.old_path is not None}
        self.runs.touch(root, [*places, *old.values()])
        rows: dict[str, Record] = await self.ctx.pool.run(LANE, ledger.rows, [*places, *old.values()])
        if rowless := [path for path, before in old.items() if before not in rows]:
            rows |= await self._from_waiting(ledger, rowless, old, places)
        asked = {path: self._known(path, change, rows, old) for path, change in places.items()}
        wanted = await self.ctx.pool.run(LANE, self._wanted, ledger, places, asked)
        ground = self.ground(root)
        tracking = self.tracking(ground.granularity_ns if ground is not None else 0)
        seen = await look_at(self.ctx, root, wanted, tracking, self._progress(job, root))
        looked = [
            self._looked(ledger, each, want, *asked[path_of(each)], places)
            for each, want in zip(seen, wanted, strict=True)
        ]
        return await self._settle(ledger, looked, places)

    async def _from_waiting(
        self, ledger: Ledger, rowless: Sequence[str], old: dict[str, str], places: dict[str, Change]
    ) -> dict[str, Record]:
        """Files that moved from a path that only waits: new there, or moved there from where their row still is.

        What waits of such a path is over, so it is looked at too; ``old`` is led back to the row, which is returned.
        """
        moves = await self.ctx.pool.run(LANE, ledger.moves)
        for path in rowless:
            before = old[path]
            places.setdefault(before, Change(Kind.DELETED, full(ledger.root, before), ledger.root))
            old[path] = moves[before].old_path or before if before in moves else before
        rows: dict[str, Record] = await self.ctx.pool.run(LANE, ledger.rows, [old[path] for path in rowless])
        return rows

    @staticmethod
    def _progress(job: JobContext | None, root: str) -> Any:
        return (lambda done: None) if job is None else (lambda done: job.progress(done, 0, f"bytes in {root}"))

    def _known(
        self, path: str, change: Change, rows: Mapping[str, Record], old: Mapping[str, str]
    ) -> tuple[Record | None, str | None]:
        """The row to compare a path with, and where that is if it isn't the path's own."""
        if path in old and old[path] in rows:
            return rows[old[path]], old[path]
        if path in rows:
            return rows[path], None
        if change.identity is not None:
            return self._vanished.by_identity(change.root, change.identity)
        return None, None

    def _wanted(
        self, ledger: Ledger, places: Mapping[str, Change], asked: Mapping[str, tuple[Record | None, str | None]]
    ) -> list[Wanted]:
        """What has to be looked at; in a pool thread."""
        track = self.options.tracking
        wanted = []
        for path, change in places.items():
            row = asked[path][0]
            now = stamp(*change.identity) if change.identity is not None else None
            if row is not None and now is not None and row.flags & WAITING and still_waits(ledger, path, now):
                continue
            algorithms = () if change.kind is Kind.DELETED else to_read(row, now, track, Reading.QUICK)
            wanted.append(Wanted(*split(path), algorithms, row.identity.size if row and track.growing else -1))
        return wanted

    def _looked(
        self,
        ledger: Ledger,
        seen: Seen,
        wanted: Wanted,
        row: Record | None,
        old_path: str | None,
        places: Mapping[str, Change],
    ) -> Looked:
        """A look with all that is known of it."""
        path = path_of(seen)
        if row is None and seen.digests:
            row, old_path = self._vanished.by_digest(ledger.root, seen.digests[-1])
        change = places.get(path)
        label = self._rotated.label(change.path) if change is not None else None
        return self._rotated.adapted(Looked(seen, wanted.algorithms, row, old_path, label))

    async def _settle(
        self, ledger: Ledger, looked: Sequence[Looked], places: Mapping[str, Change]
    ) -> dict[str, Outcome]:
        """Judge and write; what can't be trusted yet is looked at again."""
        sure = [each for each in looked if not self._wait_for(ledger, each.seen)]
        settled = await self.ctx.pool.run(LANE, ledger.settle, sure, self.policy)
        self.settled(ledger, settled)
        said = {told.path: told for told in settled.news if told.state is not State.ACCEPTED}
        return {
            change.path: Outcome(OK.verdict, f"{said[path].verdict.value}: {said[path].message}".rstrip(": "))
            for path, change in places.items()
            if path in said
        }

    def settled(self, ledger: Ledger, settled: Settled) -> None:
        """Something was written; on the loop."""
        self.verdicts.update(settled.verdicts)
        self._bytes += settled.bytes
        for told in settled.news:
            if told.verdict is Verdict.DELETED and told.before is not None:
                self._vanished.add(ledger.root, told.path, told.before)
        if settled.racy:
            self._later([(ledger.root, path) for path in settled.racy], _RACY)
        if settled.written:
            self._sums.dirty(ledger.root)
        for told in settled.news:
            self._recount = self._recount or told.state is not State.ACCEPTED
            self.ctx.count(told.verdict.value)
        if any(told.verdict in LABELLED and told.label is None for told in settled.news):
            self.labelling.news()
        self._recount = self._recount or settled.written

    def unstable(self, ledger: Ledger, seen: Seen) -> None:
        """A walk met a file that can't be trusted yet."""
        self._wait_for(ledger, seen)

    def _wait_for(self, ledger: Ledger, seen: Seen) -> bool:
        """Whether a look is to be repeated rather than believed."""
        key = (ledger.root, path_of(seen))
        if seen.presence is not Presence.UNSTABLE:
            self._again.pop(key, None)
            return False
        times = self._again.get(key, 0)
        if times >= len(_AGAIN):
            return False
        self._again[key] = times + 1
        self._later([key], _AGAIN[times])
        return True

    def _later(self, keys: Iterable[tuple[str, str]], seconds: float) -> None:
        when = self.ctx.clock.monotonic() + seconds
        for key in keys:
            self._due[key] = min(when, self._due.get(key, when))
        self._wait()

    def _wait(self) -> None:
        if self._due:
            seconds = max(0.0, min(self._due.values()) - self.ctx.clock.monotonic())
            self.ctx.timers.at("again", self.ctx.clock.wall_ns() / 1e9 + seconds, self._look_again)

    def _look_again(self) -> None:
        now = self.ctx.clock.monotonic() + 0.05  # the timer goes by another clock
        due = [key for key, when in self._due.items() if when <= now]
        by_root: dict[str, list[str]] = {}
        for root, path in due:
            del self._due[root, path]
            by_root.setdefault(root, []).append(path)
        self._wait()
        if by_root:
            self.follow("again", self._repeat(by_root))

    def follow(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task of its own; what can't be done is told, and done again by the next scan or verify."""
        self.ctx.follow_up(name, self._told(name, work))

    async def _told(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (FilewatchdError, OSError) as error:
            self.ctx.log.error("%s: %s", name, error)

    async def _repeat(self, by_root: Mapping[str, Sequence[str]]) -> None:
        for root, paths in by_root.items():
            for start in range(0, len(paths), _BATCH):
                some = paths[start : start + _BATCH]
                await self._work(None, root, [Change(Kind.MODIFIED, full(root, path), root) for path in some])
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

    async def again_racy(self, ledger: Ledger) -> None:
        """Rows that an earlier life left racy."""
        paths = await self.ctx.pool.run(LANE, ledger.racy)
        if paths:
            self._later([(ledger.root, path) for path in paths], _RACY)

    async def walked(self, ledger: Ledger) -> None:
        """A walk or scrub has ended."""
        await self.labelling.remember()
        await self.report()
        self._sums.when_due()

    async def decided(self, changes: Sequence[IndexChange], state: State) -> None:
        """Changes were approved or rejected."""
        await self.imported()

    async def imported(self) -> None:
        """Rows were changed by somebody else."""
        self._recount = True
        for root in self.ledgers:
            self._sums.dirty(root)
        await self.report()
        self._sums.when_due()

    def request(self) -> None:
        """Ask for a job over nothing, in which the checksum file is written."""
        self.ctx.request_job(Trigger.SCHEDULE)


def relative(path: str, root: str) -> str:
    """A path below its root; "" for the root itself."""
    return path[len(root) :].lstrip("/")


def full(root: str, path: str) -> str:
    """The inverse."""
    return f"{root.rstrip('/')}/{path}" if path else root


def path_of(seen: Seen) -> str:
    """The relative path of a look."""
    return f"{seen.directory}/{seen.name}" if seen.directory else seen.name
