"""The names that the archives of a rule get, by what the ledger has of them and by what others have in their folder.

A number grows with each rotation: before an archive gets the first one, the others are renamed, the oldest first. The
ledger says so before, and is told after, so that each is found at its old name or its new one at any moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import naming
from filewatchd.actions.rotate.ledger import Archive, Ledger
from filewatchd.actions.rotate.machine import State
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.places import Names, Setting, folder_name

_NAMED = (State.NAMED, State.STAMPED, State.DONE)


class Numbering:
    """The names of one rule's archives."""

    def __init__(
        self, ctx: Context, ledger: Ledger, options: Callable[[], Options], setting: Callable[[str], Setting]
    ) -> None:
        """``options``: those in force; ``setting``: of a log."""
        self._ctx = ctx
        self._ledger = ledger
        self._options = options
        self._setting = setting

    async def names(self, archive: Archive, codec: str) -> Names:
        """The names that are tried for an archive."""
        if self._options().name == "timestamp":
            return self.stamped(archive.live, archive.txn, codec, archive.id)
        setting = self._setting(archive.live)
        folder = folder_name(archive.live, setting)
        await self.shift_on(archive.live)
        others = [
            other
            for other in self._ledger.of(archive.live)
            if other.state in _NAMED and other.id != archive.id and os.path.dirname(other.path or "") == folder
        ]
        rows = sorted([*others, archive], key=lambda row: row.id, reverse=True)
        ours = {os.path.basename(other.path or ""): other for other in others}
        taken = await self._ctx.worker.call(naming.taken, archive, setting, ours)
        if taken.own is not None:  # a crash came after it had got it
            return Names(taken.own)
        current = [naming.number_of(archive.live, row.path or "") if row is not archive else None for row in rows]
        wanted = dict(zip((row.id for row in rows), naming.numbers(current, taken.numbers), strict=True))
        await self._shift(archive.live, others, wanted)
        return Names(naming.numbered_name(archive.live, wanted[archive.id], codec))

    def stamped(self, live: str, txn: str, codec: str, own: int = 0) -> Names:
        """Names with the time; ``own``: the row that may have one of them already."""
        names, folder = naming.stamped_names(live, txn, codec), folder_name(live, self._setting(live))
        if not self._ledger.named([os.path.join(folder, names.first)], own):
            return names  # nearly always
        kept = self._ledger.named([os.path.join(folder, name) for name in names.all()], own)
        return names._replace(kept=frozenset(map(os.path.basename, kept)))

    async def _shift(self, live: str, archives: list[Archive], wanted: dict[int, int]) -> None:
        moves = []
        for archive in archives:  # the oldest first, so that each new name has become free
            path = os.path.join(
                os.path.dirname(archive.path or ""), naming.numbered_name(live, wanted[archive.id], archive.codec)
            )
            if path != archive.path:
                moves.append((archive, path))
        if moves:
            await self._ledger.shift(moves)
            await self._shift_again(live, [self._ledger.get(archive.id) for archive, _ in moves])

    async def shift_on(self, live: str) -> None:
        """Rename what a crash, or a failure, has left with its old name."""
        shifting = [row for row in self._ledger.of(live) if row.was is not None and row.state is not State.SWAPPED]
        if shifting:
            await self._shift_again(live, shifting)

    async def _shift_again(self, live: str, archives: list[Archive]) -> None:
        """Rename what the ledger says is being renamed."""
        paths = await self._ctx.worker.call(naming.shift, live, self._setting(live), archives)
        self._ledger.shifted(list(zip(archives, paths, strict=True)))
