"""Asking a disk that may not answer: a call on a dead network mount waits for its server, for hours if need be.

Such a call takes no time-out and can't be taken back. So it is made in a thread of its own, which is left behind, as a
daemon thread, if nothing has moved for a while; it ends with the process.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from filewatchd.errors import StalledError

T = TypeVar("T")

_BEAT = 0.2  # seconds between looks at the progress


def attend(
    work: Callable[[], T],
    patience: float,
    pulse: Callable[[], object] = lambda: None,
    tell: Callable[[], None] = lambda: None,
) -> T:
    """Do blocking work in a thread of its own, and wait for it as long as ``pulse`` gives ever new values.

    Args:
        work: what to do; its exceptions pass through.
        patience: seconds without a new value.
        pulse: something that changes while the work goes on.
        tell: called now and then while waiting.

    Raises:
        StalledError: it doesn't go on. Its thread is left behind.
    """
    future = begun(work)
    last, since = pulse(), time.monotonic()
    while not concurrent.futures.wait([future], min(_BEAT, patience)).done:
        tell()
        now = time.monotonic()
        if (value := pulse()) != last:
            last, since = value, now
        elif now - since >= patience:
            raise StalledError(f"no answer for {patience:g} s")
    return future.result()


def begun(work: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Begin blocking work in a thread of its own; nobody has to wait for it."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    threading.Thread(target=_fulfil, args=(future, work), name="patience", daemon=True).start()
    return future


def _fulfil(future: concurrent.futures.Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it travels to whoever waits
        future.set_exception(error)
