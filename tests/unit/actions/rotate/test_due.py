"""When a log is due, and when it is looked at next."""

from __future__ import annotations

from filewatchd.actions.rotate.due import Due, due
from filewatchd.actions.rotate.growth import LONGEST, Sample, next_look
from filewatchd.actions.rotate.options import When

S = 1_000_000_000


def test_size() -> None:
    assert due(When(size=100), 99, 0, False, S) == Due("", grown=100)
    assert due(When(size=100), 100, 0, False, S).why == "it has grown to 100B"


def test_age_is_waited_for() -> None:
    assert due(When(age=10.0), 5, 0, False, 9 * S) == Due("", at_ns=10 * S)
    assert due(When(age=10.0), 5, 0, False, 10 * S).why


def test_an_empty_log_is_never_due_but_its_first_line_is_waited_for() -> None:
    assert due(When(age=10.0), 0, 0, False, 20 * S) == Due("", grown=1)
    assert due(When(every="day"), 0, 0, True, 20 * S) == Due("", grown=1)


def test_what_holds_back() -> None:
    when = When(size=100, every="day", min_size=50, min_age=60.0)
    assert due(when, 49, 0, True, 61 * S) == Due("", grown=50)
    assert due(when, 100, 0, False, 59 * S) == Due("", at_ns=60 * S)
    assert due(when, 50, 0, True, 60 * S).why == "its time has come"
    assert due(when, 50, 0, False, 60 * S) == Due("", grown=100)


def test_whichever_comes_first() -> None:
    assert due(When(size=100, age=60.0), 10, 0, False, S) == Due("", grown=100, at_ns=60 * S)


def test_a_log_that_grows_is_overshot_by_at_most_a_second() -> None:
    """At 100 MB/s, from nothing: it is seen within a second of growth over its limit."""
    limit, rate = 10 << 20, 100_000_000
    before, now = None, Sample(1000, 0.0)
    while (delay := next_look(limit, before, now)) != 0:
        assert delay is not None
        before, now = now, Sample(int(1000 + (now.time + delay) * rate), now.time + delay)
    assert now.size - limit < rate


def test_even_if_it_begins_to_run_right_after_a_look() -> None:
    limit, rate = 10 << 20, 100_000_000
    delay = next_look(limit, Sample(100, 0.0), Sample(101, 1.0))
    assert delay == LONGEST
    assert 101 + delay * rate - limit < rate


def test_a_log_that_stands_still_waits_for_its_next_write() -> None:
    assert next_look(100, Sample(50, 0.0), Sample(50, 1.0)) is None
