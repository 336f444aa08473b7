"""Make a failing plan small: leave out chunks of its operations while it still fails.

Failures hang on timing, so each candidate gets several tries, and one failure is enough.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.oracle.operations import Operation, Plan
from tests.oracle.trial import Trial

_TRIES = 3


def attempt(plan: Plan, tries: int = _TRIES) -> list[str]:
    """What goes wrong with this plan in any of so many tries."""
    for _ in range(tries):
        with tempfile.TemporaryDirectory(prefix="oracle-") as directory:
            wrong = Trial(plan, Path(directory)).run()
        if wrong:
            return wrong
    return []


def shrink(plan: Plan, most: int = 60) -> Plan:
    """The plan with as few operations as ``most`` candidates find."""
    size = max(1, len(plan.operations) // 2)
    while size and most:
        at = 0
        while at < len(plan.operations) and most:
            most -= 1
            fewer: list[Operation] = plan.operations[:at] + plan.operations[at + size :]
            candidate = plan._replace(operations=fewer)
            if attempt(candidate):
                plan = candidate
            else:
                at += size
        size //= 2
    return plan


def report(plan: Plan, wrong: list[str]) -> str:
    """A failing plan as a person reads it."""
    lines = [f"seed {plan.seed}: {plan.settings}", *wrong[:10], f"{len(plan.operations)} operations:"]
    return "\n  ".join([*lines, *(f"{name} {' '.join(map(str, arguments))}" for name, arguments in plan.operations)])
