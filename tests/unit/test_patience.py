"""Calls that come back, and those that don't."""

from __future__ import annotations

import threading

import pytest

from filewatchd.patience import Patience


def fail() -> None:
    raise LookupError("from the thread")


def test_answers_and_errors_come_back_from_one_thread() -> None:
    patience = Patience()
    first = patience.ask(threading.get_ident)
    assert patience.ask(threading.get_ident) == first
    assert patience.ask(sum, [1, 2]) == 3
    with pytest.raises(LookupError, match="from the thread"):
        patience.ask(fail)
    assert patience.ask(threading.get_ident) == first
    patience.close()
    assert patience.ask(sum, [2, 2]) == 4  # by a new thread
    patience.close()


def test_what_doesnt_come_back_is_left_behind() -> None:
    hung = threading.Event()
    patience = Patience(0.05)
    with pytest.raises(TimeoutError, match="no answer within"):
        patience.ask(hung.wait)
    assert patience.ask(sum, [1, 2]) == 3
    hung.set()
    patience.close()
