"""How long finished jobs and changes are remembered. Done now and then, in slices, in the pool.

Jobs are kept so many, and so long. What exceeds either bound goes, oldest first; jobs with open paths or steps stay,
and so does the newest, whose number says where the next begins. Changes are kept so many; they go by whole batches,
and so that no fewer are left. When much has gone the file is made smaller.

A job's age is reckoned by a calendar of our own. A wall clock may be set a year ahead by mistake, and back; whoever
deleted by it would have forgotten everything. So the calendar goes on with the time that really passes, is given a
day at each start for the time the daemon didn't run, and follows a jump only once the clock has gone steadily for a
day after it. Set back, it follows at once: then less is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from filewatchd.clock import Clock
from filewatchd.errors import StateError
from filewatchd.jobs import changes
from filewatchd.state.background import Background, Room, Slices
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.jobs")

_LANE = "state"
_PAUSE = 0.02  # seconds between slices: four fifths of the time the write lock is free
_NS = 1_000_000_000
_DAY = 86_400.0  # seconds
_JUMP = 60.0  # seconds that the wall clock may leave the monotonic one from one round to the next
_MUCH, _LITTLE = 0.25, 0.05  # free pages, as a share: from which on the file is made smaller, and down to which
_WORTH = 256  # free pages; fewer don't matter

_OLD = """
SELECT id FROM jobs
WHERE open = 0 AND finished_ns IS NOT NULL
    AND (id <= (SELECT id FROM jobs ORDER BY id DESC LIMIT 1 OFFSET ?) OR finished_ns < ?)
    AND id < (SELECT max(id) FROM jobs)
    AND id NOT IN (SELECT job FROM steps)
ORDER BY id LIMIT ?
"""


class Calendar:
    """The time by which jobs grow old."""

    def __init__(self, clock: Clock, kept_ns: int | None) -> None:
        """``kept_ns``: what it said last, in an earlier life."""
        self._clock = clock
        self._ns = clock.wall_ns() if kept_ns is None else kept_ns + int(_DAY * _NS)
        self._asked = self._steady = clock.monotonic()
        self._offset = clock.wall_ns() / _NS - self._asked

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, or less; never later than the wall clock."""
        wall, now = self._clock.wall_ns(), self._clock.monotonic()
        offset = wall / _NS - now
        if abs(offset - self._offset) > _JUMP:
            self._steady = now
        self._offset = offset
        believed = wall if now - self._steady >= _DAY else self._ns + int((now - self._asked) * _NS)
        self._asked, self._ns = now, min(wall, believed)
        return self._ns


class Retention:
    """The rounds of one daemon's life."""

    def __init__(self, path: str, pool: Pool, clock: Clock, *, keep: int, age: float, changes: int) -> None:
        """Keep ``keep`` finished jobs for ``age`` seconds, and ``changes``. ``path``: the journal, which is open."""
        self._path = path
        self._pool = pool
        self._clock = clock
        self._keep, self._age, self._changes = keep, age, changes
        self._calendar: Calendar | None = None
        self._jobs, self._batches, self._pages = Slices(20, 500), Slices(4, 500), Slices(16, 2048)
        self._ending = False
        self.pruned = self.forgotten = self.shrunk = 0

    def keep(self, jobs: int, age: float, changes: int) -> None:
        """Keep so many finished jobs and changes from now on, and jobs from the next round on for so many seconds."""
        self._keep, self._age, self._changes = jobs, age, changes

    async def round(self) -> bool:
        """Forget what is old, and give back the room if it is much: True if it was, then a checkpoint completes it.

        Ends early where state can't be written; the next round goes on.
        """
        shrunk = self.shrunk
        try:
            with await self._run(Background, self._path) as journal:
                before_ns = await self._run(self._before_ns, journal)
                await self._slices(self._jobs, lambda size: self._prune(journal, before_ns, size))
                await self._slices(self._batches, lambda size: self._forget(journal, size))
                if _is_much(await self._run(journal.room)):
                    await self._slices(self._pages, lambda size: self._shrink(journal, size))
        except StateError as error:
            log.debug("old jobs and changes stay a while: %s", error)
        return self.shrunk > shrunk

    def stop(self) -> None:
        """End the round that is under way, if one is, after its slice."""
        self._ending = True

    def statistics(self) -> dict[str, Any]:
        """Jobs and changes forgotten, and pages given back, so far."""
        return {"pruned": self.pruned, "changes_forgotten": self.forgotten, "shrunk": self.shrunk}

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await self._pool.run(_LANE, work, *args)

    async def _slices(self, slices: Slices, work: Callable[[int], bool]) -> None:
        """Do slices until one says that there is no more."""
        goes_on = True
        while goes_on and not self._ending:
            goes_on = await self._run(_timed, slices, work)
            await asyncio.sleep(_PAUSE)

    # ---- in the pool

    def _before_ns(self, journal: Background) -> int:
        if self._calendar is None:
            kept = journal.execute("SELECT value FROM meta WHERE name = 'calendar_ns'")
            self._calendar = Calendar(self._clock, int(kept[0][0]) if kept else None)
        now = self._calendar.now_ns()
        journal.execute("REPLACE INTO meta VALUES ('calendar_ns', ?)", (str(now),))
        return now - int(self._age * _NS)

    def _prune(self, journal: Background, before_ns: int, size: int) -> bool:
        old = [number for (number,) in journal.execute(_OLD, (max(self._keep, 1), before_ns, size))]
        if old:  # found without the write lock; a step may have come since
            which = f"IN ({', '.join('?' * len(old))})"
            journal.execute(f"DELETE FROM attempts WHERE job {which}", old)  # first: cut off here, none is left alone
            journal.execute(f"DELETE FROM jobs WHERE id {which} AND id NOT IN (SELECT job FROM steps)", old)
            self.pruned += len(old)
        return len(old) == size

    def _forget(self, journal: Background, size: int) -> bool:
        old = changes.excess(journal.execute, self._changes, size)
        if old:
            journal.execute("DELETE FROM changes WHERE first <= ?", (old[-1].first,))
            self.forgotten += sum(row.size for row in old)
        return len(old) == size

    def _shrink(self, journal: Background, size: int) -> bool:
        before = journal.room()
        journal.shrink(size)
        after = journal.room()
        self.shrunk += before.pages - after.pages
        return after.pages < before.pages and after.free > max(_WORTH, after.pages * _LITTLE)


def _is_much(room: Room) -> bool:
    return room.free > max(_WORTH, room.pages * _MUCH)


def _timed(slices: Slices, work: Callable[[int], bool]) -> bool:
    began = time.monotonic()
    goes_on = work(slices.size)
    slices.took(time.monotonic() - began)
    return goes_on
