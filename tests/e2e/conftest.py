"""Fixtures of the end-to-end tests: real processes, real files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon to configure and start. Unless the test ended it, TERM must end it with status 0."""
    daemon = Daemon(tmp_path)
    try:
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()
