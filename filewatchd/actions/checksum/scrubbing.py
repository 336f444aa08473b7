"""The scrub: every known file is read again, little by little, so that what rots is found while there still is a copy.

It follows the rows in the order of their keys, from a cursor that is written with what it found: those that it comes
to are those it verified longest ago. In a second it reads no more than its rates allow; a large file is paid for by
waiting afterwards. It reads in the disk's idle class, and while the machine is short of disk or processor it waits,
up to two minutes for each portion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from filewatchd.actions.base import Context
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.looking import look, look_large
from filewatchd.actions.checksum.options import Scrub
from filewatchd.actions.checksum.seeing import Presence, Progress, Seen, Tracking, Wanted
from filewatchd.actions.checksum.settling import Looked
from filewatchd.state.index.rows import Record
from filewatchd.work.pressure import idle, pressure

_MOST = 500  # files at once
_HIGH = {"io": 20.0, "cpu": 60.0}  # percent of the last ten seconds
_STEP_BACK = 10.0  # seconds
_STEPS_BACK = 12  # then a portion is read all the same


def look_idly(root: str, wanted: list[Wanted], tracking: Tracking) -> list[Seen]:
    """Look at files at the disk's idle times."""
    with idle():
        return look(root, wanted, tracking)


def look_large_idly(root: str, wanted: Wanted, tracking: Tracking) -> Iterator[Progress]:
    """Read a large file at the disk's idle times."""
    series = look_large(root, wanted, tracking)
    while True:
        with idle():  # each step may be another thread's
            step = next(series, None)
        if step is None:
            return
        yield step


class Portion(NamedTuple):
    """Rows of one directory, to be read now; ``cursor``: where the next portion begins."""

    directory: str
    rows: dict[str, Record]
    cursor: tuple[str, str]


class Portions:
    """Gives out a root's rows in their order, in portions that a second's rates allow; in pool threads."""

    def __init__(self, ledger: Ledger, scrub: Scrub, cursor: tuple[str, str] | None) -> None:
        self._ledger = ledger
        self._files = max(1, min(_MOST, int(scrub.files)))
        self._bytes = max(1, int(scrub.rate))
        self._directory, self._name = cursor or ("", "")
        self._only = False  # the root is a file, and was given out

    def next(self) -> Portion | None:
        """The next portion; None at the end."""
        while True:
            rows = {} if self._only else self._ledger.some(self._directory, self._name, self._files)
            chosen: dict[str, Record] = {}
            size = 0
            for name, row in rows.items():
                if chosen and size + row.identity.size > self._bytes:
                    break
                chosen[name] = row
                size += row.identity.size
                self._name = name
            self._only = "" in chosen
            if chosen:
                return Portion(self._directory, chosen, (self._directory, self._name))
            following = self._ledger.directory_after(self._directory)
            if following is None:
                return None
            self._directory, self._name = following, ""


class Pace:
    """How long to wait so that neither rate is passed. Pure."""

    def __init__(self, scrub: Scrub, now: float) -> None:
        self._scrub = scrub
        self._free = now  # from when more may be read

    def took(self, files: int, size: int, now: float) -> float:
        """So much was read; returns the seconds to wait."""
        cost = max(files / self._scrub.files, size / self._scrub.rate)
        self._free = max(self._free, now - 1.0) + cost  # at most a second is made up for
        return max(0.0, self._free - now)


def is_short() -> str:
    """What the machine is short of; "" for nothing."""
    return next((name for name, most in _HIGH.items() if (pressure(name) or 0.0) > most), "")


async def step_back(short: Callable[[], str], told: Callable[[str], None]) -> None:
    """Wait while others need the machine, but not for ever: what is always busy must be read as well.

    ``told`` gets what is waited for, and "" at the end.
    """
    for _ in range(_STEPS_BACK):
        lacking = short()
        told(lacking)
        if not lacking:
            return
        await asyncio.sleep(_STEP_BACK)
    told("")


async def read(
    ctx: Context,
    root: str,
    portion: Portion,
    wanted: Sequence[Wanted],
    tracking: Tracking,
    yielding: Callable[[], Awaitable[None]],
) -> list[Looked]:
    """Read a portion's files again."""
    found: list[Seen] = await ctx.worker.call(look_idly, root, list(wanted), tracking)
    looked = []
    for asked, first in zip(wanted, found, strict=True):
        seen = first
        if seen.presence is Presence.LARGE:
            async with aclosing(ctx.worker.steps(look_large_idly, root, asked, tracking)) as steps:
                async for step in steps:
                    seen = step.seen or seen
                    await yielding()
        looked.append(Looked(seen, asked.algorithms, portion.rows[asked.name]))
    return looked
