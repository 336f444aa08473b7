"""The tables of states: whole, without a name that nothing uses, and as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

import pytest

from tools.machines import MACHINES, PAGE, Machine, filled

TABLES = [pytest.param(machine, id=name) for name, machine in MACHINES.items()]
STATEFUL = [pytest.param(machine, id=name) for name, machine in MACHINES.items() if machine.first is not None]


def values(names: Iterable[Any]) -> set[Enum]:
    return {value for name in names for value in type(name)}


def test_the_page_shows_the_tables() -> None:
    assert PAGE.read_text() == filled(PAGE.read_text()), "run python -m tools.machines"


@pytest.mark.parametrize("machine", TABLES)
def test_every_name_is_used(machine: Machine) -> None:
    states, happenings = zip(*machine.table, strict=True)
    assert values(happenings) == set(happenings)
    assert values(machine.table.values()) <= set(machine.table.values()) | {machine.first}
    assert values(states) == set(states) | set(machine.table.values()) & values(states)


@pytest.mark.parametrize("machine", STATEFUL)
def test_every_state_is_reached(machine: Machine) -> None:
    reached, count = {machine.first}, 0
    while len(reached) > count:
        count = len(reached)
        reached |= {to for (state, _), to in machine.table.items() if state in reached}
    assert reached == values([machine.first])
