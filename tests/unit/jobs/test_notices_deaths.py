"""kill -9 between a failure and its notification: at each transaction's end, before and after, and while it is told.

A life is a process of its own, forked and killed. The points are counted, not chosen: the first life that comes to its
end ends the enumeration, so a transaction that is added is died at, too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.jobs import notifying
from filewatchd.model import ActionSpec, Event, Retry
from filewatchd.state.database import Database, Transaction
from filewatchd.testing import RecordingOptions, eventually
from tests.unit.jobs.stage import Stage
from tests.unit.jobs.test_notifying import BAD, Receiver, Teller

_MOST = 200  # points; a life has far fewer


class Witness(Receiver):
    """Writes what it is told to a file, which outlives the process."""

    def __init__(self, path: Path, point: Callable[[], None]) -> None:
        super().__init__()
        self.path, self.point = path, point

    def __call__(self, job: Any, note: str) -> Any:
        if job.notice is not None:
            self.point()
            with self.path.open("a") as file:
                file.write(f"{job.notice.event.value}: {job.notice.message}\n")
            self.point()
        return super().__call__(job, note)


def live(place: Path, die_at: int | None) -> bool:
    """A daemon's life in which a job fails; False if it was killed at a point."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(story(place, die_at))
        except BaseException:  # noqa: BLE001 - the test sees the status
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


async def story(place: Path, die_at: int | None) -> None:
    points = [0]

    def point() -> None:
        if points[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        points[0] += 1

    database = Database(str(place / "journal.db"))
    end = Transaction._end

    def ending(self: Transaction, error: BaseException | None) -> None:
        point()
        end(self, error)
        point()

    Transaction._end = ending  # type: ignore[method-assign]
    receiver = Witness(place / "told", point)
    root = place / "root"
    root.mkdir(exist_ok=True)
    (root / "a").write_text("x")
    receiver.outcomes[f"{root}/a"] = BAD
    stage = Stage(database, root, Teller(receiver))
    specs = (ActionSpec("record", RecordingOptions(), "a"),)
    await stage.configure(on_failure=specs, retry=Retry(1))
    stage.mark("a")
    store = stage.engine.store
    await eventually(lambda: store.failing.get("rule"), "the failure")
    await eventually(lambda: (place / "told").exists() and not store.notices.waiting(), "that it is told")


def test_a_failure_is_told_whenever_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "LINGER", 0.01)
    monkeypatch.setattr(notifying, "PAUSE", 0.01)
    told: list[int] = []
    Database(str(tmp_path / "journal.db")).close()
    for point in range(_MOST):
        place = tmp_path / str(point)
        place.mkdir()
        shutil.copy(tmp_path / "journal.db", place)
        if live(place, point):
            break
        assert live(place, None)
        lines = (place / "told").read_text().splitlines()
        assert set(lines) == {f"{Event.FAILURE.value}: no space left ({place / 'root' / 'a'})"}
        told.append(len(lines))
    assert len(told) > 10
    assert set(told) == {1, 2}  # never none; twice where it died after it was told and before that was written down
