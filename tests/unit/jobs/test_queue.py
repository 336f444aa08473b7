"""Slots, busy policies, back-off, and how a job ends."""

from __future__ import annotations

import random
from itertools import product

import pytest

from filewatchd.jobs.queue import BUSY, JOBS, JobState, Move, Slot, Slots, Turn, backoff, last_turn, share, slot, width
from filewatchd.model import OK, Busy, Outcome, Retry, Verdict

FAILED, CUT, REJECTED = Outcome(Verdict.FAILED), Outcome(Verdict.CANCELLED), Outcome(Verdict.REJECTED)


@pytest.mark.parametrize(("busy", "concurrency"), list(product(Busy, (1, 3))))
def test_every_policy_knows_what_to_do_in_each_slot_it_can_come_to(busy: Busy, concurrency: int) -> None:
    most = width(busy, concurrency)
    for running in range(most + 1):
        assert BUSY[busy, slot(running, most)] in Move


@pytest.mark.parametrize("busy", Busy)
def test_an_idle_rule_starts_and_a_full_one_never_does(busy: Busy) -> None:
    assert BUSY[busy, Slot.IDLE] is Move.START
    assert BUSY[busy, Slot.FULL] is not Move.START


@pytest.mark.parametrize(
    ("outcomes", "turn"),
    [
        ([], Turn.HANDLED),
        ([OK, REJECTED], Turn.HANDLED),
        ([OK, FAILED], Turn.EXHAUSTED),
        ([OK, CUT], Turn.CUT_OFF),
        ([OK, None], Turn.CUT_OFF),
        ([None, FAILED], Turn.EXHAUSTED),
    ],
)
def test_the_worst_outcome_decides_how_a_job_ends(outcomes: list[Outcome | None], turn: Turn) -> None:
    assert last_turn(outcomes) is turn
    assert (JobState.RUNNING, turn) in JOBS


def test_what_is_cut_off_when_the_daemon_ends_is_never_left_standing() -> None:
    waiting = {state for state, _ in JOBS}
    assert {state for state in JobState if (state, Turn.CUT_OFF) in JOBS} == waiting


def test_slots_go_to_who_waits_longest() -> None:
    slots: Slots[str] = Slots(1)
    assert slots.take("a")
    assert not slots.take("b")
    assert not slots.take("c")
    assert not slots.take("b")
    slots.leave("b")
    assert slots.give() == "c"
    assert slots.take("c")
    assert slots.give() is None


def test_pauses_double_up_to_the_longest() -> None:
    retry, rng = Retry(attempts=9, backoff=1.0, max_backoff=10.0), random.Random(1)
    for attempt, longest in enumerate([1.0, 2.0, 4.0, 8.0, 10.0, 10.0], start=1):
        pauses = [backoff(retry, attempt, rng) for _ in range(200)]
        assert longest * 0.75 <= min(pauses) < max(pauses) <= longest


def test_parallel_jobs_share_the_due_paths() -> None:
    assert [share(10, free, 1000) for free in (1, 2, 3)] == [10, 5, 4]
    assert share(5000, 2, 1000) == 1000
    assert share(0, 2, 1000) == 1
