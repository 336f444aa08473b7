"""Many seeds on all backends, two at a time.

    python -m tests.oracle [--first SEED] [--count N] [--backend NAME]... [--keep]
    python -m tests.oracle --seed SEED --backend NAME [--tries N] [--keep]

    python -m tests.oracle --deaths [--backend NAME]...

With --deaths a short story is told on each backend, once for each step at which its daemon then dies, before it and
after it. With --rounds N each seed is not a trial with a daemon that is stalled and killed, but N rounds with one that
lives on.
Without --count, SOAK_SEEDS (1000) says how many. A failing seed is printed at once, with the command that tries it
again; the first few are shrunk at the end. --keep leaves the directories of failing trials, with all that was logged.
How the processes interleave isn't part of a seed, so it is tried several times, and it is told how often it failed.
The exit status is 1 if anything failed. Ctrl-C ends it after the trials under way.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.oracle.deaths import die_everywhere
from tests.oracle.operations import BACKENDS, plan
from tests.oracle.rounds import Rounds
from tests.oracle.shrink import Scene, attempt, attempts, report, shrink
from tests.oracle.trial import Trial

_AT_ONCE = 2
_PROGRESS = 50  # trials between two lines
_SHRUNK = 3

Case = tuple[int, str]  # seed, backend


class Soak:
    """Trials under way, counted."""

    def __init__(self, cases: Sequence[Case], rounds: int, keep: bool) -> None:
        self.failed: list[Case] = []
        self._cases = cases
        self._rounds = rounds
        self._keep = keep
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Try them all."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                list(pool.map(self._one, self._cases))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)  # those under way end by themselves
                self._progress()
                raise

    def _one(self, case: Case) -> None:
        seed, backend = case
        wrong = attempt(_scene(case, self._rounds), self._keep)
        with self._lock:
            self._done += 1
            if wrong:
                self.failed.append(case)
                print(
                    f"seed {seed} on {backend} fails: {'; '.join(wrong[:3])}\n  again: {_again(case, self._rounds)}",
                    flush=True,
                )
            if self._done % _PROGRESS == 0 or self._done == len(self._cases):
                self._progress()

    def _progress(self) -> None:
        spent = time.monotonic() - self._began
        print(f"{self._done} of {len(self._cases)} trials, {len(self.failed)} failed, {spent:.0f} s", flush=True)


def _again(case: Case, rounds: int) -> str:
    more = f" --rounds {rounds}" if rounds else ""
    return f"python -m tests.oracle --seed {case[0]} --backend {case[1]}{more}"


def _scene(case: Case, rounds: int) -> Scene:
    return partial(Rounds, *case, rounds) if rounds else partial(Trial, plan(*case))


def again(case: Case, rounds: int, tries: int, keep: bool) -> bool:
    """Try one seed many times; whether it ever failed. A trial is shrunk then."""
    wrong = attempts(_scene(case, rounds), tries, keep)
    print(f"seed {case[0]} on {case[1]} failed in {len(wrong)} of {tries} tries", flush=True)
    for each in wrong:
        print("  " + "\n  ".join(each[:6]))
    if wrong and not keep and not rounds:
        print(report(shrink(plan(*case), tries=min(8, 2 * tries // len(wrong))), wrong[0]), flush=True)
    return bool(wrong)


def die(side: str, backend: str) -> bool:
    """Let the daemon die at each step on one side of it; whether anything went wrong."""
    with tempfile.TemporaryDirectory(prefix="filewatchd-oracle-") as directory:
        wrong = die_everywhere(side, backend, Path(directory))
    print(f"deaths {side} each step on {backend}: {'; '.join(wrong[:6]) or 'nothing lost'}", flush=True)
    return bool(wrong)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--first", type=int, default=int(time.time()))
    parser.add_argument("--count", type=int, default=int(os.environ.get("SOAK_SEEDS", "1000")))
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--deaths", action="store_true")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Try the seeds; returns the exit status."""
    wanted = _arguments()
    backends = wanted.backend or BACKENDS
    if wanted.deaths:
        wrong = [die(side, name) for name in backends for side in ("before", "after")]
        return int(any(wrong))
    if wanted.seed is not None:
        failed = [again((wanted.seed, name), wanted.rounds, wanted.tries, wanted.keep) for name in backends]
        return int(any(failed))
    seeds = range(wanted.first, wanted.first + wanted.count)
    soak = Soak([(seed, backend) for seed in seeds for backend in backends], wanted.rounds, wanted.keep)
    try:
        soak.run()
    except KeyboardInterrupt:
        return 130
    for case in soak.failed[:_SHRUNK]:
        again(case, wanted.rounds, wanted.tries, wanted.keep)
    return int(bool(soak.failed))


if __name__ == "__main__":
    sys.exit(main())
