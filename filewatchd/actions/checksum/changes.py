"""Single changes: each path is looked at as the rule's user, compared with its row, or with the row it came with.

A move brings the old path's row along; what appears with the inode or the content of a file that has just gone was
moved, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from filewatchd.actions.base import JobContext
from filewatchd.actions.checksum.beginning import beginning
from filewatchd.actions.checksum.glance import LANE, look_at
from filewatchd.actions.checksum.judging import Reading, to_read, type_of
from filewatchd.actions.checksum.keeping import Ledger, still_waits
from filewatchd.actions.checksum.listing import is_away
from filewatchd.actions.checksum.paths import full, path_of, relative
from filewatchd.actions.checksum.rotated import Rotated
from filewatchd.actions.checksum.seeing import Presence, Seen, Wanted
from filewatchd.actions.checksum.settling import Looked, is_beginning
from filewatchd.actions.checksum.shifted import displaced, in_order, named, now_at, sought, told_apart
from filewatchd.actions.checksum.vanished import Vanished
from filewatchd.model import OK, Change, Kind, Outcome
from filewatchd.state.index.rows import WAITING, Record, State, kind_of, split, stamp

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum


_SHIFTED = 100  # numbers of logs


class Changes:
    """Takes changes to the index; `work` does it."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self.vanished = Vanished()
        self.rotated = Rotated(action)
        self.begins: set[tuple[str, str]] = set()  # files that a build couldn't take, as they were being written

    async def work(self, job: JobContext | None, root: str, changes: Sequence[Change]) -> dict[str, Outcome]:
        """Look at changed paths of one root, and write what follows."""
        ledger = await self._action.ledger(root)
        places = {relative(change.path, root): change for change in changes}
        old = {path: relative(c.old_path, root) for path, c in places.items() if c.old_path is not None}
        self._action.runs.touch(root, [*places, *old.values()])
        rows: dict[str, Record] = await self._action.ctx.pool.run(LANE, ledger.rows, [*places, *old.values()])
        if rowless := [path for path, before in old.items() if before not in rows]:
            rows |= await self._from_waiting(ledger, rowless, old, places)
        if growing := self._action.options.tracking.growing:
            await self._find_shifted(ledger, places, rows, old)
        asked = {path: self._known(path, change, rows, old) for path, change in places.items()}
        taken = displaced(now_at(places, old), rows) if growing else {}
        asked |= {path: (rows[before], before) for path, before in taken.items()}
        wanted = await self._action.ctx.pool.run(LANE, self._wanted, ledger, places, asked)
        ground = self._action.ground(root)
        tracking = self._action.tracking(ground.granularity_ns if ground is not None else 0)
        seen = await look_at(self._action.ctx, root, wanted, tracking, self._progress(job, root))
        if await self._is_away(ledger, seen):
            return {}
        looked = [
            self._looked(ledger, each, want, *asked[path_of(each)], places)
            for each, want in zip(seen, wanted, strict=True)
        ]
        if not taken:
            return await self._settle(ledger, looked, places)
        # The rows go with their files before anything is said of what has their names now.
        gone, rest = told_apart(looked, taken, rows)
        return {**await self._settle(ledger, gone, places), **await self._settle(ledger, rest, places)}

    async def _find_shifted(
        self, ledger: Ledger, places: dict[str, Change], rows: dict[str, Record], old: Mapping[str, str]
    ) -> None:
        """Logs whose names others have: what they are called now may be told by another job, so it is looked for."""
        root, ctx = ledger.root, self._action.ctx
        for _ in range(_SHIFTED):
            wanted = sought(now_at(places, old), rows)
            found = await ctx.worker.call(named, root, wanted) if wanted else []
            fresh = {path: identity for path, identity in found if path not in places and ctx.selects(full(root, path))}
            if not fresh:
                return
            places |= {path: Change(Kind.CREATED, full(root, path), root, fresh[path]) for path in fresh}
            self._action.runs.touch(root, [*fresh])
            rows |= await ctx.pool.run(LANE, ledger.rows, [*fresh])

    async def _is_away(self, ledger: Ledger, seen: Sequence[Seen]) -> bool:
        """Whether files are missing because their root is, which is one finding and deletes nothing.

        What became of them is told by the verify that begins when the root is back.
        """
        missing = any(each.presence is Presence.ABSENT and each.name for each in seen)  # no name: the root is a file
        if not missing or not await self._action.ctx.worker.call(is_away, ledger.root):
            return False
        self._action.settled(ledger, await self._action.ctx.pool.run(LANE, ledger.root_gone, True))
        return True

    async def _from_waiting(
        self, ledger: Ledger, rowless: Sequence[str], old: dict[str, str], places: dict[str, Change]
    ) -> dict[str, Record]:
        """Files that moved from a path that only waits: new there, or moved there from where their row still is.

        What waits of such a path is over, so it is looked at too; ``old`` is led back to the row, which is returned.
        """
        moves = await self._action.ctx.pool.run(LANE, ledger.moves)
        for path in rowless:
            before = old[path]
            places.setdefault(before, Change(Kind.DELETED, full(ledger.root, before), ledger.root))
            old[path] = moves[before].old_path or before if before in moves else before
        rows: dict[str, Record] = await self._action.ctx.pool.run(LANE, ledger.rows, [old[path] for path in rowless])
        return rows

    @staticmethod
    def _progress(job: JobContext | None, root: str) -> Any:
        return (lambda done: None) if job is None else (lambda done: job.progress(done, 0, f"bytes in {root}"))

    def _known(
        self, path: str, change: Change, rows: Mapping[str, Record], old: Mapping[str, str]
    ) -> tuple[Record | None, str | None]:
        """The row to compare a path with, and where that is if it isn't the path's own."""
        if path in old and old[path] != path and old[path] in rows:  # it may be back where it was
            return rows[old[path]], old[path]
        if path in rows:
            return rows[path], None
        if change.identity is not None:
            return self.vanished.by_identity(change.root, change.identity)
        return None, None

    def _wanted(
        self, ledger: Ledger, places: Mapping[str, Change], asked: Mapping[str, tuple[Record | None, str | None]]
    ) -> list[Wanted]:
        """What has to be looked at; in a pool thread."""
        track = self._action.options.tracking
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
        if row is None and seen.digests and not type_of(seen.attributes):
            row, old_path = self.vanished.by_digest(ledger.root, seen.digests[-1])
        change = places.get(path)
        label = self.rotated.label(change.path) if change is not None else None
        return self.rotated.adapted(Looked(seen, wanted.algorithms, row, old_path, label))

    async def _settle(
        self, ledger: Ledger, looked: Sequence[Looked], places: Mapping[str, Change]
    ) -> dict[str, Outcome]:
        """Judge and write; what can't be trusted yet is looked at again."""
        sure = in_order([each for each in looked if not self._action.again.wait_for(ledger, each.seen)])
        first = await self._beginnings(ledger, sure, places)
        for build in (True, False):
            some = [each for each in sure if (each.path in first) is build]
            if some or not build:
                settled = await self._action.ctx.pool.run(LANE, ledger.settle, some, self._action.policy, build)
                self._action.settled(ledger, settled)
        self.begins.difference_update((ledger.root, each.path) for each in sure)
        said = {told.path: told for told in settled.news if told.state is not State.ACCEPTED}
        return {
            change.path: Outcome(OK.verdict, f"{said[path].verdict.value}: {said[path].message}".rstrip(": "))
            for path, change in places.items()
            if path in said
        }

    async def _beginnings(self, ledger: Ledger, looked: Sequence[Looked], places: Mapping[str, Change]) -> set[str]:
        """Which of them were there before their root was built: a build would take them as they are."""
        unknown = {each.path: kind_of(type_of(each.seen.attributes)) for each in looked if is_beginning(each)}
        found = {path for path in unknown if (ledger.root, path) in self.begins}
        before = [path for path in unknown.keys() - found if places[path].kind is not Kind.CREATED]
        ground = self._action.ground(ledger.root)
        if before and ground is not None:
            start = await self._action.ctx.pool.run(LANE, beginning, ledger, ground, self._action.options.types)
            found.update(path for path in before if start is not None and start.has(path, unknown[path]))
        return found
