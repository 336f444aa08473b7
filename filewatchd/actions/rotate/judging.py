"""What is to be done with a log: where it goes on, whether it is due, by which method, and all this told as a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence

from filewatchd.actions import telling
from filewatchd.actions.base import Context
from filewatchd.actions.rotate import deciding, examining, naming, reader, standing
from filewatchd.actions.rotate.deciding import Decision, Facts
from filewatchd.actions.rotate.due import Due, due
from filewatchd.actions.rotate.examining import Seen
from filewatchd.actions.rotate.ledger import Archive, Known, Ledger, goes_on
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.places import folder_in
from filewatchd.errors import ActionError
from filewatchd.work.gathering import Gathered
from filewatchd.work.inodes import Inode

_PLANNED = 5  # logs of a plan whose writers are looked up: some milliseconds each, on the loop

Outlook = tuple[Seen, Due, Decision, int]


class Judging:
    """The logs of one rule. ``punched``: those with a hole, until their last writer has gone."""

    def __init__(self, ctx: Context, ledger: Ledger, options: Options) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self.options = options
        self.punched: set[str] = set()
        self._former: dict[str, int] = {}  # where logs go on that others have rotated
        self._asking = Gathered[str, list[Archive]](
            lambda lives: ctx.pool.run("", reader.rows_of_others, ctx.state_dir, ctx.rule.name, lives)
        )
        self._knowing = Gathered[str, Known](self._known_of)
        self._seeing = Gathered[tuple[str, str, str | None], Seen](
            lambda lives: ctx.worker.call(examining.see_each, lives)
        )
        self._inspecting = Gathered[tuple[str, str, int], Facts | None](
            lambda logs: ctx.worker.call(examining.inspect_each, logs)
        )

    async def known(self, live: str) -> Known:
        """What the ledger has of a log, asked together with other logs."""
        return await self._knowing.ask(live)

    def skip(self, live: str, size: int, inode: Inode | None = None, archives: Sequence[Archive] | None = None) -> int:
        """Where what isn't archived of a log begins. ``archives``: its rows, if they are at hand."""
        if archives is None:
            archives = self._ledger.of(live)
        if not archives or live in self._former:
            former = self._former.get(live, 0)
            return former if former <= size else 0
        if archives[-1].method == "punch" and archives[-1].skip:
            self.punched.add(live)
        if inode is not None:
            return goes_on(live, size, inode, archives)
        return archives[-1].skip if archives[-1].skip <= size else 0

    async def begins(self, live: str, seen: Seen, archives: Sequence[Archive] | None = None) -> int:
        """The same of a log that was looked at. If another rule was the last to rotate it, that one's rows tell."""
        if archives is None:
            archives = self._ledger.of(live)
        theirs = await self._asking.ask(live)
        self._former.pop(live, None)
        if not theirs or (archives and archives[-1].last_ns >= theirs[-1].last_ns):
            return self.skip(live, seen.size, seen.inode, archives)
        skip = goes_on(live, seen.size, seen.inode, theirs)
        if skip:
            self._former[live] = skip
            if theirs[-1].method == "punch":
                self.punched.add(live)
        return skip

    def forget(self, live: str) -> None:
        """A log is gone."""
        self._former.pop(live, None)
        self.punched.discard(live)

    def due(self, live: str, size: int, since: tuple[int, bool] | None, *, note: bool = True) -> Due:
        """Whether it is due, or when it will be. ``note``: remember when it was first seen."""
        if note:
            self.note(live, since)
        now = self._ctx.clock.wall_ns()
        return due(self.options.when, size, *(since or (now, False)), now)

    def note(self, live: str, since: tuple[int, bool] | None) -> None:
        """Remember when a log was first seen. One that is refused is asked for, too, and looked at again."""
        if since is None:
            self._ledger.logs.begun(live, self._ctx.clock.wall_ns())

    async def decide(self, live: str, skip: int, seen: Seen) -> Decision:
        """Its method."""
        if (other := self._taken(live)) is not None:
            return other
        if seen.facts is not None:
            return self._decision(seen.facts._replace(skip=skip))
        facts = await self._inspecting.ask((live, self._ctx.beneath(live), skip))
        if facts is None:  # says why not
            facts = await self._ctx.worker.call(examining.inspect, live, self._ctx.beneath(live), skip)
        return self._decision(facts)

    async def see(self, live: str) -> Seen:
        """A look at it, together with those at other logs."""
        into = self.options.into
        folder = folder_in(live, into.dir) if into is not None else None
        return await self._seeing.ask((live, self._ctx.beneath(live), folder))

    async def stand(self, live: str, seen: Seen) -> None:
        """Remember where the folders of a log and of its archives stand, before a rotation begins.

        Raises:
            ActionError: an archive is unfinished on a filesystem that isn't there any more.
        """
        folder, into = os.path.dirname(live), self.options.into
        before = self._ledger.points.of(folder)
        if before not in ("", seen.log_on) and folder in {
            os.path.dirname(row.live) for row in self._ledger.unfinished()
        }:
            await self._ctx.worker.call(standing.check, None, folder, before)
        self._ledger.points.stands(folder, seen.log_on)
        if into is not None and seen.into_on and not standing.is_within(folder, seen.into_on):
            self._ledger.points.stands(folder_in(live, into.dir), seen.into_on)

    async def is_away(self, live: str) -> str:
        """Where nothing is mounted, if a log may only be away with its filesystem; else empty."""
        point = self._ledger.points.of(os.path.dirname(live))
        return point if point and not await self._ctx.worker.call(standing.is_mounted, point) else ""

    async def _known_of(self, lives: list[str]) -> list[Known]:
        return self._ledger.known_of(lives)

    def _taken(self, live: str) -> Decision | None:
        """Two that rotate one log would have a history each, and neither the whole one."""
        rule = self._ctx.preceding(live)
        why = f"the rule {rule} has it, which rotates it, too, and stands before this one: leave it to one of them"
        return Decision("refuse", (why,)) if rule is not None else None

    def _decision(self, facts: deciding.Facts) -> Decision:
        options = self.options
        return deciding.decide(options.method, options.unproven, options.reopen is not None, facts)

    def row(self, live: str, seen: Seen, known: Known, skip: int, method: str, end: int) -> Archive:
        """The row of a rotation that begins."""
        self._former.pop(live, None)
        now = self._ctx.clock.wall_ns()
        since = known.since[0] if known.since is not None else now
        first = known.archives[-1].last_ns if known.archives else min(since, seen.inode.btime_ns or now)
        txn = naming.transaction(now, naming.zone_of(self.options.when.timezone))
        return Archive(
            id=0, live=live, state=State.NONE, method=method, txn=txn, ino=seen.inode.ino,
            btime_ns=seen.inode.btime_ns, begin=skip, end=end, position=skip, skip=skip, first_ns=first, last_ns=now,
            codec=self.options.compress.codec,
        )  # fmt: skip

    async def outlook(self, live: str) -> Outlook:
        """What would be done with a log now."""
        seen = await self.see(live)
        skip = await self.begins(live, seen)
        found = self.due(live, seen.size - skip, self._ledger.logs.since(live), note=False)
        refused = Decision("refuse", (seen.refused or seen.failed or "it is gone",))
        there = seen.there and not seen.refused and not seen.failed
        decision = await self.decide(live, skip, seen) if there else refused
        return seen, found, decision, seen.size - skip

    def plan(self, live: str, number: int) -> str:
        """The method of a plan's n-th log, and why."""
        if self._ledger.owns(live) or naming.is_temporary(live) or naming.is_packed(live):
            return f"leave {live}: it is an archive"
        if number >= _PLANNED:
            return f"rotate {live} if it is due, as those before"
        try:
            return self._planned(live)
        except (OSError, ActionError) as error:
            return f"leave {live}: {error}"

    def _planned(self, live: str) -> str:
        beneath = self._ctx.beneath(live)
        seen = examining.see(live, beneath)
        if not seen.there or seen.refused or seen.failed:
            return f"leave {live}: {seen.refused or seen.failed or 'it is gone'}"
        skip = self.skip(live, seen.size, seen.inode)
        found = self.due(live, seen.size - skip, self._ledger.logs.since(live), note=False)
        decision = self._taken(live) or self._decision(examining.inspect(live, beneath, skip))
        head = f"rotate {live}, since {found.why}" if found.why else f"leave {live}, which isn't due; it would be"
        told = self.options.reopen if decision.method == "exchange" else None
        return f"{head}, by {decision.text}" + (f"; then {telling.describe(told)}" if told is not None else "")
