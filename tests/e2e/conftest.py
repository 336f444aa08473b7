"""Fixtures of the end-to-end tests: real processes, real files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import RUN, Daemon

ROOT = Path(__file__).parents[2]
CONTROL = RUN.replace("cli.daemon", "cli.control")


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
def commands(tmp_path: Path) -> str:
    """A PATH with both commands, of this source."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, code in (("filewatchd", RUN), ("filewatchctl", CONTROL)):
        script = folder / name
        script.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' -c '{code}' \"$@\"\n")
        script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
