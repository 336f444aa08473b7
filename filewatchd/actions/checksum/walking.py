"""Builds and verifies: a whole root, or what is below a path, held against the index.

A walk lists directories before what is in them, in the order of their names (`listing.walk`), so one path, its cursor,
says what is done. It is written in the transaction of the rows it stands for: an interrupted run goes on there. Two
batches are under way at once, one being read while the other is compared and written; they are written in their order.

What jobs have written meanwhile is newer than what a batch saw before, so such paths are left out of it.

Files that are new and rows whose files are missing wait for the end of the walk, when all of both are known: those
that belong together were moved. Until then the cursor stays before the first of them.

A file is gone only if its directory is on the filesystem it was on (`Ground.regions`); a directory, if that filesystem
stands anywhere. If nothing at all is left of a root of which something was known, that is one finding and deletes
nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from filewatchd.actions.base import Context, Ground
from filewatchd.actions.checksum.glance import LANE, look_at
from filewatchd.actions.checksum.judging import Reading
from filewatchd.actions.checksum.keeping import Ledger, Mark
from filewatchd.actions.checksum.listing import is_bare, standing, walk
from filewatchd.actions.checksum.looking import look
from filewatchd.actions.checksum.pairing import paired
from filewatchd.actions.checksum.planning import Plan, Planner
from filewatchd.actions.checksum.seeing import Listing, Presence, Seen, Tracking, Wanted
from filewatchd.actions.checksum.selecting import selected
from filewatchd.actions.checksum.settling import Looked, Policy, Settled
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import Record, Verdict, joined, split
from filewatchd.state.pack import pack, unpack

T = TypeVar("T")
_AT_ONCE = 2
_MOST = 50_000  # new or missing files that wait for the end of the walk
_SOME = 500  # directories, or files, asked about at once


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
        cursor: bytes | None = None,
        build: bool = False,
        settled: Callable[[Ledger, Settled], None] = lambda ledger, settled: None,
        unstable: Callable[[Ledger, Seen], None] = lambda ledger, seen: None,
    ) -> None:
        """``settled`` is told what came of each batch, ``unstable`` of files to try again later; on the loop."""
        self._ctx = ctx
        self._ledger = ledger
        self._ground = ground
        self._policy = policy
        self._tracking = tracking._replace(granularity_ns=ground.granularity_ns)
        self._run = run
        self._scope = scope
        self._after: tuple[str, str] | None = None
        self._cursor = cursor
        if cursor is not None:
            directory, name = unpack(cursor)
            self._after = (directory, name)
        self._build = build
        self._planner = Planner(ledger, ground, policy, how, build=build)
        self._told, self._unstable = settled, unstable
        self._unreadable: set[str] = set()  # directories that couldn't be listed before
        self._unknown: dict[str, FileIdentity | None] = {}
        self._missing: dict[str, Record] = {}
        self.touched: set[str] = set()  # paths that jobs have written since the walk began
        self.verdicts: Counter[Verdict] = Counter()
        self.files = 0
        self.bytes = 0
        self._readings: dict[object, int] = {}  # by the task whose batch it is
        self.away = 0  # known files on filesystems that aren't there

    @property
    def reading(self) -> int:
        """Bytes read of large files that aren't settled yet, in all batches under way."""
        return sum(self._readings.values())

    async def run(self) -> None:
        """Walk to the end.

        Raises:
            StateError, ActionError, OSError: it can't go on; the cursor stands.
        """
        self._planner.fresh = await self._in_pool(self._ledger.is_empty)
        if not self._planner.fresh and await self._is_gone():
            return
        if self._scope and await self._is_file():
            return
        self._unreadable = await self._in_pool(self._ledger.unreadable)
        turns = asyncio.Semaphore(_AT_ONCE)
        before: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group, aclosing(self._listings()) as batches:
            async for batch in batches:
                await turns.acquire()
                before = group.create_task(self._batch(batch, before, turns))
        if self._planner.sweeps and not self._planner.fresh:
            await self._vanished()
            await self._leftovers()
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
        patterns = (ground.include, ground.exclude)
        return self._ctx.worker.steps(
            walk, ground.root, self._scope, self._after, *patterns, not self._planner.fresh, self._tracking.follow
        )

    def _in_pool(self, work: Callable[..., T], *args: Any) -> Any:
        return self._ctx.pool.run(LANE, work, *args)

    async def _is_gone(self) -> bool:
        bare = await self._ctx.worker.call(is_bare, self._ground.root)
        settled = await self._in_pool(self._ledger.root_gone, bare)
        self._told(self._ledger, settled)
        return bool(bare)

    # ---- a batch

    async def _batch(self, batch: list[Listing], before: asyncio.Task[None] | None, turns: asyncio.Semaphore) -> None:
        try:
            plan = await self._in_pool(self._planner.plan, batch)
            looked = await self._look(plan.wanted, plan.rows)
            if before is not None:
                await before
            await self._settle(batch, plan, looked)
        finally:
            turns.release()

    async def _look(self, wanted: Sequence[Wanted], rows: dict[str, Record]) -> list[Looked]:
        found = []
        reads = partial(self._readings.__setitem__, asyncio.current_task())
        seen = await look_at(self._ctx, self._ground.root, wanted, self._tracking, reads)
        for asked, each in zip(wanted, seen, strict=True):
            if each.presence is Presence.UNSTABLE:
                self._unstable(self._ledger, each)
            else:
                found.append(Looked(each, asked.algorithms, rows.get(joined(asked.directory, asked.name))))
        return found

    async def _settle(self, batch: list[Listing], plan: Plan, looked: list[Looked]) -> None:
        listed = [listing.directory for listing in batch if not listing.error]
        regions = {directory: self._planner.filesystem(directory) for directory in listed}
        looked = [each for each in looked if each.path not in self.touched]
        looked += [unlisted(listing) for listing in batch if listing.error]
        self._unknown.update(plan.unknown)
        self._missing.update(plan.missing)
        if not (self._unknown or self._missing):
            last = batch[-1]
            self._cursor = pack([last.directory, last.entries[-1].name if last.entries else ""])
        await self._write(looked, self._mark(), regions, plan.quiet)
        for directory in self._unreadable.intersection(listed):
            await self._in_pool(self._ledger.clear, directory)
        self.away += plan.away
        self.verdicts[Verdict.SAME] += plan.quiet
        self.files += plan.quiet
        if len(self._unknown) > _MOST or len(self._missing) > _MOST:
            await self._leftovers()

    async def _write(
        self, looked: list[Looked], mark: Mark | None, filesystems: dict[str, str] | None = None, quiet: int = 0
    ) -> None:
        settled = await self._in_pool(
            self._ledger.settle, looked, self._policy, self._build, mark, filesystems or {}, quiet
        )
        self.files += len(looked)
        self.bytes += settled.bytes
        self._readings.pop(asyncio.current_task(), None)
        self.verdicts.update(settled.verdicts)
        self._told(self._ledger, settled)

    # ---- the end

    async def _vanished(self) -> None:
        """Directories that are known and weren't listed."""
        there = {region.filesystem for region in self._ground.regions}
        directories = await self._in_pool(self._ledger.directories, self._scope)
        for some in slices(directories, _SOME):
            stands = await self._ctx.worker.call(standing, self._ground.root, some)
            for directory, present in zip(some, stands, strict=True):
                if self._is_out(directory) or not present:
                    await self._vanish(directory, there)
            if len(self._missing) > _MOST:
                await self._leftovers()

    async def _vanish(self, directory: str, there: set[str]) -> None:
        """A directory is gone, or left out by the patterns; ``there``: the filesystems that stand."""
        known = await self._in_pool(self._ledger.beneath, directory)
        known_on = await self._in_pool(self._ledger.filesystem_of, directory)
        if not self._is_out(directory) and known_on not in ("", *there):
            self.away += len(known)
        elif known:
            self._missing.update((joined(directory, name), row) for name, row in known.items())
        else:
            await self._in_pool(self._ledger.forget_directory, directory)

    def _is_out(self, directory: str) -> bool:
        """Whether the rule's patterns leave a directory out."""
        choose = selected(self._ground.include, self._ground.exclude)
        steps = directory.split("/") if directory else []
        return any(choose.prunes("/".join(steps[: end + 1])) for end in range(len(steps)))

    def _is_chosen(self, path: str) -> bool:
        directory, name = split(path)
        choose = selected(self._ground.include, self._ground.exclude)
        return not self._is_out(directory) and choose.chooser(directory)(name)

    async def _leftovers(self) -> None:
        """Pair what is new with what is missing, and settle both."""
        unknown = {path: ident for path, ident in self._unknown.items() if path not in self.touched}
        missing = {path: row for path, row in self._missing.items() if path not in self.touched}
        self._unknown, self._missing = {}, {}
        gone = await self._confirmed(missing)
        moved = paired(unknown, gone, await self._in_pool(self._ledger.moves) if gone else {})
        by_digest: dict[bytes | None, list[str]] = {}
        for path in sorted(gone.keys() - set(moved.values()), reverse=True):
            by_digest.setdefault(gone[path].digest, []).append(path)
        by_digest.pop(None, None)
        for some in slices(sorted(unknown), _SOME):
            wanted = [Wanted(*split(path), () if path in moved else self._planner.algorithms()) for path in some]
            looked = [self._paired(each, moved, gone, by_digest) for each in await self._look(wanted, {})]
            await self._write([each for each in looked if each.path not in self.touched], self._mark())
        left = gone.keys() - set(moved.values())
        for some in slices(sorted(left), _SOME):
            looked = [Looked(Seen(*split(path), Presence.ABSENT), (), gone[path]) for path in some]
            await self._write([each for each in looked if each.path not in self.touched], self._mark())

    async def _overtaken(self) -> None:
        """What waits and isn't there any more, with no row to be missed by: new, or moved there, or unreadable."""
        after = ""
        while paths := await self._in_pool(self._ledger.rowless, after, _SOME):
            after = paths[-1]
            await self._clear_absent(paths)
        for some in slices(sorted(self._unreadable), _SOME):
            stands = await self._ctx.worker.call(standing, self._ground.root, some)
            await self._clear_absent([path for path, here in zip(some, stands, strict=True) if not here])

    async def _clear_absent(self, paths: Sequence[str]) -> None:
        scope = self._scope
        some = [
            path
            for path in paths
            if path not in self.touched and (not scope or path == scope or path.startswith(scope + "/"))
        ]
        looks = await look_at(self._ctx, self._ground.root, [Wanted(*split(path)) for path in some], self._tracking)
        for path, seen in zip(some, looks, strict=True):
            if seen.presence is Presence.ABSENT:
                await self._in_pool(self._ledger.clear, path)

    def _mark(self) -> Mark:
        return Mark(self._run, self._ground.root, self._cursor)

    def _paired(
        self, looked: Looked, moved: dict[str, str], gone: dict[str, Record], by_digest: dict[bytes | None, list[str]]
    ) -> Looked:
        """A new file with the row of the one it was."""
        path = looked.path
        if path not in moved and looked.seen.digests:
            same = by_digest.get(looked.seen.digests[0])
            if same:
                moved[path] = same.pop()
        if path in moved:
            return looked._replace(row=gone[moved[path]], old_path=moved[path])
        return looked

    async def _confirmed(self, missing: dict[str, Record]) -> dict[str, Record]:
        """Those rows whose files aren't there indeed; rows that the patterns left out since are dropped."""
        gone: dict[str, Record] = {}
        for some in slices(sorted(missing), _SOME):
            wanted = [Wanted(*split(path)) for path in some]
            seen = await self._ctx.worker.call(look, self._ground.root, wanted, self._tracking)
            outside = [path for path in some if not self._is_chosen(path)]
            if outside:
                await self._in_pool(self._ledger.forget, outside)
            for path, found in zip(some, seen, strict=True):
                if found.presence is Presence.ABSENT and path not in outside:
                    gone[path] = missing[path]
        return gone


def unlisted(listing: Listing) -> Looked:
    """A directory that can't be listed, as something to tell of."""
    reason = f"{listing.error}; let the rule's user read it, or exclude it"
    return Looked(Seen(*split(listing.directory), Presence.UNREADABLE, reason=reason))


def slices(items: Sequence[str], size: int) -> Iterable[list[str]]:
    """In parts of at most so many."""
    return ([*items[start : start + size]] for start in range(0, len(items), size))
