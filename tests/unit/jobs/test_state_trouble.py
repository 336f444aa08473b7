"""A rule while the journal can't be written: nothing starts, nothing is used up, nothing is forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from filewatchd.actions.base import JobContext
from filewatchd.errors import StateError
from filewatchd.jobs import engine, gate
from filewatchd.model import OK, Kind, Outcome, Retry, Verdict
from filewatchd.state.database import Database
from filewatchd.testing.action import RecordingAction
from filewatchd.testing.waiting import eventually
from tests.unit.jobs.stage import Stage, play

FAILED = Outcome(Verdict.FAILED, "not yet")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing is tried all the time."""
    monkeypatch.setattr(gate, "_FIRST", 0.002)
    monkeypatch.setattr(gate, "_LONGEST", 0.002)


@contextmanager
def held(database: Database) -> Iterator[None]:
    """A stranger has the write lock."""
    database.execute("PRAGMA busy_timeout = 1")
    stranger = sqlite3.connect(database.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        stranger.close()


def tries(stage: Stage) -> int:
    return int(stage.engine.gate.statistics()["tries"])


def test_a_path_waits_and_no_attempt_is_used_up(database: Database, tmp_path: Path) -> None:
    answers = [FAILED, OK]

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(2, 0.01, 0.01))
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.action.calls and stage.pipeline.backoff.waiting, "it failed and waits")
        with held(database):
            (stage.root / "b").write_text("x")
            stage.mark("b")
            await eventually(lambda: tries(stage) >= 3, "writing is tried")
            assert len(stage.action.calls) == 1
            assert stage.pipeline.statistics()["waits"] == "state can't be written"
        await eventually(lambda: len(stage.action.calls) == 3, "both ran")
        assert sorted(stage.action.paths) == [f"{stage.root}/a", f"{stage.root}/a", f"{stage.root}/b"]
        await eventually(lambda: not stage.pipeline.open, "nothing is open")
        assert stage.pipeline.statistics()["waits"] is None

    play(database, tmp_path / "root", RecordingAction(answer=_in_turn(answers)), story)


def test_a_retry_that_is_the_first_to_meet_the_trouble_is_none(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(2, 3600.0, 3600.0))
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.pipeline.backoff.waiting, "it failed and waits")
        with held(database):
            assert stage.pipeline.backoff.hasten(None) == 1
            await eventually(lambda: tries(stage) >= 3, "writing is tried")
            assert len(stage.action.calls) == 1
        await eventually(lambda: not stage.pipeline.open, "the second attempt has ended")
        assert [call.attempt for call in stage.action.calls] == [1, 2]

    play(database, tmp_path / "root", RecordingAction(answer=_in_turn([FAILED, OK])), story)


def _in_turn(answers: list[Outcome]) -> Callable[[JobContext], Outcome]:
    return lambda _job: answers.pop(0) if answers else OK


def test_an_action_that_the_journal_fails_is_cut_off_and_runs_again(database: Database, tmp_path: Path) -> None:
    blocked = held(database)

    def answer(job: JobContext) -> Outcome:
        if job.id == 1:
            blocked.__enter__()
            database.execute("REPLACE INTO meta VALUES ('step', '1')")
        return OK

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(1, 1.0, 1.0))
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: stage.engine.gate.statistics()["outcomes"] == 1, "the outcome waits")
        blocked.__exit__(None, None, None)
        await eventually(lambda: len(stage.action.calls) == 2, "it runs again")
        await eventually(lambda: not stage.pipeline.open, "it is done")
        assert database.execute("SELECT state FROM jobs ORDER BY id") == [("cancelled",), ("ok",)]

    play(database, tmp_path / "root", RecordingAction(answer=answer), story)


def test_an_action_whose_own_state_fails_has_failed(database: Database, tmp_path: Path) -> None:
    def answer(job: JobContext) -> Outcome:
        raise StateError("index.db: database or disk is full; free space on this filesystem")

    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(1, 1.0, 1.0))
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: database.execute("SELECT 1 FROM jobs WHERE state = 'failed'"), "it failed")
        assert "index.db" in database.execute("SELECT message FROM jobs")[0][0]

    play(database, tmp_path / "root", RecordingAction(answer=answer), story)


def test_an_open_path_stays_open_until_it_is_closed_in_the_journal(database: Database, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.configure(retry=Retry(1, 1.0, 1.0), changes=frozenset({Kind.CREATED}))
        (stage.root / "a").write_text("x")
        stage.mark("a")
        await eventually(lambda: database.execute("SELECT 1 FROM jobs WHERE state = 'failed'"), "it failed")
        with held(database):
            (stage.root / "a").unlink()
            stage.mark("a")  # the rule doesn't want deletions: the path is closed without a job
            await eventually(lambda: tries(stage) >= 3, "writing is tried")
            assert len(stage.pipeline.open) == 1
        await eventually(lambda: not stage.pipeline.open, "it is closed")
        assert database.execute("SELECT open FROM jobs") == [(0,)]

    play(database, tmp_path / "root", RecordingAction(answer=lambda _job: FAILED), story)


def test_the_intake_has_a_bound(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_MOST_HELD", 5)

    async def story(stage: Stage) -> None:
        await stage.configure()
        with held(database):
            for number in range(10):
                (stage.root / f"{number}").write_text("x")
                stage.mark(f"{number}")
            await eventually(lambda: stage.intakes == [False], "no more is taken in")
        await eventually(lambda: len(set(stage.action.paths)) == 10, "all ran")
        assert stage.intakes == [False, True]

    play(database, tmp_path / "root", RecordingAction(), story)
