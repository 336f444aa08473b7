"""What goes on beside the main work, until it is done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from filewatchd.service import upkeep
from filewatchd.service.upkeep import Upkeep
from filewatchd.testing.waiting import eventually
from filewatchd.work.pool import Pool


class Busy:
    """A database whose log a reader holds up twice."""

    def __init__(self) -> None:
        self.answers = [False, False, True]

    def checkpoint(self) -> bool:
        return self.answers.pop(0)


def test_a_checkpoint_that_a_reader_held_up_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need commit anything: an idle daemon's file would stay as large as it was."""
    for name in ("_CHECKPOINT_AFTER", "_AGAIN_AFTER"):
        monkeypatch.setattr(upkeep, name, 0.001)
    database: Any = Busy()

    async def story() -> None:
        pool = Pool()
        work = Upkeep(pool, database, "state.json", dict)
        work.committed()
        await eventually(lambda: not database.answers, "all is copied")
        pool.close()

    asyncio.run(story())
