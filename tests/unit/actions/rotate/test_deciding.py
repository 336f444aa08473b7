"""Which method, and why."""

from __future__ import annotations

from typing import Any

import pytest

from filewatchd.actions.rotate.deciding import Facts, decide

APPENDING = Facts(True, writers=2, appending=2)


def chosen(facts: Facts, method: str = "auto", unproven: str = "punch", *, reopens: bool = False) -> str:
    return decide(method, unproven, reopens, facts).method


def test_who_can_be_told_gets_a_fresh_file() -> None:
    assert chosen(APPENDING, reopens=True) == "exchange"


def test_nobody_writes() -> None:
    assert chosen(Facts(False)) == "exchange"
    assert chosen(Facts(False), "collapse") == "exchange"


def test_proven() -> None:
    assert chosen(APPENDING) == "collapse"


@pytest.mark.parametrize(
    ("doubt", "said"),
    [
        ({"appending": 1, "names": ("app",)}, "1 writer without O_APPEND (app)"),
        ({"writers": 3, "appending": 2, "mapped": 1}, "1 process has it mapped"),
        ({"hidden": 1}, "can't be looked into"),
        ({"initial": False}, "pid namespace"),
        ({"held": False}, "hold up new openers"),
        ({"collapses": False}, "can't cut off"),
        ({"writers": 0, "appending": 0}, "no writer can be seen"),
        ({"leased": None, "writers": 0, "appending": 0}, "no writer can be seen"),
    ],
)
def test_any_doubt_punches_or_refuses(doubt: dict[str, Any], said: str) -> None:
    facts = APPENDING._replace(**doubt)
    decision = decide("auto", "punch", False, facts)
    assert decision.method == "punch"
    assert said in decision.text
    assert chosen(facts, unproven="refuse") == "refuse"
    assert chosen(facts._replace(punches=False)) == "refuse"


def test_what_can_be_seen_is_never_vouched_for() -> None:
    assert chosen(APPENDING._replace(appending=1), "collapse") == "refuse"
    assert chosen(APPENDING._replace(hidden=5, initial=False, held=False), "collapse") == "collapse"


def test_a_hole_is_healed_once_nobody_writes() -> None:
    assert chosen(Facts(False, skip=4096), "punch") == "exchange"
    assert chosen(APPENDING._replace(skip=4096), "punch") == "punch"


def test_others_files_are_left_alone_whatever_the_rule_says() -> None:
    decision = decide("copytruncate", "punch", True, Facts(None, keeper="it belongs to dockerd: set max-size"))
    assert decision.method == "refuse"
    assert "max-size" in decision.text
