"""What the daemon tells of itself: to the control socket, to the log, and in state.json."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from filewatchd import __version__
from filewatchd.control.api import time_text
from filewatchd.control.server import ControlServer
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.retention import Retention
from filewatchd.service.asking import listed_finding
from filewatchd.service.promise import Promise
from filewatchd.service.rooting import Rooting
from filewatchd.state.database import Database
from filewatchd.work.cgroup import Groups
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool


class Parts(NamedTuple):
    """Those of the daemon's parts that have something to tell."""

    database: Database
    engine: Engine
    rooting: Rooting
    retention: Retention
    commands: Commands
    groups: Groups
    control: ControlServer
    pool: Pool
    promise: Promise


class Life(NamedTuple):
    """The daemon's life so far. ``config_error``: why the last reload was refused."""

    started_ns: int
    ready: bool
    generation: int
    config_error: str | None


def status(parts: Parts, life: Life) -> dict[str, Any]:
    """What the control socket tells."""
    engine = parts.engine
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": time_text(life.started_ns),
        "ready": life.ready,
        "generation": life.generation,
        "config_error": life.config_error,
        "promise": parts.promise.statistics(),
        "state": {**engine.gate.statistics(), **parts.database.statistics(), **parts.retention.statistics()},
        "findings": [listed_finding(finding) for finding in engine.store.findings.all()],
        **statistics(parts),
    }


def statistics(parts: Parts) -> dict[str, Any]:
    """Everything countable, part by part."""
    return {
        "rules": parts.engine.statistics(),
        "watch": parts.rooting.statistics(),
        "commands": parts.commands.statistics(),
        "control": parts.control.statistics(),
        "pool": {name: list(lane) for name, lane in parts.pool.statistics().items()},
    }


def state(parts: Parts, life: Life) -> dict[str, Any]:
    """What state.json has, for whoever finds no daemon to ask."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started_ns": life.started_ns,
        "generation": life.generation,
        "config_error": life.config_error,
        "promise_broken_since_ns": parts.database.promise_broken_since,
        "commands": parts.groups.describe()[0],
        "rules": parts.engine.summary(),
    }
