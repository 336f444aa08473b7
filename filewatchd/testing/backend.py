"""A backend that says what the test tells it to: `filewatchd.watch.backends.base.Backend` without a kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.watch.backends.base import Armed, Event, WatchLimitError


class ScriptedBackend:
    """Arms nothing, and drains the events the test fed. ``budget``: how many directories can be armed."""

    name = "scripted"
    limits: Sequence[str] = ()

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.armed: list[Armed] = []
        self.anchors: dict[str, set[str]] = {}
        self.released: list[Callable[[str], bool]] = []
        self._events: deque[Event] = deque()
        self._tokens = 0
        self._anchors = 1 << 20  # their tokens are apart: anchors don't count against the budget
        self._wake: Callable[[], None] = lambda: None

    def feed(self, *events: Event) -> None:
        """Let these events be drained; wakes the watcher."""
        self._events.extend(events)
        self._wake()

    def start(self, wake: Callable[[], None]) -> None:
        """Begin."""
        self._wake = wake

    def stop(self) -> None:
        """End."""

    def arm(self, fd: int) -> int:
        """Give out the next token. Raises WatchLimitError past the budget."""
        if self.budget is not None and self._tokens >= self.budget:
            raise WatchLimitError(28, "no watch left")
        self._tokens += 1
        return self._tokens

    def proves(self, fd: int, token: int) -> bool:
        """Everything is what it was."""
        return True

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """Anchors cost nothing."""
        self._anchors += 1
        return self._anchors

    def adopt(self, armed: list[Armed]) -> None:
        """Remember what was armed."""
        self.armed += armed

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Remember an anchored name."""
        self.anchors.setdefault(directory, set()).add(name)

    def unanchor(self, directory: str) -> None:
        """Forget a directory's names."""
        self.anchors.pop(directory, None)

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """Remember the question."""
        self.released.append(unwanted)

    def suspects(self) -> Mapping[int, str]:
        """Nothing moves."""
        return {}

    def still_there(self, token: int, path: str) -> bool:
        """Everything stays."""
        return True

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Nothing is gone."""

    def drain(self) -> list[Event]:
        """What was fed since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    async def barrier(self) -> None:
        """What was fed can be drained."""

    def statistics(self) -> Mapping[str, Any]:
        """How much was armed."""
        return {"watches": len(self.armed)}
