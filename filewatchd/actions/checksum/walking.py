"""Builds and verifies: a whole root, or what is below a path, held against the index.

A walk lists directories before what is in them, in the order of their names (`listing.walk`), so one path, its cursor,
says what is done. It is written in the transaction of the rows it stands for: an interrupted run goes on there. Some
batches are under way at once, read while another one is compared and written; they are written in their order. Where
there are many files to read, processes of their own look at them (`Worker.apart`).

What jobs have written meanwhile is newer than what a batch saw before, so such paths are left out of it.

Files that are new and rows whose files are missing wait for the end of the walk, when all of both are known: those
that belong together were moved (`leftovers`). Until then the cursor stays before the first of them. If nothing at all
is left of a root of which something was known, that is one finding and deletes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from filewatchd.actions.base import Context, Ground
from filewatchd.actions.checksum.beginning import Beginning
from filewatchd.actions.checksum.glance import LANE, View, look_at, survey
from filewatchd.actions.checksum.judging import Reading, type_of
from filewatchd.actions.checksum.keeping import Ledger, Mark
from filewatchd.actions.checksum.leftovers import SOME, Leftovers, slices
from filewatchd.actions.checksum.listing import is_bare, key_of, standing, walk
from filewatchd.actions.checksum.pairing import Pairs
from filewatchd.actions.checksum.parcels import Sheet
from filewatchd.actions.checksum.planning import Plan, Planner
from filewatchd.actions.checksum.seeing import Listing, Presence, Seen, Tracking, Wanted
from filewatchd.actions.checksum.settling import Looked, Policy, Settled, files_in
from filewatchd.state.index.rows import Record, Verdict, joined, split
from filewatchd.state.pack import pack, unpack

T = TypeVar("T")
_AT_ONCE = 2  # batches, and with processes that look as many more
_MANY = 2000  # files, after which a walk is worth processes of its own
_FEW = 100  # files of a batch, for which it isn't


class Walk:
    """One walk over one root; `run` does it."""

    def __init__(
        self,
        ctx: Context,
        ledger: Ledger,
        ground: Ground,
        policy: Policy,
        tracking: Tracking,
        how: Reading,
        run: int,
        *,
        scope: str = "",
        scopes: Sequence[str] | None = None,
        cursor: bytes | None = None,
        beginning: Beginning | None = None,
        files: bool = True,
        settled: Callable[[Ledger, Settled], None] = lambda ledger, settled: None,
        unstable: Callable[[Ledger, Seen, bool], None] = lambda ledger, seen, begins: None,
    ) -> None:
        """``beginning``: it is a build.

        On the loop ``settled`` is called with what came of a batch, ``unstable`` with a file to try again later, and
        whether that is the beginning. ``scopes``: instead of one ``scope`` several, of which none is below another.
        ``files`` False: only what is no file is compared.
        """
        self._ctx = ctx
        self._ledger = ledger
        self._ground = ground
        self._policy = policy
        self._tracking = tracking._replace(granularity_ns=ground.granularity_ns)
        self._run = run
        self._scope = scope
        self._scopes = (scope,) if scopes is None else tuple(sorted(scopes, key=key_of))
        self._files = files
        self._after: tuple[str, str] | None = None
        self._cursor = cursor
        if cursor is not None:
            directory, name = unpack(cursor)
            self._after = (directory, name)
        self._beginning = beginning
        self._build = beginning is not None
        self._reads_all = self._build or how is Reading.FULL
        self._planner = Planner(ledger, ground, policy, how, beginning, files=files)
        self._asked = 0  # files looked at until now
        self._told, self._unstable = settled, unstable
        self._unreadable: set[str] = set()  # directories that couldn't be listed before
        self._left = Leftovers(ctx, ledger, ground, self._tracking, files=files)
        self.touched: set[str] = set()  # paths that jobs have written since the walk began
        self.verdicts: Counter[Verdict] = Counter()
        self.files = 0
        self.bytes = 0
        self._readings: dict[object, int] = {}  # by the task whose batch it is

    @property
    def reading(self) -> int:
        """Bytes read of large files that aren't settled yet, in all batches under way."""
        return sum(self._readings.values())

    async def run(self) -> None:
        """Walk to the end.

        Raises:
            StateError, ActionError, OSError: it can't go on; the cursor stands.
        """
        self._planner.fresh = await self._in_pool(self._ledger.is_blank)
        if not self._planner.fresh and await self._is_gone():
            return
        if self._scope and await self._is_file():
            return
        self._unreadable = await self._in_pool(self._ledger.unreadable)
        turns = asyncio.Semaphore(_AT_ONCE + (self._ctx.worker.abreast if self._reads_all else 0))
        before: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group, aclosing(self._listings()) as batches:
            async for batch in batches:
                await turns.acquire()
                before = group.create_task(self._batch(batch, before, turns))
        sweeps = self._planner.sweeps and not self._planner.fresh
        if sweeps:
            async with aclosing(self._left.vanished(self._scopes)) as parts:
                async for _ in parts:
                    if self._left.are_many:
                        await self._leftovers()
        await self._leftovers()
        if sweeps:
            await self._overtaken()

    async def _is_file(self) -> bool:
        """Whether all that is walked is one file; it is done with then."""
        path = self._scope
        row = (await self._in_pool(self._ledger.rows, [path])).get(path)
        (seen,) = await look_at(self._ctx, self._ground.root, [Wanted(*split(path))], self._tracking)
        here = seen.presence is Presence.HERE
        if row is None and not here:
            return False
        rows = {} if row is None else {path: row}
        looked = await self._look([self._planner.wanted(path, row, seen.identity if here else None)], rows)
        await self._write([each for each in looked if each.path not in self.touched], self._mark())
        return True

    def _listings(self) -> AsyncGenerator[list[Listing]]:
        ground = self._ground
        where = (ground.root, self._scopes, self._after, ground.include, ground.exclude)
        return self._ctx.worker.steps(walk, *where, not self._planner.fresh, self._tracking, self._files)

    def _in_pool(self, work: Callable[..., T], *args: Any) -> Any:
        return self._ctx.pool.run(LANE, work, *args)

    async def _is_gone(self) -> bool:
        bare = await self._ctx.worker.call(is_bare, self._ground.root)
        bare = bare and not await self._in_pool(self._ledger.knows_itself_only)
        settled = await self._in_pool(self._ledger.root_gone, bare)
        self._told(self._ledger, settled)
        return bool(bare)

    # ---- a batch

    async def _batch(self, batch: list[Listing], before: asyncio.Task[None] | None, turns: asyncio.Semaphore) -> None:
        try:
            plan = await self._in_pool(self._planner.plan, batch)
            many = self._are_many(plan.wanted)
            sheets: list[Sheet] = []
            if many and self._build and self._planner.fresh:
                view = await self._survey(plan.wanted)
                sheets, looked = view.sheets, self._believed(view.wanted, view.seen, plan.rows)
            else:
                looked = await self._look(plan.wanted, plan.rows, apart=many)
            if before is not None:
                await before
            await self._settle(batch, plan, looked, sheets)
        finally:
            turns.release()

    def _are_many(self, wanted: Sequence[Wanted]) -> bool:
        """Whether these are to be looked at by processes: to start one takes as long as some thousand looks."""
        self._asked += len(wanted)
        return self._asked > _MANY and len(wanted) > _FEW

    def _reads(self) -> Callable[[int], None]:
        return partial(self._readings.__setitem__, asyncio.current_task())

    async def _survey(self, wanted: Sequence[Wanted]) -> View:
        return await survey(self._ctx, self._ground.root, wanted, self._tracking, self._reads())

    async def _look(self, wanted: Sequence[Wanted], rows: dict[str, Record], *, apart: bool = False) -> list[Looked]:
        seen = await look_at(self._ctx, self._ground.root, wanted, self._tracking, self._reads(), apart=apart)
        return self._believed(wanted, seen, rows)

    def _believed(self, wanted: Sequence[Wanted], seen: Sequence[Seen], rows: dict[str, Record]) -> list[Looked]:
        """All but those that have to be looked at again."""
        found = []
        for asked, each in zip(wanted, seen, strict=True):
            path = joined(asked.directory, asked.name)
            if each.presence is Presence.UNSTABLE:
                begins = path not in rows and self._beginning is not None and self._beginning.has(path)
                self._unstable(self._ledger, each, begins)
            else:
                found.append(Looked(each, asked.algorithms, rows.get(path)))
        return found

    async def _settle(self, batch: list[Listing], plan: Plan, looked: list[Looked], sheets: list[Sheet]) -> None:
        listed = [listing.directory for listing in batch if not listing.error]
        regions = {directory: self._planner.filesystem(directory) for directory in listed}
        if self.touched:
            looked = [each for each in looked if each.path not in self.touched]
            sheets = [each.without(self.touched) for each in sheets]
        looked += [unlisted(listing) for listing in batch if listing.error]
        self._left.add(plan)
        if not self._left:
            last = batch[-1]
            self._cursor = pack([last.directory, last.entries[-1].name if last.entries else ""])
        await self._write(looked, self._mark(), regions, plan.quiet, sheets)
        for directory in self._unreadable.intersection(listed):
            await self._in_pool(self._ledger.clear, directory)
        self.verdicts[Verdict.SAME] += plan.quiet
        self.files += plan.quiet
        if self._left.are_many:
            await self._leftovers()

    async def _write(
        self,
        looked: list[Looked],
        mark: Mark | None,
        filesystems: dict[str, str] | None = None,
        quiet: int = 0,
        sheets: Sequence[Sheet] = (),
        *,
        build: bool = True,
    ) -> None:
        settled = await self._in_pool(
            self._ledger.settle, looked, self._policy, build and self._build, mark, filesystems or {}, quiet, sheets
        )
        self.files += files_in(looked, sheets)
        self.bytes += settled.bytes
        self._readings.pop(asyncio.current_task(), None)
        self.verdicts.update(settled.verdicts)
        self._told(self._ledger, settled)

    # ---- the end

    async def _leftovers(self) -> None:
        """Pair what is new with what is missing, and settle both."""
        unknown, gone, reasons, moved = await self._left.take(self.touched)
        pairs = Pairs(moved, gone)
        for some in slices(unknown, SOME):
            wanted = [Wanted(*split(path), () if path in moved else self._planner.algorithms()) for path in some]
            looked = [with_row(each, pairs) for each in await self._look(wanted, {})]
            await self._write([each for each in looked if each.path not in self.touched], self._mark(), build=False)
        for some in slices(sorted(gone.keys() - set(moved.values())), SOME):
            looked = [
                Looked(Seen(*split(path), Presence.ABSENT, reason=reasons[path]), (), gone[path]) for path in some
            ]
            await self._write([each for each in looked if each.path not in self.touched], self._mark())

    async def _overtaken(self) -> None:
        """What waits and isn't there any more, with no row to be missed by: new, or moved there, or unreadable."""
        after = ""
        while paths := await self._in_pool(self._ledger.rowless, after, SOME):
            after = paths[-1]
            await self._clear_absent(paths)
        for some in slices(sorted(self._unreadable), SOME):
            stands = await self._ctx.worker.call(standing, self._ground.root, some)
            await self._clear_absent([path for path, here in zip(some, stands, strict=True) if not here])

    async def _clear_absent(self, paths: Sequence[str]) -> None:
        scopes = self._scopes
        some = [
            path
            for path in paths
            if path not in self.touched and any(not s or path == s or path.startswith(s + "/") for s in scopes)
        ]
        looks = await look_at(self._ctx, self._ground.root, [Wanted(*split(path)) for path in some], self._tracking)
        for path, seen in zip(some, looks, strict=True):
            if seen.presence is Presence.ABSENT:
                await self._in_pool(self._ledger.clear, path)

    def _mark(self) -> Mark | None:
        return Mark(self._run, self._ground.root, self._cursor) if self._run else None


def with_row(looked: Looked, pairs: Pairs) -> Looked:
    """A new file with the row of the one it was."""
    found = pairs.of(looked.path, () if type_of(looked.seen.attributes) else looked.seen.digests)
    return looked if found is None else looked._replace(row=found[1], old_path=found[0])


def unlisted(listing: Listing) -> Looked:
    """A directory that can't be listed, as something to tell of."""
    reason = f"{listing.error}; let the rule's user read it, or exclude it"
    return Looked(Seen(*split(listing.directory), Presence.UNREADABLE, reason=reason))
