"""Calls that come back, and those that don't."""

from __future__ import annotations

import threading

import pytest

from filewatchd.errors import StalledError
from filewatchd.patience import attend


def test_an_answer_comes_back() -> None:
    assert attend(lambda: sum([1, 2]), 30) == 3


def test_waiting_ends_when_nothing_moves() -> None:
    door = threading.Event()
    with pytest.raises(StalledError):
        attend(door.wait, 0.05)
    door.set()


def test_waiting_goes_on_while_something_moves() -> None:
    door = threading.Event()
    pulses: list[int] = []

    def pulse() -> int:
        pulses.append(0)
        if len(pulses) == 6:
            door.set()
        return len(pulses)

    assert attend(door.wait, 0.05, pulse) is True
    assert len(pulses) >= 6


def test_work_that_fails_says_so() -> None:
    with pytest.raises(TimeoutError, match="the work's own"):
        attend(lambda: (_ for _ in ()).throw(TimeoutError("the work's own")), 30)
