"""What is asked of a command, and how it ended. The Action protocol shows both (`filewatchd.actions.base`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Finished(NamedTuple):
    """How a spawned command ended. ``leftover``: processes it left behind, which were ended."""

    code: int | None  # exit status, None if a signal ended it
    signal: int | None
    timed_out: bool
    leftover: int


class Command(NamedTuple):
    """A command to spawn: argv, never a shell. ``user``/``group`` None: as the daemon."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None = None
    user: str | None = None
    group: str | None = None
    stdin: bytes | None = None
    timeout: float | None = None
    stop_signal: int = 15
    stop_timeout: float = 10.0
