"""Many rounds with one daemon that is left in peace: all work on the tree at once, then one flush, and all is known.

A trial meets each state of the tree once and spends its time on starting daemons; here a round costs a tenth of a
second. So rare races between directories that move and the watches that follow them have a chance to show.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.running import eventually
from tests.oracle.operations import MOVES, WORKERS, Operation, Plan, Settings, work
from tests.oracle.trial import Trial


class Rounds(Trial):
    """So many rounds on one tree. Each is drawn from the seed and its number."""

    def __init__(self, seed: int, backend: str, rounds: int, directory: Path) -> None:
        keys = {
            "backend": backend,
            "include": ["f*"],
            "exclude": ["skip/"],
            "changes": ["created", "modified", "deleted", "moved"],
            "settle": "0s",
            "initial": "process",
            "retry": {"attempts": 20, "backoff": "20ms", "max_backoff": "100ms"},
        }
        super().__init__(Plan(seed, Settings(keys, 0.0, 0.0), {}), directory)
        self._seed, self._rounds = seed, rounds
        self._wrong: list[str] = []

    def _work(self) -> None:
        self.subject.start()
        eventually(self.subject.listens, "the daemon is ready")
        self._workers = [self._worker() for _ in range(WORKERS)]
        for number in range(self._rounds):
            self._wrong = self._round(number)
            if self._wrong:
                return

    def _round(self, number: int) -> list[str]:
        dice = random.Random(f"{self._seed} {number}")
        serials = iter(range(1000, 10000))
        for worker in self._workers:
            self._feed(worker, [*work(dice, MOVES, serials), Operation("tell")])
        for worker in self._workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        return [f"round {number}: {line}" for line in self._flushed()]

    def _judge(self) -> Iterator[str]:
        yield from self._wrong or super()._judge()
