"""Looks at many files, from the loop: the large ones one by one, so that others get their turn between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing

from filewatchd.actions.base import Context
from filewatchd.actions.checksum.looking import look, look_large
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted

LANE = "index"  # of the pool, for the database


async def look_at(
    ctx: Context,
    root: str,
    wanted: Sequence[Wanted],
    tracking: Tracking,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Seen]:
    """Look at files; large ones one by one. ``progress`` is told of bytes as they are read of those."""
    found: list[Seen] = await ctx.worker.call(look, root, list(wanted), tracking)
    for number, seen in enumerate(found):
        if seen.presence is not Presence.LARGE:
            continue
        async with aclosing(ctx.worker.steps(look_large, root, wanted[number], tracking)) as steps:
            async for step in steps:
                progress(step.done)
                if step.seen is not None:
                    found[number] = step.seen
    return found
