"""How a command's end reaches whoever waits for it, however the command is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from filewatchd.errors import ActionError
from filewatchd.work.command import Finished


def resolve(over: asyncio.Future[Finished], result: Finished | ActionError) -> None:
    """Say how it ended, once."""
    if over.done():
        return
    if isinstance(result, ActionError):
        over.set_exception(result)
    else:
        over.set_result(result)


async def wait_out(over: asyncio.Future[Finished], hurry: Callable[[], None]) -> None:
    """Wait for the end of a command whose waiter was cancelled; every further cancellation calls ``hurry``."""
    while not over.done():
        try:
            await asyncio.wait([over])
        except asyncio.CancelledError:
            hurry()
    over.exception()  # nobody else will ask for it
