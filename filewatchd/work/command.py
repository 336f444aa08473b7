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
    reason: str = ""  # what is known beyond that, e.g. which limit it met


class Limits(NamedTuple):
    """What a unit may use; None: no limit of its own. systemd's name for each in brackets."""

    memory: int | None = None  # bytes (MemoryMax=)
    cpu: float | None = None  # of one processor: 0.5 is half of one, 2.0 is two (CPUQuota=)
    tasks: int | None = None  # processes and threads (TasksMax=)
    io_weight: int | None = None  # 1 to 10000, others have 100 (IOWeight=)
    nice: int | None = None  # 19 to -20 (Nice=)


class Unit(NamedTuple):
    """Who a transient systemd unit is for, and its limits."""

    rule: str
    job: int
    limits: Limits = Limits()


class Bind(NamedTuple):
    """What a command finds at ``target``, read-only: the file or directory that is really at ``source``."""

    source: str
    target: str


class Command(NamedTuple):
    """A command to spawn: argv, never a shell.

    ``user``/``group`` None: as the daemon. ``unit`` None: in the daemon's sandbox. ``binds``: seen by it alone.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None = None
    user: str | None = None
    group: str | None = None
    stdin: bytes | None = None
    timeout: float | None = None
    stop_signal: int = 15
    stop_timeout: float = 10.0
    unit: Unit | None = None
    binds: tuple[Bind, ...] = ()
