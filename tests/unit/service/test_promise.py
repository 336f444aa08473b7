"""The account of doubts: given these doubts and this clock, this is what status tells."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from filewatchd.control.api import time_text
from filewatchd.errors import StateError
from filewatchd.jobs.pausing import Pause
from filewatchd.model import RootState
from filewatchd.service.promise import Promise
from filewatchd.state.health import Health
from filewatchd.testing.clock import FakeClock
from filewatchd.watch.roots import Root, RootKey


class Daemon:
    """What a promise hangs on: a root, a rule and the journal."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.root = Root(RootKey("/in"))
        self.root.state = RootState.LIVE
        self.rule = SimpleNamespace(
            skipped={}, holding=SimpleNamespace(without_room=0, paused=SimpleNamespace(pause=None))
        )
        self.database = SimpleNamespace(promise_broken_since=None, health=Health(self.clock))
        store = SimpleNamespace(database=self.database)
        engine = SimpleNamespace(store=store, pipelines={"rule": self.rule})
        rooting = SimpleNamespace(roots=lambda: [self.root])
        self.promise = Promise(cast(Any, engine), cast(Any, rooting), self.clock)

    def told(self) -> tuple[bool, list[str], int, float]:
        found = self.promise.statistics()
        assert found["kept"] is (found["in_doubt_since"] is None)
        about = [reason["about"] for reason in found["reasons"]]
        return found["kept"], about, found["doubts"], found["seconds_in_doubt_total"]


def test_without_a_doubt_it_is_kept() -> None:
    assert Daemon().told() == (True, [], 0, 0.0)


def test_an_overflow_is_a_doubt_until_a_comparison_that_began_after_it() -> None:
    daemon = Daemon()
    daemon.root.lost(daemon.clock.wall_ns())
    daemon.promise.look()
    daemon.clock.advance(2.0)
    began = daemon.root.doubts
    daemon.root.lost(daemon.clock.wall_ns())  # again, while it is compared
    daemon.root.compared(began)
    assert daemon.told() == (False, ["overflow"], 1, 2.0)
    daemon.root.compared(daemon.root.doubts)
    daemon.clock.advance(1.0)
    assert daemon.told() == (True, [], 1, 3.0)
    daemon.clock.advance(5.0)
    assert daemon.told() == (True, [], 1, 3.0)


def test_a_journal_that_cannot_be_written_is_a_doubt_until_it_can() -> None:
    daemon = Daemon()
    daemon.database.health.failed(StateError("journal.db: the disk is full"))
    daemon.promise.look()
    daemon.clock.advance(3.0)
    assert daemon.told() == (False, ["journal"], 1, 3.0)
    assert daemon.promise.statistics()["reasons"][0]["why"] == "no job starts: journal.db: the disk is full"
    daemon.database.health.mended()
    assert daemon.told() == (True, [], 1, 3.0)


def test_doubts_at_the_same_time_count_their_time_once() -> None:
    daemon = Daemon()
    daemon.root.state = RootState.STALLED
    daemon.promise.look()
    daemon.clock.advance(1.0)
    daemon.rule.skipped = {"a": None}
    daemon.promise.look()
    daemon.clock.advance(1.0)
    daemon.root.state = RootState.LIVE
    daemon.promise.look()
    daemon.clock.advance(1.0)
    daemon.rule.skipped = {}
    assert daemon.told() == (True, [], 2, 3.0)


@pytest.mark.parametrize("state", RootState)
def test_a_root_that_stalls_or_has_gaps_is_a_doubt(state: RootState) -> None:
    daemon = Daemon()
    daemon.root.state = state
    doubtful = state in (RootState.STALLED, RootState.DEGRADED)
    assert daemon.told()[1] == [state.value] * doubtful


def test_lost_state_is_in_doubt_since_it_was_lost_and_the_oldest_comes_first() -> None:
    daemon = Daemon()
    daemon.rule.holding.without_room = 3
    daemon.promise.look()
    daemon.database.promise_broken_since = daemon.clock.wall_ns() - 3600 * 10**9
    assert daemon.told()[1] == ["state", "held"]
    assert daemon.promise.statistics()["in_doubt_since"] == "2025-06-15T14:06:40.000000+00:00"


def test_a_pause_that_discards_is_a_doubt_since_it_began() -> None:
    daemon = Daemon()
    pause = Pause("mass copy", daemon.clock.wall_ns() - 5_000_000_000, None, "root", False, 0)
    daemon.rule.holding.paused.pause = pause
    assert daemon.told() == (True, [], 0, 0.0)
    daemon.rule.holding.paused.pause = pause._replace(discard=True)
    (reason,) = daemon.promise.statistics()["reasons"]
    assert (reason["about"], reason["what"], reason["since"]) == ("paused", "rule", time_text(pause.since_ns))
    assert reason["why"] == "paused by root: mass copy; what changes meanwhile is taken as handled"
    daemon.rule.holding.paused.pause = None
    assert daemon.told()[0] is True
