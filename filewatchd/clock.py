"""Time as a parameter: monotonic for windows and deadlines, wall for schedules and display."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the core knows of time."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; may be set back and forth by the operator."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall_ns = staticmethod(time.time_ns)
