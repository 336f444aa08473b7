"""Looks at many files, from the loop: the large ones step by step, so that others get their turn between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from filewatchd.actions.base import Context
from filewatchd.actions.checksum import parcels
from filewatchd.actions.checksum.looking import look, look_large
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted
from filewatchd.errors import ActionError

LANE = "index"  # of the pool, for the database
_LARGE_AT_ONCE = 2  # as many as a lane has threads; hashing gives up the interpreter's lock


class View(NamedTuple):
    """What a look found: ``sheets`` of files that are simply there, and the others with what was asked of them."""

    sheets: list[parcels.Sheet]
    wanted: list[Wanted]
    seen: list[Seen]


async def look_at(
    ctx: Context,
    root: str,
    wanted: Sequence[Wanted],
    tracking: Tracking,
    progress: Callable[[int], None] = lambda done: None,
    *,
    apart: bool = False,
) -> list[Seen]:
    """Look at files, ``apart`` in a process of many; large ones two at a time.

    ``progress`` is told of bytes as they are read of those.
    """
    if apart:
        answer = await _asked(ctx, root, wanted, tracking)
        found: list[Seen] = await ctx.pool.run(LANE, parcels.unpacked, answer, wanted)
    else:
        found = await ctx.worker.call(look, root, list(wanted), tracking)
    await _read_large(ctx, root, wanted, found, tracking, progress)
    return found


async def survey(
    ctx: Context, root: str, wanted: Sequence[Wanted], tracking: Tracking, progress: Callable[[int], None]
) -> View:
    """Look at many files of which nothing is known; what is there needs no value of its own for each."""
    answer = await _asked(ctx, root, wanted, tracking)
    view = View(*await ctx.pool.run(LANE, parcels.sheets, answer, wanted))
    await _read_large(ctx, root, view.wanted, view.seen, tracking, progress)
    return view


async def _asked(ctx: Context, root: str, wanted: Sequence[Wanted], tracking: Tracking) -> bytes:
    if not wanted:
        return parcels.NOTHING
    asked = await ctx.pool.run(LANE, parcels.packed, wanted)
    try:
        return await ctx.worker.apart(parcels.look_many, root, asked, tracking)
    except ActionError as error:  # it was killed, for want of memory perhaps: that must not end a walk
        if not error.retryable:
            raise
        ctx.log.warning("files are looked at in the daemon: %s", error)
        return await ctx.worker.call(parcels.look_many, root, asked, tracking)


async def _read_large(
    ctx: Context,
    root: str,
    wanted: Sequence[Wanted],
    found: list[Seen],
    tracking: Tracking,
    progress: Callable[[int], None],
) -> None:
    """Read those that were left to be read by themselves."""
    large = [number for number, seen in enumerate(found) if seen.presence is Presence.LARGE]
    turns, done = asyncio.Semaphore(_LARGE_AT_ONCE), dict[int, int]()

    async def read(number: int) -> None:
        async with turns, aclosing(ctx.worker.steps(look_large, root, wanted[number], tracking)) as steps:
            async for step in steps:
                done[number] = step.done
                progress(sum(done.values()))
                if step.seen is not None:
                    found[number] = step.seen

    tasks = [asyncio.ensure_future(read(number)) for number in large]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
