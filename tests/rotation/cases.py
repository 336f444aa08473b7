"""What is tried: kinds of rotation, the writers each is for, and the steps at which it dies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from filewatchd.actions.rotate.machine import Step
from tests.rotation.trial import Trial, options

#: How many seconds a life has that ends at a random moment.
SHORTEST, LONGEST = 0.2, 0.9


NOTE = {"command": ["note", "{archive}"]}  # `process.note`


class Kind(NamedTuple):
    """A kind of rotation. ``steps``: those at which CI has it die; the others' are the same code."""

    method: str
    writers: tuple[str, ...]
    steps: tuple[Step, ...]
    more: Mapping[str, Any] = MappingProxyType({})
    short: bool = False
    reopens: bool = False


KINDS = {
    "exchange": Kind(
        "auto", ("append", "loop"),
        (Step.BEGIN, Step.SWAP, Step.CLOSE, Step.MEMBER, Step.NAME, Step.FREE), reopens=True,
    ),
    "exchange of a loop": Kind(
        "exchange", ("loop",), (Step.SHIFT, Step.NAME),
        {"compress": {"codec": "none"}, "name": "numbered"},
    ),
    "exchange at once": Kind(
        "exchange", ("loop",), (Step.BEGIN, Step.SWAP),
        {"compress": {"codec": "none"}, "into": {"dir": "old"}},
    ),
    "numbered and kept": Kind(
        "exchange", ("append", "loop"), (Step.SHIFT, Step.EXPIRE, Step.DELETE),
        {"name": "numbered", "keep": {"count": 2}}, reopens=True,
    ),
    "collapse": Kind("collapse", ("append", "append", "loop"), (Step.MEMBER, Step.NAME, Step.STAMP, Step.FREE)),
    "punch": Kind("punch", ("append", "append", "loop"), (Step.UNDO, Step.FREE), {"into": {"dir": "old"}}),
    "punch of a plain writer": Kind("punch", ("plain",), (Step.MEMBER, Step.FREE)),
    "short of space": Kind("punch", ("append", "append"), (Step.MEMBER, Step.NAME, Step.FREE), short=True),
    "short of space, swapped": Kind("exchange", ("append",), (Step.MEMBER,), short=True, reopens=True),
    "copytruncate": Kind(
        "copytruncate", (),
        (Step.BEGIN, Step.COPY, Step.TRUNCATE, Step.UNDO, Step.MEMBER, Step.NAME, Step.FREE), {"into": {"dir": "old"}},
    ),
    "copy": Kind("copy", ("append", "append"), (Step.NAME,)),
    "a command after": Kind("copy", ("append",), (Step.NAME, Step.AFTER), {"after": NOTE}),
    "a command after an exchange": Kind("exchange", ("loop",), (Step.AFTER,), {"after": NOTE}),
}  # fmt: skip


def trial_of(kind: Kind, directory: Path, root: Path) -> Trial:
    """A trial of a kind, with its writers at work."""
    root.mkdir(parents=True, exist_ok=True)
    trial = Trial(directory, root, options(kind.method, **kind.more), short=kind.short)
    if kind.reopens:
        trial.options["reopen"] = {"signal": 1, "pidfile": trial.pidfile("append")}
    trial.write(*kind.writers)
    return trial


def die_everywhere(trial: Trial, steps: tuple[Step, ...]) -> None:
    """Die before and after each step."""
    for step, when in itertools.product(steps, ("before", "after")):
        if not trial.writing:  # what loses lines under writers must lose none without
            trial.fill(1000)
        if step is Step.UNDO:
            trial.die(Step.BEGIN.name, "after")
        trial.die(step.name, when)


def die_at_random(trial: Trial, seed: int, count: int) -> None:
    """Die so often, at moments that the seed says."""
    chance = random.Random(seed)
    for _ in range(count):
        trial.die_after(chance.uniform(SHORTEST, LONGEST))
