"""Looks at many files, from the loop: the large ones step by step, so that others get their turn between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from filewatchd.actions.base import Context
from filewatchd.actions.checksum.looking import look, look_large
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted

LANE = "index"  # of the pool, for the database
_LARGE_AT_ONCE = 2  # as many as a lane has threads; hashing gives up the interpreter's lock


async def look_at(
    ctx: Context,
    root: str,
    wanted: Sequence[Wanted],
    tracking: Tracking,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Seen]:
    """Look at files; large ones two at a time. ``progress`` is told of bytes as they are read of those."""
    found: list[Seen] = await ctx.worker.call(look, root, list(wanted), tracking)
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
    return found
