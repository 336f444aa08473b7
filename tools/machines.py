"""The state machines as Mermaid diagrams: ``python -m tools.machines`` writes them into their page.

A test compares, so the page can't fall behind the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from filewatchd.actions import probing
from filewatchd.actions.reload.states import MOVES as RELOAD
from filewatchd.actions.reload.states import State as ReloadState
from filewatchd.actions.rotate.machine import MOVES, State
from filewatchd.jobs.queue import BUSY, DRAINS, JOBS, Drain, JobState
from filewatchd.model import RootState
from filewatchd.rules.breaker import SUSPICIONS, Suspicion
from filewatchd.rules.holding import HOLDS, PAUSES, Hold, Pausing
from filewatchd.watch.roots import TRANSITIONS

PAGE = Path(__file__).parents[1] / "docs/explanation/state-machines.md"


class Machine(NamedTuple):
    """A table, and the state it begins in. Without one it only looks up a policy's move."""

    table: Mapping[tuple[Any, Any], Any]
    first: Enum | None


MACHINES = {
    "root": Machine(TRANSITIONS, RootState.WAITING),
    "job": Machine(JOBS, JobState.RUNNING),
    "hold": Machine(HOLDS, Hold.FREE),
    "pause": Machine(PAUSES, Pausing.NONE),
    "suspicion": Machine(SUSPICIONS, Suspicion.NONE),
    "drain": Machine(DRAINS, Drain.INTAKE),
    "reload": Machine(RELOAD, ReloadState.UNSURE),
    "busy": Machine(BUSY, None),
    "archive": Machine(MOVES, State.NONE),
    "probe": Machine(probing.STAGES, probing.Stage.WAITING),
}


def diagram(machine: Machine) -> str:
    """A machine as a diagram; a policy as a table."""
    if machine.first is None:
        rows = (f"| `{policy.value}` | {slot.value} | {move.value} |" for (policy, slot), move in machine.table.items())
        return "\n".join(["| `on_busy` | the rule is | due paths |", "|---|---|---|", *sorted(rows)])
    moves: dict[tuple[Enum, Enum], list[str]] = {}
    for (state, happening), to in machine.table.items():
        moves.setdefault((state, to), []).append(happening.value)
    arrows = [f"    {_id(state)} --> {_id(to)}: {'<br>'.join(why)}" for (state, to), why in moves.items()]
    states = dict.fromkeys(state for move in moves for state in move)
    names = [f'    state "{state.value}" as {_id(state)}' for state in states if _id(state) != state.value]
    return "\n".join(["```mermaid", "stateDiagram-v2", *names, f"    [*] --> {_id(machine.first)}", *arrows, "```"])


def _id(state: Enum) -> str:
    return str(state.value).replace(" ", "_")


def filled(page: str) -> str:
    """The page with every diagram in its place."""
    for name, machine in MACHINES.items():
        begin, end = f"<!-- machine: {name} -->", "<!-- end -->"
        place = re.compile(f"(?<={re.escape(begin)}\n).*?(?=\n{re.escape(end)})", re.DOTALL)
        page, found = place.subn(lambda _, machine=machine: diagram(machine), page)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{PAGE} has {found} places for the machine {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
