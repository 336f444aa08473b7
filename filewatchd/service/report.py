"""What the daemon tells of itself: to the control socket, to the log, and in state.json."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from filewatchd import __version__
from filewatchd.clock import Clock
from filewatchd.config.configuration import Configuration
from filewatchd.control import documents
from filewatchd.control.api import listed, time_text
from filewatchd.control.server import ControlServer
from filewatchd.errors import StateError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.findings import Finding
from filewatchd.jobs.notifying import name_of
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.retention import Retention
from filewatchd.model import Event
from filewatchd.rules.holding import Hold
from filewatchd.service.limits import WATCHES, Usage, limits
from filewatchd.service.logging import level
from filewatchd.service.promise import Promise
from filewatchd.service.rooting import Rooting
from filewatchd.state.database import Database
from filewatchd.work.cgroup import Groups
from filewatchd.work.pool import Pool
from filewatchd.work.ways import Ways


class Life(NamedTuple):
    """The daemon's life so far. ``config_error``: why the last reload was refused."""

    started_ns: int
    ready: bool
    draining: bool
    generation: int
    configuration: Configuration
    config_error: str | None


class Parts(NamedTuple):
    """Those of the daemon's parts that have something to tell."""

    clock: Clock
    database: Database
    engine: Engine
    rooting: Rooting
    retention: Retention
    commands: Ways
    groups: Groups
    control: ControlServer
    pool: Pool
    promise: Promise
    life: Callable[[], Life]


def status(parts: Parts) -> documents.Status:
    """What the control socket tells."""
    engine, life = parts.engine, parts.life()
    findings = engine.store.findings.all()
    told = {
        "version": __version__,
        "pid": os.getpid(),
        "started": time_text(life.started_ns),
        "uptime": max(0.0, (parts.clock.wall_ns() - life.started_ns) / 1e9),
        "state": _state(parts, life),
        "ready": life.ready,
        "generation": life.generation,
        "config": life.configuration.files[0],
        "state_dir": os.path.dirname(parts.database.path),
        "config_error": life.config_error,
        "log_level": level(),
        "promise": parts.promise.statistics(),
        "findings": [listed_finding(finding) for finding in findings],
        "rules": _rules(parts, life, Counter(finding.rule for finding in findings)),
        "watch": _watch(parts),
        "transients": parts.rooting.gone_names
        + sum(pipeline.counters.get("transient", 0) for pipeline in engine.pipelines.values()),
        "journal": _journal(parts),
        **_counts(parts),
        "process": _process(),
    }
    return msgspec.convert(told, documents.Status)


def _journal(parts: Parts) -> dict[str, Any]:
    found = {**parts.engine.gate.statistics(), **parts.database.statistics(), **parts.retention.statistics()}
    with contextlib.suppress(StateError):  # it can't be read; the gate tells
        found |= parts.engine.store.journal.history.statistics()
    return found


def _state(parts: Parts, life: Life) -> str:
    if life.draining:
        return "draining"
    if not parts.engine.gate.is_open:
        return "blocked"
    return "running" if life.ready else "starting"


def _rules(parts: Parts, life: Life, findings: Mapping[str, int]) -> dict[str, Any]:
    """Every configured rule, and those that a reload has taken away and that still end."""
    pipelines = parts.engine.rules
    names = dict.fromkeys([*(rule.name for rule in life.configuration.rules), *pipelines])
    statistics = parts.engine.statistics()
    return {
        name: {
            **(_rule(pipelines[name], statistics[name]) if name in pipelines else _DISABLED),
            **_told(parts, name),
            "findings": findings.get(name, 0),
        }
        for name in names
    }


def _told(parts: Parts, name: str) -> dict[str, Any]:
    """Whether a rule works, and what becomes of telling that."""
    engine = parts.engine
    failure, waiting = None, engine.notifying.waiting()
    with contextlib.suppress(StateError):  # it can't be read; the gate tells
        failure = engine.notifying.since(name)
    notifications = [
        {
            "event": event.value,
            "name": name_of((name, event)),
            "waiting": waiting.get((name, event), 0),
            "state": "waiting" if pipeline.backoff.has_alone() else rule_state(pipeline),
            "last": pipeline.last and {**pipeline.last, "time": time_text(pipeline.last["time_ns"])},
            "actions": [action.statistics() for action in pipeline.actions],
        }
        for event in Event
        if (pipeline := engine.pipelines.get(name_of((name, event)))) is not None
    ]
    failing = failure and {"since": time_text(failure.since_ns), "why": failure.message, "jobs": failure.times}
    return {"failing": failing, "notifications": notifications}


