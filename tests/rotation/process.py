"""A process that rotates one log again and again with the real action, on a real journal, and dies where it is told to.

    python -m tests.rotation.process CASE.json

The daemon around the action is left out, so that a life takes a fifth of a second: its jobs come one after the other.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import msgspec

from filewatchd import codecs
from filewatchd.actions import rotate
from filewatchd.actions.base import Command
from filewatchd.actions.rotate import finishing, naming, packing, waiting
from filewatchd.actions.rotate.action import RotateAction
from filewatchd.actions.rotate.ledger import Ledger
from filewatchd.actions.rotate.machine import Step
from filewatchd.clock import SystemClock
from filewatchd.model import Outcome, RuleSettings
from filewatchd.state.database import Database
from filewatchd.state.tables import ActionTables
from filewatchd.testing import (
    FakeClock,
    FakeContext,
    FakeJob,
    FakeSpawn,
    FakeTables,
    FakeTimers,
    Scripted,
    changed,
)

FIXED = "20260101-000000-00000000"


class Case(msgspec.Struct):
    """One life. ``death``: a step's name, and ``before`` or ``after``. ``short``: as if space were short.

    ``fixed``: all rotations have one name, so that a test can know their files'.
    """

    root: str
    live: str
    state: str
    options: dict[str, Any]
    death: tuple[str, str] | None = None
    short: bool = False
    fixed: bool = False
    once: bool = False  # finish what is left, and end
    stop: str = ""  # a file: when it is there, it ends
    others: list[str] = []  # logs that are rotated in the same jobs


def arm(death: tuple[str, str]) -> None:
    """Die with the step, before it is written down or right after."""
    name, when = death
    record = Ledger.record

    def dying(self: Ledger, steps: Sequence[Step], statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        if Step[name] in steps and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        record(self, steps, statements)
        if Step[name] in steps:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.record = dying  # type: ignore[method-assign]


def run_short() -> None:
    """Space is short, and members are small."""
    packing.short_of_space = lambda target, wanted: True
    packing.codecs.compress = partial(codecs.compress, member=16384)  # type: ignore[attr-defined]


def note(path: str, command: Command) -> Scripted:
    """A command that writes down of which archive it was told."""
    with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{command.argv[-1]}\n")
    return Scripted()


@asynccontextmanager
async def opened(case: Case) -> AsyncIterator[tuple[RotateAction, FakeContext]]:
    """The action on the journal, with all that the daemon would give it."""
    database = Database(os.path.join(case.state, "journal.db"))
    context = FakeContext(
        RuleSettings(name="rule", roots=(case.root,), actions=()),
        tables=cast(FakeTables, ActionTables(database, "rule", "0.rotate")),
        timers=FakeTimers(FakeClock()),
        spawn=FakeSpawn(answer=partial(note, os.path.join(case.state, "afters"))),
    )
    context.clock = cast(FakeClock, SystemClock())
    action = rotate.open(msgspec.convert(case.options, rotate.Options), context)
    try:
        yield action, context
    finally:
        await action.stop(0.0)
        for task in context.follow_ups.values():  # as the daemon does
            task.cancel()
        await asyncio.gather(*context.follow_ups.values(), return_exceptions=True)
        database.close()


async def rotated(action: RotateAction, case: Case) -> list[str]:
    """A job; what of it went wrong, or can't be begun."""
    outcomes = await action.run(FakeJob([changed(log, case.root) for log in (case.live, *case.others)]))
    return [each.message for each in outcomes.values() if each.verdict not in ("ok", "skipped") or is_away(each)]


def is_away(outcome: Outcome) -> bool:
    """Whether a log isn't there, and isn't gone."""
    return outcome.message.startswith("nothing is mounted")


async def live(case: Case) -> None:
    """Recover, then rotate until it is stopped."""
    async with opened(case) as (action, context):
        told: dict[str, Any] = {}
        await action.recover()
        while not case.once and not os.path.exists(case.stop):
            for failure in await rotated(action, case):
                print(failure, flush=True)
            tell(context, told)
            await asyncio.sleep(0.01)
        if case.once:
            left = [task for name, task in context.follow_ups.items() if name.startswith(("archive", "after"))]
            await asyncio.gather(*left)
    tell(context, told)


def tell(context: FakeContext, told: dict[str, Any]) -> None:
    """Print findings and announcements that are new, and findings that are gone."""
    for key in [key for key in told if key not in context.findings and key not in dict(context.announced)]:
        print("cleared", key, flush=True)
        del told[key]
    for key, finding in {**context.findings, **dict(context.announced)}.items():
        if told.get(key) != finding:
            print("finding", key, finding, flush=True)
            told[key] = finding


def prepare(case: Case) -> None:
    """Be what the case says."""
    waiting.STILL = 0.5
    finishing._FIRST = 0.2
    if case.fixed:
        naming.transaction = lambda now_ns, zone: FIXED
    if case.short:
        run_short()
    if case.death is not None:
        arm(case.death)


def main(path: str) -> None:
    """Live one life."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with open(path, "rb") as file:
        case = msgspec.json.decode(file.read(), type=Case)
    prepare(case)
    asyncio.run(live(case))


if __name__ == "__main__":
    main(sys.argv[1])
