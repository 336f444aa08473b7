"""The history of changes: numbers and cursors over lives, what a cut-off start leaves, and where a change is from."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from filewatchd.jobs.changes import ChangeHistory, CursorError, LostCursorError, Source, source_of
from filewatchd.jobs.journal import Journal, NewJob
from filewatchd.jobs.retention import Retention
from filewatchd.model import OK, Change, FileIdentity, Hint, Kind, Outcome, Retry, Trigger, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.waiting import eventually
from filewatchd.work.pool import Pool
from tests.unit.jobs.stage import Stage, play


def job(*names: str, rule: str = "rule", sources: bytes = b"") -> NewJob:
    changes = [Change(Kind.CREATED, f"/in/{name}", "/in", FileIdentity(1, 2, 3, 4)) for name in names]
    return NewJob(rule, Trigger.CHANGE, 1, changes, 7, 8, sources=sources)


def names(history: ChangeHistory, number: int) -> list[str]:
    """What comes after the change of this number."""
    found = []
    for stub in history.after(number, 1000):
        row = history.row(stub.first)
        assert row is not None
        found += [change.path for change in row.changes[max(0, number + 1 - row.first) :]]
    return [path.removeprefix("/in/") for path in found]


# ---- numbers and cursors


def test_a_batch_is_a_row_and_its_changes_have_numbers_one_after_the_other(database: Database) -> None:
    journal = Journal(database)
    history, begin = journal.history, journal.history.newest
    number = journal.start(job("a", "b", sources=bytes([Source.POLL, Source.RETRY])))
    journal.start(job("c", rule="other"))
    first, second = history.after(begin, 10)
    assert (first, second) == ((begin + 1, 2, "rule"), (begin + 3, 1, "other"))
    row = history.row(first.first)
    assert row is not None
    assert (row.time_ns, row.rule, row.job) == (7, "rule", number)
    assert [Source(source) for source in row.sources] == [Source.POLL, Source.RETRY]
    assert [change.path for change in row.changes] == ["/in/a", "/in/b"]
    assert [names(history, begin + number) for number in range(4)] == [["a", "b", "c"], ["b", "c"], ["c"], []]
    assert history.before(history.newest, 1) == [second]
    assert history.statistics() == {"changes": 3}


def test_a_job_over_no_path_is_no_change(database: Database) -> None:
    journal = Journal(database)
    before = journal.history.newest
    journal.start(job())
    assert journal.history.newest == before
    assert journal.history.after(before, 10) == []


def test_who_follows_is_told_when_the_row_is_there(database: Database) -> None:
    journal = Journal(database)
    begin, seen = journal.history.newest, []
    journal.history.told = lambda: seen.append(names(journal.history, begin))
    journal.start(job("a"))
    journal.start(job())
    assert seen == [["a"]]


def test_a_cursor_goes_on_over_restarts(database: Database) -> None:
    journal = Journal(database)
    journal.start(job("a", "b"))
    cursor = journal.history.cursor(journal.history.newest - 1)
    again = Journal(database)
    again.start(job("c"))
    third = Journal(database)
    assert names(third.history, third.history.number(cursor)) == ["b", "c"]
    assert third.history.statistics() == {"changes": 3}


def test_numbers_that_a_power_cut_took_are_never_used_again(database: Database) -> None:
    """A reader that had the lost rows gets what came in their place."""
    journal = Journal(database)
    journal.start(job("a"))
    journal.start(job("lost", "lost too"))
    cursor = journal.history.cursor(journal.history.newest)
    database.execute("DELETE FROM changes WHERE count = 2")
    again = Journal(database)
    again.start(job("b", "c", "d"))
    assert names(again.history, again.history.number(cursor)) == ["b", "c", "d"]


def test_a_new_journal_has_other_cursors(tmp_path: Path, database: Database) -> None:
    journal = Journal(database)
    journal.start(job("a"))
    with Database(str(tmp_path / "other.db")) as other:
        history = Journal(other).history
        with pytest.raises(LostCursorError, match="began anew"):
            history.number(journal.history.cursor(journal.history.newest))


def test_a_cursor_from_the_future_is_of_a_copy(database: Database) -> None:
    history = Journal(database).history
    with pytest.raises(LostCursorError, match="older copy"):
        history.number(history.cursor(history.newest + 1))


@pytest.mark.parametrize("text", ["", "1", "-1", "x", "0123456789abcdef-", "0123456789ABCDEF-1", "0123456789abcdef-1 "])
def test_what_is_no_cursor_is_said_to_be_none(database: Database, text: str) -> None:
    with pytest.raises(CursorError, match="is no cursor"):
        Journal(database).history.number(text)


# ---- a start that was cut off


def test_a_start_that_fails_leaves_neither_job_nor_change(database: Database) -> None:
    journal = Journal(database)
    journal.start(job("a"))
    begin = journal.history.newest
    database.execute("CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'cut off'); END")
    with pytest.raises(sqlite3.IntegrityError, match="cut off"):
        journal.start(job("b"))
    assert database.execute("SELECT count(*) FROM jobs") == [(1,)]
    database.execute("DROP TRIGGER full")
    assert journal.start(job("c")) == 2
    assert names(journal.history, begin) == ["c"]
    assert history_numbers(database) == [begin, begin + 1]


def history_numbers(database: Database) -> list[int]:
    return [first for (first,) in database.execute("SELECT first FROM changes ORDER BY first")]


# ---- retention


def keep(database: Database, changes: int) -> int:
    """A round that keeps so many; returns how many it forgot."""
    retention = Retention(database.path, Pool(linger=0.01), FakeClock(), keep=1000, age=1e9, changes=changes)
    asyncio.run(retention.round())
    return int(retention.statistics()["changes_forgotten"])


def test_the_oldest_batches_are_forgotten_and_no_more_than_that(database: Database) -> None:
    journal = Journal(database)
    history = journal.history
    for number in range(10):
        journal.start(job(f"{number}a", f"{number}b", f"{number}c"))
    assert keep(database, 30) == 0
    assert keep(database, 7) == 21  # seven changes are in three batches
    assert names(history, history.begin())[:2] == ["7a", "7b"]
    assert history.statistics() == {"changes": 9}
    cursor = history.cursor(history.begin())
    assert history.number(cursor) == history.number("0") == history.begin()
    with pytest.raises(LostCursorError, match="forgotten"):
        history.number(history.cursor(history.begin() - 1))
    assert history.forgotten(history.begin() - 21, history.begin()) == 21


def test_the_newest_batch_stays_so_that_numbers_only_grow(database: Database) -> None:
    journal = Journal(database)
    for _ in range(3):
        journal.start(job("a", "b"))
    newest = journal.history.newest
    assert keep(database, 1) == 4
    again = Journal(database)
    again.start(job("c"))
    assert names(again.history, newest) == ["c"]
    assert again.history.statistics() == {"changes": 3}


def test_what_is_kept_is_counted_over_lives(database: Database) -> None:
    for number in range(10):
        Journal(database).start(job(f"{number}"))
    assert keep(database, 4) == 6
    history = Journal(database).history
    assert names(history, history.begin()) == ["6", "7", "8", "9"]


def test_much_is_forgotten_in_many_slices(database: Database) -> None:
    journal = Journal(database)
    with database.transaction():
        for _ in range(2000):
            journal.start(job("a"))
    assert keep(database, 10) == 1990
    assert len(history_numbers(database)) == 10


# ---- where a change is from


@pytest.mark.parametrize(
    ("hint", "again", "polled", "source"),
    [
        (Hint.LIVE | Hint.WRITE | Hint.CLOSED, False, False, Source.LIVE),
        (Hint.LIVE | Hint.WRITE | Hint.SCAN | Hint.RESCAN, False, False, Source.LIVE),
        (Hint.LIVE, True, False, Source.LIVE),
        (Hint.LIVE | Hint.WRITE, False, True, Source.POLL),
        (Hint.SCAN, False, True, Source.SCAN),
        (Hint.SCAN | Hint.STARTUP | Hint.RESCAN, False, False, Source.SCAN),
        (Hint.SCAN | Hint.RESCAN, False, False, Source.RESCAN),
        (Hint.AGAIN, False, False, Source.RESCAN),
        (Hint.FORCED, False, False, Source.MANUAL),
        (Hint.FORCED | Hint.SCHEDULED, False, False, Source.MANUAL),
        (Hint.FORCED, True, False, Source.RETRY),
        (Hint.SCAN | Hint.STARTUP, True, False, Source.RETRY),
    ],
)
def test_what_was_known_of_a_path_says_how_its_change_was_noticed(
    hint: int, again: bool, polled: bool, source: Source
) -> None:
    assert source_of(hint, again=again, polled=polled) is source


def told(stage: Stage) -> list[tuple[str, Source]]:
    history = stage.engine.store.journal.history
    rows = [history.row(stub.first) for stub in history.after(history.begin(), 100)]
    return [
        (change.relative, Source(source))
        for row in rows
        if row is not None
        for change, source in zip(row.changes, row.sources, strict=True)
    ]


def test_a_job_tells_of_its_changes_once_however_often_it_is_tried(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(2, 0.0, 0.0))
        path = stage.root / "a"
        path.write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.pipeline.failed(), "it has failed for good")
        assert len(stage.action.calls) == 2
        assert told(stage) == [("a", Source.LIVE)]
        outcomes.append(OK)
        stage.pipeline.request(Trigger.MANUAL, [str(path)])
        await eventually(lambda: not stage.pipeline.open, "it was tried again")
        stage.pipeline.request(Trigger.MANUAL, [str(path)])
        await eventually(lambda: len(stage.action.calls) == 4, "it was asked for")
        assert told(stage) == [("a", Source.LIVE), ("a", Source.RETRY), ("a", Source.MANUAL)]

    outcomes = [Outcome(Verdict.FAILED, "no")]
    play(database, tmp_path / "root", RecordingAction(answer=lambda _: outcomes[-1]), story)
