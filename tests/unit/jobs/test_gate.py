from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

import pytest

from filewatchd.errors import StateError
from filewatchd.jobs import gate as module
from filewatchd.jobs.gate import Gate
from filewatchd.state.database import Database
from filewatchd.testing.clock import FakeClock
from filewatchd.testing.waiting import eventually
from filewatchd.work.pool import Pool

COUNT = "SELECT count(*) FROM counters"


class Rig:
    """A gate, and a stranger who may hold the database's write lock."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        database.execute("PRAGMA busy_timeout = 1")
        self.database = database
        self.clock = clock
        self.moves: list[bool] = []
        self.damages: list[bool] = []
        self.gate = Gate(
            database,
            Pool(linger=0.01),
            clock,
            moved=lambda: self.moves.append(self.gate.is_open),
            damaged=lambda: self.damages.append(True),
        )

    def hold(self) -> None:
        self.stranger = sqlite3.connect(self.database.path, isolation_level=None)
        self.stranger.execute("BEGIN IMMEDIATE")

    def let_go(self) -> None:
        self.stranger.close()

    def write(self) -> None:
        self.database.execute("INSERT INTO counters VALUES ('r', 'x', 1) ON CONFLICT DO UPDATE SET value = value + 1")

    def written(self) -> int:
        rows = self.database.execute("SELECT value FROM counters")
        return int(rows[0][0]) if rows else 0

    def tries(self) -> int:
        return int(self.gate.statistics()["tries"])


@pytest.fixture
def rig(database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(module, "_FIRST", 0.001)
    monkeypatch.setattr(module, "_LONGEST", 0.001)
    return Rig(database, clock)


def story(rig: Rig, tell: Callable[[], object]) -> None:
    async def play() -> None:
        result = tell()
        assert asyncio.iscoroutine(result)
        await result
        rig.gate.end()

    asyncio.run(play())


def test_what_may_not_be_given_up_waits_and_is_written_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def tell() -> None:
        rig.hold()
        waiting = [asyncio.create_task(rig.gate.through(rig.write)) for _ in range(3)]
        await eventually(lambda: rig.tries() >= 3, "it tries")
        assert rig.gate.statistics()["outcomes"] == 3
        assert rig.gate.statistics()["failed"] == 1
        assert rig.gate.statistics()["writable"] is False
        rig.let_go()
        await asyncio.gather(*waiting)
        assert rig.gate.is_open
        assert rig.written() == 3
        assert rig.gate.statistics()["outcomes"] == 0
        assert rig.moves == [False, True]

    story(rig, tell)
    assert caplog.records == []  # it was over within two seconds


def test_what_lasts_is_told_once_and_so_is_its_end(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def tell() -> None:
        rig.hold()
        waiting = asyncio.create_task(rig.gate.through(rig.write))
        await eventually(lambda: rig.tries() >= 1, "it tries")
        rig.clock.advance(5)
        await eventually(lambda: rig.tries() >= 10, "it tries on")
        rig.let_go()
        await waiting
        rig.clock.advance(1)  # again, so soon that it is the same trouble
        rig.hold()
        waiting = asyncio.create_task(rig.gate.through(rig.write))
        await eventually(lambda: rig.tries() >= 15, "it tries again")
        rig.let_go()
        await waiting

    story(rig, tell)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "end the other program" in errors[0]


def test_who_waits_is_let_go_at_the_end(rig: Rig) -> None:
    async def tell() -> None:
        rig.hold()
        waiting = asyncio.create_task(rig.gate.through(rig.write))
        await eventually(lambda: rig.gate.statistics()["outcomes"] == 1, "it waits")
        rig.gate.end()
        with pytest.raises(StateError, match="locked"):
            await waiting
        rig.let_go()

    story(rig, tell)


def test_a_failure_that_is_not_the_journals_is_not_waited_for(rig: Rig) -> None:
    def fail() -> None:
        raise StateError("tables of a newer version")

    async def tell() -> None:
        with pytest.raises(StateError, match="newer"):
            await rig.gate.through(fail)
        assert rig.gate.is_open

    story(rig, tell)


def test_a_damaged_file_is_for_a_restart(rig: Rig) -> None:
    async def tell() -> None:
        rig.database.health.failed(StateError("bad", corrupt=True))
        assert rig.damages == [True]
        assert not rig.gate.is_open
        assert rig.tries() == 0

    story(rig, tell)
