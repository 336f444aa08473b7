"""What a walk has to look at: listings held against rows, so that most files need no look. In pool threads.

A file is gone only if its directory is on the filesystem it was on.
"""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.actions.base import Ground
from filewatchd.actions.checksum.beginning import Beginning
from filewatchd.actions.checksum.judging import Reading, to_read
from filewatchd.actions.checksum.keeping import Ledger, still_waits
from filewatchd.actions.checksum.seeing import Entry, Listing, Wanted
from filewatchd.actions.checksum.settling import Policy
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import DIRECTORY, OTHER, WAITING, Record, Type, joined, split, stamp


class Plan(NamedTuple):
    """What has to be looked at of a batch, and what is known of it. ``quiet``: files that are as they were."""

    wanted: list[Wanted]
    rows: dict[str, Record]  # by path
    unknown: list[tuple[str, FileIdentity | None]]
    missing: list[tuple[str, Record]]
    quiet: int


class Planner:
    """One walk's. ``fresh``: nothing is known, nothing to compare; ``sweeps``: missing files are looked for."""

    def __init__(
        self,
        ledger: Ledger,
        ground: Ground,
        policy: Policy,
        how: Reading,
        beginning: Beginning | None,
        *,
        files: bool = True,
    ) -> None:
        """``files`` False: they aren't listed, so none of them is missing."""
        self._ledger = ledger
        self._policy = policy
        self._how = how
        self._beginning = beginning
        self._files = files
        self._regions = sorted(ground.regions, key=lambda region: -len(region.inside))
        self.sweeps = beginning is None or how is Reading.QUICK  # a build after a change of patterns
        self.fresh = False

    def plan(self, batch: list[Listing]) -> Plan:
        """What has to be looked at; in a pool thread."""
        if self.fresh:
            return self._first(batch)
        plan = Plan([], {}, [], [], 0)
        quiet = 0
        for listing in batch:
            if listing.error:
                continue
            known = self._ledger.rows_of(listing)
            for entry in listing.entries:
                as_it_was = self._sort(listing.directory, entry, known.pop(entry.name, None), plan)
                quiet += as_it_was and entry.type is Type.FILE
            if not self._files:
                known = others(known)
            if self.sweeps and known and not self._is_elsewhere(listing.directory):
                plan.missing.extend((joined(listing.directory, name), row) for name, row in known.items())
        return plan._replace(quiet=quiet)

    def _first(self, batch: list[Listing]) -> Plan:
        """Nothing is known: all is read."""
        algorithms = self.algorithms()
        wanted = [
            Wanted(each.directory, entry.name, () if entry.type is Type.DIRECTORY else algorithms)
            for each in batch
            for entry in each.entries
        ]
        return Plan(wanted, {}, [], [], 0)

    def _sort(self, directory: str, entry: Entry, row: Record | None, plan: Plan) -> bool:
        """Put a file where it belongs in the plan; True if it needs no look."""
        path = joined(directory, entry.name)
        if row is None and entry.identity is None:  # gone since
            return False
        if row is None and (self._beginning is None or not self._beginning.has(path, entry.type)):
            plan.unknown.append((path, entry.identity))
            return False
        if row is not None and self._is_quiet(path, row, entry.identity):
            return True
        own = entry.type is Type.DIRECTORY
        plan.wanted.append(Wanted(directory, entry.name) if own else self.wanted(path, row, entry.identity))
        if row is not None:
            plan.rows[path] = row
        return False

    def _is_quiet(self, path: str, row: Record, identity: FileIdentity | None) -> bool:
        """Whether a known file needs no look."""
        if identity is None or self._how is Reading.FULL or row.flags & DIRECTORY:  # which its identity says nothing of
            return False
        now = stamp(*identity)
        if row.flags & WAITING:
            return still_waits(self._ledger, path, now)
        return now == stamp(*row.identity) and not to_read(row, now, self._policy.track, self._how)

    def wanted(self, path: str, row: Record | None, identity: FileIdentity | None) -> Wanted:
        """What is asked of a file."""
        track = self._policy.track
        now = stamp(*identity) if identity is not None else None
        prefix = row.identity.size if row is not None and track.growing else -1
        return Wanted(*split(path), to_read(row, now, track, self._how), prefix)

    def algorithms(self) -> tuple[str, ...]:
        """By which a new file is read."""
        track = self._policy.track
        return (track.algorithm,) if track.content else ()

    def filesystem(self, directory: str) -> str:
        """The name of the filesystem that a directory is on."""
        for region in self._regions:
            inside = region.inside
            if not inside or directory == inside or directory.startswith(inside + "/"):
                return region.filesystem
        return ""

    def _is_elsewhere(self, directory: str) -> bool:
        """Whether what is known of a directory is on another filesystem than the one that is there now."""
        return self._ledger.filesystem_of(directory) not in ("", self.filesystem(directory))


def others(rows: dict[str, Record]) -> dict[str, Record]:
    """Those that aren't files'."""
    return {name: row for name, row in rows.items() if row.flags & OTHER}
