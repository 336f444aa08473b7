"""Fixtures of the end-to-end tests: real processes, real files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
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


@pytest.fixture
def program() -> Callable[[str], str]:
    """Finds a program the test needs. CI has them all; elsewhere the test is skipped and says what it lacks."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and "CI" not in os.environ:
            pytest.skip(f"{name} is not installed (as root, `make deps` installs it)")
        assert path, f"{name} is not installed: requirements/debian.txt must name it"
        return path

    return find