_DISABLED: dict[str, Any] = {
    "state": "disabled",
    **dict.fromkeys(("dirty", "running", "retrying", "open", "failed", "held", "skipped"), 0),
    "paused": None,
    "waits": None,
    "counters": {},
    "last": None,
    "actions": [],
}


def _rule(pipeline: Pipeline, statistics: Mapping[str, Any]) -> dict[str, Any]:
    last = statistics["last"]
    told = last and {**last, "time": time_text(last["time_ns"])}
    return {**statistics, "state": rule_state(pipeline, statistics), "paused": paused(pipeline), "last": told}


def rule_state(pipeline: Pipeline, statistics: Mapping[str, Any] | None = None) -> str:
    """A word for what the rule does now. ``statistics``: its own, if they are at hand."""
    found = pipeline.statistics() if statistics is None else statistics
    if pipeline.holding.why is not None:
        return "paused"
    if found["running"]:
        return "running"
    return "waiting" if found["dirty"] or found["retrying"] or found["skipped"] else "idle"


_HOLDS = {Hold.FREE: "paused", Hold.LOOPS: "loops", Hold.MASSES: "masses", Hold.BROKEN: "broken"}


def paused(pipeline: Pipeline) -> dict[str, Any] | None:
    """Why a rule starts no jobs, if it doesn't."""
    holding = pipeline.holding
    if holding.why is None:
        return None
    pause = holding.paused.pause
    until_ns = pause.until_ns if pause is not None and holding.hold is Hold.FREE else None
    return {
        "hold": _HOLDS[holding.hold],
        "why": holding.why,
        "since": time_text(holding.since_ns),
        "until": None if until_ns is None else time_text(until_ns),
        "by": None if pause is None else pause.by,
        "discard": holding.discards,
        "discarded": holding.without_room + holding.paused.discarded,
    }


def _watch(parts: Parts) -> dict[str, Any]:
    found = parts.rooting.statistics()
    subscribed = parts.rooting.rules_by_root()
    backends = found["backends"].values()
    limit = next((limit.limit for limit in limits(None, 0, Usage(0, 0)) if limit.kind == WATCHES), None)
    return {
        "roots": [
            {**root, **listed(root["path"]), "rules": sorted(subscribed.get(root["path"], ()))}
            for root in found["roots"]
        ],
        "backends": found["backends"],
        "watches": sum(backend.get("watches", 0) + backend.get("anchors", 0) for backend in backends),
        "watches_limit": limit,
        "overflows": sum(backend.get("overflows", 0) for backend in backends),
        "rescans": sum(backend["rescans"] for backend in backends),
    }


def _process() -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "memory": _resident(used.ru_maxrss),
        "descriptors": len(os.listdir("/dev/fd")) - 1,  # but the one that lists them
        "descriptors_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "threads": threading.active_count(),
    }


def _resident(most: int) -> int:
    """Resident bytes; where the system doesn't tell, the most that there were."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return most


def _counts(parts: Parts) -> dict[str, Any]:
    return {
        "commands": parts.commands.statistics(),
        "control": parts.control.statistics(),
        "pool": {name: list(lane) for name, lane in parts.pool.statistics().items()},
    }


def statistics(parts: Parts) -> dict[str, Any]:
    """Everything countable, part by part, for the log."""
    return {"rules": parts.engine.statistics(), "watch": parts.rooting.statistics(), **_counts(parts)}


def state(parts: Parts) -> dict[str, Any]:
    """What state.json has, for whoever finds no daemon to ask."""
    life = parts.life()
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


def listed_finding(finding: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    where = {} if finding.path is None else listed(finding.path)
    times = {"first": time_text(finding.first_ns), "last": time_text(finding.last_ns), "times": finding.times}
    return {"rule": finding.rule, "key": finding.key, "message": finding.message, **where, **times}
