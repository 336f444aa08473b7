"""Who makes room for whom: every number from the rule that a root gives way to one with less than half."""

from __future__ import annotations

import random

import pytest

from filewatchd.watch.shares import MOST_AT_ONCE, BackOff, gives, reserve, ways


def test_a_root_gives_only_to_one_that_has_less_than_half() -> None:
    assert [gives(rich, 2) for rich in (5, 6, 7)] == [False, False, True]
    assert not gives(2, 0), "of two it would have one left, as the other has then"


def test_the_largest_gives_and_only_as_much_as_is_wanted() -> None:
    assert ways({"a": 100, "b": 50}, 0, 5) == {"a": 5}
    assert ways({"a": 100, "b": 90, "c": 30}, 10, 1000) == {"a": 20, "b": 10}
    assert ways({"a": 5, "b": 4}, 3, 10) == {}
    assert ways({}, 0, 10) == {}


def test_in_one_go_so_many_change_hands_at_most() -> None:
    assert sum(ways({"a": 1_000_000}, 0, 100_000).values()) == MOST_AT_ONCE


@pytest.mark.parametrize("seed", range(20))
def test_what_was_given_is_never_asked_back(seed: int) -> None:
    chance = random.Random(seed)
    held = {name: chance.randrange(200) for name in "abcdef"}
    poor = min(held, key=lambda name: held[name])
    given = ways({name: many for name, many in held.items() if name != poor}, held[poor], chance.randrange(300))
    for name, many in given.items():
        held[name] -= many
        held[poor] += many
    assert not any(gives(held[poor], held[name]) for name in given)
    assert all(held[name] >= held[poor] for name in given)


def test_the_reserve_is_a_small_part_of_the_largest() -> None:
    assert [reserve({"a": many, "b": 1}) for many in (10, 320, 1_000_000)] == [4, 10, 64]
    assert reserve({}) == 4


def test_the_wait_grows_to_a_minute_while_nothing_changes_and_starts_anew() -> None:
    back_off = BackOff()
    assert [back_off.after(False) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [back_off.after(True), back_off.after(False)] == [1, 2]
