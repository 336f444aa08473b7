"""The brakes: a path that triggers its own rule, masses of changes, and what lets a held rule go."""

from __future__ import annotations

import pytest

from filewatchd.model import Limit
from filewatchd.rules.breaker import LoopBreaker, MassLimit, Suspicion
from filewatchd.rules.holding import HOLDS, Brake, Hold, lasting

ROUNDS = 20


def own_round(breaker: LoopBreaker, number: int, every: float = 1.0) -> Suspicion:
    """A job over the path, in the midst of which the path changes."""
    start = number * every
    breaker.ran(["a"], start, start + 0.2)
    return breaker.changed("a", start + 0.1, start + 0.1, start + 0.3)


def suspected(breaker: LoopBreaker) -> float:
    """Bring the path on probation; when that began."""
    found = [own_round(breaker, number) for number in range(ROUNDS)]
    assert found == [Suspicion.ROUNDS] * (ROUNDS - 1) + [Suspicion.PROBATION]
    return ROUNDS - 1 + 0.3


def test_a_path_that_was_quiet_on_probation_loops() -> None:
    breaker = LoopBreaker()
    since = suspected(breaker)
    assert breaker.changed("a", since - 0.2, since - 0.2, since + 0.9) is Suspicion.PROBATION
    assert breaker.changed("a", since - 0.2, since - 0.2, since + 1.0) is Suspicion.LOOPS
    assert own_round(breaker, 30) is Suspicion.ROUNDS


def test_a_path_that_was_written_on_probation_has_a_busy_writer() -> None:
    breaker = LoopBreaker()
    since = suspected(breaker)
    assert breaker.changed("a", since - 0.2, since + 0.5, since + 1.1) is Suspicion.NONE
    assert own_round(breaker, 30) is Suspicion.ROUNDS


@pytest.mark.parametrize(("first", "last"), [(-0.1, 0.1), (0.1, 0.3)], ids=["before", "after"])
def test_an_event_outside_the_job_ends_the_rounds(first: float, last: float) -> None:
    breaker = LoopBreaker()
    for number in range(ROUNDS - 1):
        own_round(breaker, number)
    breaker.ran(["a"], 50.0, 50.2)
    assert breaker.changed("a", 50.0 + first, 50.0 + last, 51.0) is Suspicion.NONE
    assert own_round(breaker, 60) is Suspicion.ROUNDS


def test_rounds_far_apart_are_no_loop() -> None:
    breaker = LoopBreaker()
    assert {own_round(breaker, number, every=60.0) for number in range(3 * ROUNDS)} == {Suspicion.ROUNDS}


def test_very_many_paths_are_no_loop_and_are_not_remembered() -> None:
    breaker = LoopBreaker()
    for number in range(5000):
        breaker.ran([str(number)], 0.0, 1.0)
    assert len(breaker.known) < 5000


def test_the_limit_counts_within_its_period() -> None:
    limit = MassLimit(Limit(10, 60.0))
    assert not limit.exceeded(6, 0.0)
    assert not limit.exceeded(4, 30.0)
    assert not limit.exceeded(6, 60.0)
    assert limit.exceeded(1, 61.0)
    assert not limit.exceeded(10, 200.0)


def test_what_a_person_let_go_on_doesnt_count() -> None:
    limit = MassLimit(Limit(10, 60.0))
    assert limit.exceeded(30, 0.0)
    limit.reset(forgiven=30)
    assert not limit.exceeded(25, 1.0)
    assert not limit.exceeded(15, 2.0)
    assert limit.exceeded(1, 3.0)


def test_without_a_limit_nothing_is_too_much() -> None:
    assert not MassLimit(None).exceeded(1_000_000, 0.0)


def test_only_what_a_start_leaves_held_is_written_down() -> None:
    assert {hold for hold in Hold if lasting(hold)} == {Hold.LOOPS, Hold.MASSES}


@pytest.mark.parametrize("hold", [hold for hold in Hold if hold is not Hold.FREE])
@pytest.mark.parametrize("brake", [Brake.RESUMED, Brake.CHANGED])
def test_a_person_lets_go_of_every_hold(hold: Hold, brake: Brake) -> None:
    assert HOLDS[hold, brake] is Hold.FREE


def test_the_first_reason_stands_but_for_a_broken_action() -> None:
    assert (Hold.MASSES, Brake.LOOPED) not in HOLDS
    assert HOLDS[Hold.MASSES, Brake.BROKE] is Hold.BROKEN
