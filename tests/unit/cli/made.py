"""Documents as a daemon might answer them, with odd names in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from filewatchd.control import documents as d

LONG = 7290.0  # seconds; told as 2h1m, however slow the machine is
CHECKED = "version 2 is refused by its check: line 1\nline 2\x1b[2J\n" + "\n".join(
    f"line {number}" for number in range(3, 40)
)
SOON = 3 * 86400 + 1800.0  # told as 3d, likewise
CLEAR = "\x1b[2J"  # what must not reach a terminal


def before(seconds: float) -> str:
    """A time so long ago, as documents have it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def pause(**fields: Any) -> d.Pause:
    said: dict[str, Any] = {"hold": "paused", "why": "paused by root: disk swap", "since": before(LONG),
                            "until": before(-SOON), "by": "uid 1000", "discard": False, "discarded": 0}  # fmt: skip
    return d.Pause(**said | fields)


def rule_status(**fields: Any) -> d.RuleStatus:
    said: dict[str, Any] = dict.fromkeys(
        ("dirty", "running", "retrying", "open", "failed", "held", "skipped", "findings"), 0
    )
    said |= {"state": "idle", "paused": None, "waits": None, "counters": {"changes": 1234}, "last": None, "actions": [],
             "failing": None, "notifications": []}  # fmt: skip
    return d.RuleStatus(**said | fields)


def untold() -> d.Notification:
    last = d.Last(job=12, time=before(LONG), seconds=0.5, outcomes={"failed": 1})
    return d.Notification(event="failure", name="drop:on_failure", waiting=3, state="idle", last=last, actions=[])


def status(**fields: Any) -> d.Status:
    doubt = d.Doubt(about="root", what="/srv/\ufffd", what_b64="L3Nydi//", why="it is waiting", since=before(LONG))
    said: dict[str, Any] = {
        "version": "1.0", "pid": 7, "started": before(90061), "uptime": 90061.0, "state": "running", "ready": True,
        "generation": 3, "config": "/etc/filewatchd/filewatchd.yaml",
        "state_dir": "/var/lib/filewatchd",
        "config_error": "line 3: no\x1b[2Jthing\nline 4: nothing",
        "log_level": "info",
        "promise": d.Promise(kept=False, in_doubt_since=before(LONG), reasons=[doubt], doubts=2,
                             seconds_in_doubt_total=65.0),
        "findings": [d.Finding(rule="drop", key="k", message="nothing came", first=before(LONG), last=before(5),
                               times=3),
                     d.Finding(rule="web", key="k", message=CHECKED, first=before(LONG), last=before(5), times=1)],
        "rules": {
            "drop": rule_status(dirty=2, failed=1, state="paused", paused=pause(),
                                last=d.Last(job=9, time=before(LONG), seconds=0.5, outcomes={"ok": 2, "failed": 1}),
                                failing=d.Failing(since=before(LONG), why=f"no space{CLEAR}", jobs=2),
                                notifications=[untold()]),
            "idle": rule_status(),
        },
        "watch": d.Watch(
            roots=[d.Root(path=f"/srv/{CLEAR}", state="degraded", why="no watch is left", missing=12, backend="inotify",
                          reason="it is local", rules=["drop", "idle"])],
            backends={}, watches=1200, watches_limit=65536, overflows=1, rescans=2,
        ),
        "transients": 4, "journal": {}, "commands": {}, "control": {}, "pool": {},
        "process": d.Process(memory=40_000_000, descriptors=20, descriptors_limit=1024, cpu_seconds=75.4, threads=6),
    }  # fmt: skip
    return d.Status(**said | fields)


def row(**fields: Any) -> d.JobRow:
    said: dict[str, Any] = {
        "id": 17, "rule": "drop", "trigger": "change", "state": "failed", "attempt": 2, "generation": 3,
        "created": before(LONG), "started": before(7259), "finished": before(7200), "until": None, "seconds": 59.0,
        "paths": 3, "outcomes": {"ok": 2, "failed": 1}, "open": 1, "message": f"exit status 3{CLEAR}", "progress": "",
    }  # fmt: skip
    return d.JobRow(**said | fields)


def at(second: int) -> str:
    """A time on a day in the past."""
    return f"2026-01-02T03:04:{second:02}.000000+00:00"


def job(**fields: Any) -> d.Job:
    said: dict[str, Any] = {
        "job": row(created=at(2)),
        "events": [d.RawEventTold(time=at(0), last=at(1), path="/srv/a", events=["create", "close_write"])],
        "changes": [
            d.ChangeTold(kind="moved", path="/srv/b", old_path="/srv/a", outcome="failed", message="exit status 3"),
            d.ChangeTold(kind="created", path="/srv/\ufffd", path_b64="L3Nydi//", outcome=None, message=""),
        ],
        "attempts": [
            d.AttemptTold(attempt=1, started=at(3), finished=at(7), resume=0, outcomes={"failed": 1},
                          message="exit status 3"),
            d.AttemptTold(attempt=2, started=at(9), finished=None, resume=1, outcomes={}, message=""),
        ],
        "steps": [d.StepTold(name="sealing", data={"seal": "/x"})],
        "output": f"one\n\ttwo{CLEAR}\n",
        "delays": d.Delays(settling=2.0, queued=None, running=1.5, backing_off=57.0, total=62.0),
    }  # fmt: skip
    return d.Job(**said | fields)


def change(**fields: Any) -> d.ChangeLine:
    said: dict[str, Any] = {
        "host": "testhost", "instance": "main",
        "cursor": "x-1", "time": before(1), "kind": "created", "path": f"/srv/{CLEAR}", "is_dir": False, "root": "/srv",
        "rules": ["drop"], "job": 17, "source": "live",
    }  # fmt: skip
    return d.ChangeLine(**said | fields)
