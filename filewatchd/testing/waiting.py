"""Waiting for a condition in a bounded loop: the only kind of waiting a test of real processes may do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 30.0  # seconds; generous, because a loaded machine is no failure


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """What the condition returns once that is true.

    Raises:
        AssertionError: it didn't become true in time; names ``what``.
    """
    deadline = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.005)
    return result


async def eventually(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Like `wait_until`, letting the event loop run.

    Raises:
        AssertionError: it didn't become true in time; names ``what``.
    """
    deadline = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        await asyncio.sleep(0.005)
    return result
