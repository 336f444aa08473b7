from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.state.database import Database
from filewatchd.state.manifest import Manifest
from filewatchd.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    with Database(str(tmp_path / "journal.db"), clock=clock) as opened:
        yield opened


@pytest.fixture
def manifest(database: Database) -> Manifest:
    return Manifest(database)
