"""Asking a disk that may not answer: a call on a dead network mount waits for its server, for hours if need be.

Such a call can't be taken back. So it is made in a thread of its own kind, which is left behind, as a daemon thread, if
it doesn't come back in time; the next call gets a new one. A thread that answers is used again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """Makes blocking calls, one after the other, each with a limit of time. Close it by forgetting it."""

    def __init__(self, seconds: float = 5.0) -> None:
        """``seconds`` for each call."""
        self._seconds = seconds
        self._asked: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] | None = None
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def ask(self, work: Callable[..., T], *args: Any) -> T:
        """What ``work(*args)`` returns or raises.

        Raises:
            TimeoutError: it didn't come back.
        """
        if self._asked is None:
            self._asked, self._answers = SimpleQueue(), SimpleQueue()
            threading.Thread(target=_serve, args=(self._asked, self._answers), name="patience", daemon=True).start()
        self._asked.put((work, args))
        try:
            result, error = self._answers.get(timeout=self._seconds)
        except Empty:
            self.close()
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None
        if error is not None:
            raise error
        found: T = result
        return found

    def close(self) -> None:
        """Let the thread end once its call is over."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _serve(
    asked: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None],
    answers: SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    while (call := asked.get()) is not None:
        work, args = call
        try:
            answers.put((work(*args), None))
        except BaseException as error:  # noqa: BLE001 - it travels to whoever asked
            answers.put((None, error))
