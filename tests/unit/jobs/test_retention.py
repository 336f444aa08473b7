from __future__ import annotations

import asyncio
import sqlite3

import pytest

from filewatchd.jobs.journal import Journal, NewJob, Result
from filewatchd.jobs.records import History
from filewatchd.jobs.retention import Calendar, Retention
from filewatchd.model import OK, Change, FileIdentity, Kind, Outcome, Trigger, Verdict
from filewatchd.state.background import Background, Slices
from filewatchd.state.database import Database
from filewatchd.testing.clock import START, FakeClock
from filewatchd.work.pool import Pool

FAILED = Outcome(Verdict.FAILED, "exit status 1")
CHANGE = Change(Kind.CREATED, "/in/a", "/in", FileIdentity(1, 2, 3, 4))
NS = 10**9
DAY = 86_400
YEAR = 365 * DAY
EVER = 100.0 * YEAR


class Past:
    """A journal to fill, and rounds of retention over it."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        self.journal = Journal(database)

    def job(self, outcome: Outcome = OK, output: bytes = b"") -> int:
        number = self.journal.start(NewJob("rule", Trigger.CHANGE, 1, [CHANGE], 1, 1))
        self.journal.finish(number, Result([(CHANGE, outcome)], output=output), self.clock.wall_ns())
        return number

    def left(self) -> list[int]:
        return [record.id for record in History(self.database).recent(limit=100)]

    def life(self, *, keep: int = 10_000, age: float = EVER, changes: int = 10_000) -> Retention:
        """Retention as a fresh start has it."""
        return Retention(self.database.path, Pool(linger=0.01), self.clock, keep=keep, age=age, changes=changes)

    def forget(self, *, keep: int = 10_000, age: float = EVER, changes: int = 10_000) -> list[int]:
        run(self.life(keep=keep, age=age, changes=changes))
        return self.left()


def run(retention: Retention) -> bool:
    return asyncio.run(retention.round())


@pytest.fixture
def past(database: Database, clock: FakeClock) -> Past:
    return Past(database, clock)


def test_a_job_goes_with_its_attempts(past: Past) -> None:
    numbers = []
    for _ in range(3):
        numbers.append(past.journal.start(NewJob("rule", Trigger.CHANGE, 1, [CHANGE], 1, 1)))
        past.journal.backoff(numbers[-1], Result([(CHANGE, FAILED)]), 2, 3)
        past.journal.attempt(numbers[-1], [CHANGE], 2, 4)
        past.journal.finish(numbers[-1], Result([(CHANGE, OK)]), past.clock.wall_ns())
    assert past.forget(keep=1) == numbers[-1:]
    assert past.database.execute("SELECT job FROM attempts") == [(numbers[-1],)]


def test_beyond_the_number_the_oldest_go(past: Past) -> None:
    for _ in range(70):
        past.job()
    assert past.forget(keep=3) == [70, 69, 68]
    assert past.journal.start(NewJob("rule", Trigger.CHANGE, 1, [CHANGE], 1, 1)) == 71


def test_beyond_the_age_all_go_but_the_newest_whose_number_is_needed(past: Past) -> None:
    for _ in range(5):
        past.job()
        past.clock.advance(10)
    assert past.forget(age=25) == [5, 4]
    past.clock.advance(100)
    assert past.forget(age=25) == [5]
    assert Journal(past.database).start(NewJob("rule", Trigger.CHANGE, 1, [CHANGE], 1, 1)) == 6


def test_jobs_with_open_paths_or_steps_stay(past: Past) -> None:
    past.job(FAILED)
    past.journal.record_step(past.job(), "intent")
    past.journal.start(NewJob("rule", Trigger.CHANGE, 1, [CHANGE], 1, 1))
    for _ in range(5):
        past.job()
    assert past.forget(keep=1) == [8, 3, 2, 1]


def test_a_file_gives_back_the_room_of_what_went(past: Past) -> None:
    for _ in range(100):
        past.job(output=b"x" * 60_000)
    past.database.checkpoint()
    before = past.database.statistics()["pages"]
    retention = past.life(keep=1)
    assert run(retention) is True
    assert retention.statistics()["pruned"] == 99
    assert past.database.statistics()["pages"] < before / 4
    assert past.database.execute("PRAGMA integrity_check(1)") == [("ok",)]
    past.database.checkpoint()
    assert past.left() == [100]
    assert run(retention) is False


def test_little_room_is_kept_to_be_used_again(past: Past) -> None:
    for _ in range(100):
        past.job(output=b"x" * 60_000)
    retention = past.life(keep=90)
    assert run(retention) is False
    assert past.database.statistics()["free_pages"] > 100


def test_a_journal_that_is_held_ends_the_round_and_nothing_is_lost(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filewatchd.state.background._BUSY", 0.01)
    for _ in range(3):
        past.job()
    stranger = sqlite3.connect(past.database.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    assert past.forget(keep=1) == [3, 2, 1]
    stranger.close()
    assert past.forget(keep=1) == [3]


def test_a_slice_grows_while_it_is_quick_and_shrinks_at_once() -> None:
    slices = Slices(10, 100)
    for _ in range(5):
        slices.took(0.0001)
    assert slices.size == 100
    slices.took(0.02)
    assert slices.size == 25
    slices.took(10)
    assert slices.size == 10


def test_shrinking_takes_as_many_pages_as_told(past: Past) -> None:
    for _ in range(20):
        past.job(output=b"x" * 60_000)
    past.database.execute("DELETE FROM jobs")
    with Background(past.database.path) as background:
        before = background.room()
        background.shrink(50)
        assert background.room().free == before.free - 50
        assert background.room().pages <= before.pages - 50


# ---- the clock is set


def test_a_clock_that_jumps_a_year_ahead_and_back_forgets_nothing(past: Past) -> None:
    past.job()
    past.job()
    retention = past.life(age=30.0 * DAY)
    run(retention)
    past.clock.set_wall(START + YEAR)
    for _ in range(20):
        past.clock.advance(3600)
        run(retention)
    assert past.left() == [2, 1]
    run(past.life(age=30.0 * DAY))  # nor does a restart meanwhile
    assert past.left() == [2, 1]
    past.clock.set_wall(START + 21 * 3600)
    for _ in range(48):
        past.clock.advance(3600)
        run(retention)
    assert past.left() == [2, 1]


def test_a_clock_that_stays_where_it_jumped_to_is_believed_after_a_day(past: Past) -> None:
    past.job()
    past.job()
    retention = past.life(age=30.0 * DAY)
    run(retention)
    past.clock.set_wall(START + YEAR)
    past.clock.advance(60)
    run(retention)
    assert past.left() == [2, 1]
    past.clock.advance(DAY)
    run(retention)
    assert past.left() == [2]


def test_a_clock_set_back_forgets_less(past: Past) -> None:
    past.job()
    past.job()
    past.clock.advance(31 * DAY)
    past.clock.set_wall(START + 10 * DAY)
    assert past.forget(age=30.0 * DAY) == [2, 1]


def test_each_start_is_given_a_day(clock: FakeClock) -> None:
    first = Calendar(clock, None)
    kept = first.now_ns()
    assert kept == START * NS
    clock.advance(10 * DAY)  # it is stopped meanwhile
    clock2 = FakeClock(5.0, START + 10 * DAY)
    second = Calendar(clock2, kept)
    assert second.now_ns() == (START + DAY) * NS
    clock2.advance(100)
    assert second.now_ns() == (START + DAY + 100) * NS
    clock2.advance(DAY)
    assert second.now_ns() == clock2.wall_ns()
