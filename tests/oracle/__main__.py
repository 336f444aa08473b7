"""Many seeds, two at a time: ``python -m tests.oracle [FIRST [COUNT]]``; SOAK_SEEDS is the count where none is given.

A failing seed is printed at once and shrunk at the end; the exit status is 1 if there was one.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.oracle.operations import plan
from tests.oracle.shrink import attempt, report, shrink


def one(seed: int) -> list[str]:
    """Try one seed, and say so if it fails."""
    wrong = attempt(plan(seed), tries=1)
    if wrong:
        print(f"seed {seed} fails: {'; '.join(wrong[:3])}", flush=True)
    return wrong


def main() -> int:
    """Try the seeds; returns the exit status."""
    words = [int(word) for word in sys.argv[1:]]
    first = words[0] if words else int(time.time())
    count = words[1] if len(words) > 1 else int(os.environ.get("SOAK_SEEDS", "1000"))
    began = time.monotonic()
    seeds = range(first, first + count)
    with ThreadPoolExecutor(2) as pool:
        failed = [seed for seed, wrong in zip(seeds, pool.map(one, seeds), strict=True) if wrong]
    print(f"{count} seeds from {first}: {len(failed)} failed, {time.monotonic() - began:.0f} s")
    for seed in failed[:3]:
        wrong = attempt(plan(seed))
        small = shrink(plan(seed)) if wrong else plan(seed)
        print(report(small, wrong or ["it didn't fail again"]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
