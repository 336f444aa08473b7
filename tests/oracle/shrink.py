"""Make a failing plan small: leave out chunks of its operations, of all lists, while it still fails.

Failures hang on timing, so each candidate gets several tries, and one failure is enough.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.oracle.operations import Plan
from tests.oracle.trial import Trial

_AT_ONCE = 2


Scene = Callable[[Path], Trial]


def attempt(scene: Scene, keep: bool = False) -> list[str]:
    """What goes wrong in a trial. ``keep``: then its directory stays, and is named first."""
    directory = Path(tempfile.mkdtemp(prefix="oracle-"))
    wrong = []
    try:
        wrong = scene(directory).run()
        return [f"see {directory}", *wrong] if wrong and keep else wrong
    finally:
        if not (wrong and keep):
            shutil.rmtree(directory)


def attempts(scene: Scene, tries: int, keep: bool = False) -> list[list[str]]:
    """What goes wrong in each of so many tries that fail, two at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [wrong for wrong in pool.map(lambda _: attempt(scene, keep), range(tries)) if wrong]


def shrink(plan: Plan, tries: int = 4, most: int = 60) -> Plan:
    """The plan with as few operations as ``most`` candidates find."""
    flat = plan.flat()
    size = max(1, len(flat) // 2)
    while size and most:
        at = 0
        while at < len(flat) and most:
            most -= 1
            fewer = flat[:at] + flat[at + size :]
            if attempts(partial(Trial, plan.only(fewer)), tries):
                flat = fewer
            else:
                at += size
        size //= 2
    return plan.only(flat)


def report(plan: Plan, wrong: list[str]) -> str:
    """A failing plan as a person reads it."""
    lines = [f"seed {plan.seed}: {plan.settings}", *wrong[:10], f"{len(plan.flat())} operations:"]
    lines += [f"{where}: {name} {' '.join(map(str, arguments))}" for where, (name, arguments) in plan.flat()]
    return "\n  ".join(lines)
