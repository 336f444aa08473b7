"""How long jobs take, as histograms: two additions for each job that ends."""

from __future__ import annotations

import math
from bisect import bisect_left

#: upper bounds, in seconds
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, math.inf)


class Histogram:
    """``counts``: how many values lie above the last bound and up to this one. ``total``: their sum."""

    def __init__(self) -> None:
        self.counts = [0] * len(BOUNDS)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Timings:
    """Those of one rule. ``attempts``: each one's run. ``latencies``: from a job's first event to its end."""

    def __init__(self) -> None:
        self.attempts = Histogram()
        self.latencies = Histogram()

    def ended(self, seconds: float, latency: float) -> None:
        """An attempt has ended. ``latency``: infinite where no event was the reason, or it is tried again."""
        self.attempts.add(seconds)
        if latency != math.inf:
            self.latencies.add(latency)
