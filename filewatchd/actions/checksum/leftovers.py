"""New files, and rows whose files are missing: both wait for a walk's end, when those that belong together are known.

A file is gone only if its directory is on the filesystem it was on (`Ground.regions`); a directory, if that filesystem
stands anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple

from filewatchd.actions.base import Context, Ground
from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.listing import standing
from filewatchd.actions.checksum.looking import look
from filewatchd.actions.checksum.pairing import paired
from filewatchd.actions.checksum.planning import Plan, others
from filewatchd.actions.checksum.seeing import Presence, Tracking, Wanted
from filewatchd.actions.checksum.selecting import Selected, selected
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import DIRECTORY, SYMLINK, Record, joined, split

SOME = 500  # directories, or files, asked about at once
_MOST = 50_000  # that wait


class Taken(NamedTuple):
    """``unknown``: new files; ``gone``: rows whose files aren't there, and ``reasons``; ``moved``: new -> old path."""

    unknown: list[str]
    gone: dict[str, Record]
    reasons: dict[str, str]
    moved: dict[str, str]


class Leftovers:
    """Those of one walk. ``files`` False: only what is no file is compared."""

    def __init__(self, ctx: Context, ledger: Ledger, ground: Ground, tracking: Tracking, *, files: bool) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._ground = ground
        self._tracking = tracking
        self._files = files
        self._unknown: dict[str, FileIdentity | None] = {}
        self._missing: dict[str, Record] = {}

    def __bool__(self) -> bool:
        """Whether any wait."""
        return bool(self._unknown or self._missing)

    @property
    def are_many(self) -> bool:
        """Whether they are to be taken before the end."""
        return len(self._unknown) > _MOST or len(self._missing) > _MOST

    def add(self, plan: Plan) -> None:
        """What a batch leaves."""
        self._unknown.update(plan.unknown)
        self._missing.update(plan.missing)

    async def take(self, touched: set[str]) -> Taken:
        """All there are, but for paths that jobs have written since."""
        unknown = {path: identity for path, identity in self._unknown.items() if path not in touched}
        missing = {path: row for path, row in self._missing.items() if path not in touched}
        self._unknown, self._missing = {}, {}
        gone, reasons = await self._confirmed(missing)
        moved = paired(unknown, gone, await self._in_pool(self._ledger.moves) if gone else {})
        return Taken(sorted(unknown), gone, reasons, moved)

    async def vanished(self, scopes: Sequence[str]) -> AsyncGenerator[None]:
        """Add what is known in directories that weren't listed; between two parts of them whoever asks has a turn."""
        there = {region.filesystem for region in self._ground.regions}
        directories = [each for scope in scopes for each in await self._in_pool(self._ledger.directories, scope)]
        for some in slices(directories, SOME):
            stands = await self._ctx.worker.call(standing, self._ground.root, some)
            for directory, present in zip(some, stands, strict=True):
                if self._selected.leaves_out(directory) or not present:
                    await self._vanish(directory, there)
            yield

    async def _vanish(self, directory: str, there: set[str]) -> None:
        """A directory is gone, or left out by the patterns; ``there``: the filesystems that stand."""
        known = await self._in_pool(self._ledger.beneath, directory)
        known = known if self._files else others(known)
        known_on = await self._in_pool(self._ledger.filesystem_of, directory)
        if not self._selected.leaves_out(directory) and known_on not in ("", *there):
            return
        if known:
            self._missing.update((joined(directory, name), row) for name, row in known.items())
        elif self._files:
            await self._in_pool(self._ledger.forget_directory, directory)

    @property
    def _selected(self) -> Selected:
        return selected(self._ground.include, self._ground.exclude)

    async def _confirmed(self, missing: dict[str, Record]) -> tuple[dict[str, Record], dict[str, str]]:
        """Rows whose files aren't there indeed, and what is; those that the patterns left out since are dropped."""
        gone: dict[str, Record] = {}
        reasons: dict[str, str] = {}
        for some in slices(sorted(missing), SOME):
            wanted = [Wanted(*split(path)) for path in some]
            seen = await self._ctx.worker.call(look, self._ground.root, wanted, self._tracking)
            outside = [path for path in some if not self._is_selected(path, missing[path])]
            if outside:
                await self._in_pool(self._ledger.forget, outside)
            for path, found in zip(some, seen, strict=True):
                if found.presence is Presence.ABSENT and path not in outside:
                    gone[path], reasons[path] = missing[path], found.reason
        return gone, reasons

    def _is_selected(self, path: str, row: Record) -> bool:
        """Whether the rule's patterns, and its types, are for a row still."""
        directory, name = split(path)
        if row.flags & DIRECTORY:
            return self._tracking.directories and not self._selected.leaves_out(directory)
        return (self._tracking.symlinks or not row.flags & SYMLINK) and self._selected.has(directory, name)

    def _in_pool(self, work: Any, *args: Any) -> Any:
        return self._ctx.pool.run(LANE, work, *args)


def slices(items: Sequence[str], size: int) -> Iterable[list[str]]:
    """In parts of at most so many."""
    return ([*items[start : start + size]] for start in range(0, len(items), size))
