"""What the view shows, made of documents of the control socket alone: no terminal, no clock of its own.

A status document counts; the view shows how fast it counts. So the last minute's samples are kept, a second each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.cli.text import counts, duration, path_in, size
from filewatchd.notation import one_line

SECONDS = 20  # that a sparkline shows
_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 12  # of a progress bar
_FULL, _EMPTY = "━", "─"


class Rate:
    """A counter over the last seconds."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self.history: deque[float] = deque(maxlen=SECONDS)

    def add(self, now: float, count: float) -> None:
        """Take a sample. A counter that fell has begun anew, with another daemon: then nothing is known of the rate."""
        last, self._last = self._last, (now, count)
        if last is not None and now > last[0]:
            self.history.append(max(0.0, count - last[1]) / (now - last[0]))

    @property
    def now(self) -> float | None:
        """Per second, since the sample before; None before there are two."""
        return self.history[-1] if self.history else None


class Rates:
    """Rates of many things that come and go, by name."""

    def __init__(self) -> None:
        self._rates: dict[Any, Rate] = {}

    def add(self, now: float, counts: Mapping[Any, float]) -> None:
        """Take a sample of each; what isn't there any more is forgotten."""
        self._rates = {name: self._rates.get(name) or Rate() for name in counts}
        for name, count in counts.items():
            self._rates[name].add(now, count)

    def of(self, name: Any) -> Rate:
        """One of them."""
        return self._rates.get(name) or Rate()


def sparkline(values: Sequence[float], width: int = SECONDS) -> str:
    """A line of bars, the newest on the right; the highest of them is full, and what isn't nothing shows."""
    most = max(values, default=0.0)
    if not most:
        return " " * (width - len(values)) + _BARS[0] * len(values)
    heights = [max(1, round(value / most * 8)) if value else 0 for value in list(values)[-width:]]
    return "".join(_BARS[height] for height in heights).rjust(width)


def number(value: float) -> str:
    """A rate or count in few characters: 0, 0.4, 17, 1.2k, 3.4M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f}{unit}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def bar(done: float, total: float) -> str:
    """A bar of progress."""
    filled = min(_WIDTH, int(_WIDTH * done / total)) if total > 0 else 0
    return _FULL * filled + _EMPTY * (_WIDTH - filled)


def headline(status: Mapping[str, Any]) -> str:
    """One line about the daemon."""
    promise = status["promise"]
    kept = "promise kept" if promise["kept"] else f"promise IN DOUBT: {promise['reasons'][0]['why']}"
    process = status["process"]
    parts = [
        f"{status['host']}/{status['instance']}",
        f"{status['state']} for {duration(status['uptime'])}",
        f"generation {status['generation']}",
        kept,
        size(process["memory"]),
        f"{process['descriptors']} descriptors",
        f"{status['watch']['watches']} watches",
    ]
    if status["config_error"]:
        parts.append("CONFIGURATION REFUSED (filewatchctl status tells why)")
    return one_line("  ".join(parts))


RULES = ("rule", "state", "changes/s", f"last {SECONDS} s", "changes", "dirty", "running", "failed", "held", "last")


def rule_cells(name: str, rule: Mapping[str, Any], rate: Rate) -> list[str]:
    """A rule's row."""
    last = rule["last"]
    return [
        name,
        rule["state"],
        "-" if rate.now is None else number(rate.now),
        sparkline(rate.history),
        number(rule["counters"].get("changes", 0)),
        number(rule["dirty"]),
        number(rule["running"]),
        number(rule["failed"]),
        number(rule["held"]),
        counts(last["outcomes"]) if last else "",
    ]


RUNNING = ("job", "rule", "for", "paths", "progress", "rate")


def job_cells(job: Mapping[str, Any], seconds: float, rate: Rate) -> list[str]:
    """A running job's row. ``seconds``: since it started."""
    done, total, unit = job.get("done"), job.get("total"), job.get("unit") or ""
    progress = one_line(job["progress"])
    if done is not None and total:
        progress = f"{bar(done, total)} {done / total:4.0%}"
    speed = f"{number(rate.now)} {unit}/s" if done is not None and rate.now is not None else ""
    return [str(job["id"]), job["rule"], duration(seconds), number(job["paths"]), progress, speed]


FAILED = ("job", "rule", "ago", "failed", "message")


def failed_cells(job: Mapping[str, Any], seconds: float) -> list[str]:
    """A failed job's row. ``seconds``: since it ended."""
    return [str(job["id"]), job["rule"], duration(seconds), number(job["open"]), one_line(job["message"])]


def story_lines(document: Mapping[str, Any]) -> list[str]:
    """The story of a job, in lines."""
    job, delays = document["job"], document["delays"]
    lines = [
        f"job {job['id']} of {job['rule']}: {job['state']}, attempt {job['attempt']}, {job['trigger']}",
        f"created {job['created']}  started {job['started']}  finished {job['finished'] or '-'}",
        "  ".join(f"{name} {duration(seconds)}" for name, seconds in delays.items() if seconds is not None),
    ]
    lines += _part("events", [f"{e['time']}  {path_in(e)}  {' '.join(e['events'])}" for e in document["events"]])
    lines += _part("changes", [_change(change) for change in document["changes"]])
    lines += _part("attempts", [_attempt(attempt) for attempt in document["attempts"]])
    lines += _part("steps", [step["name"] for step in document["steps"]])
    lines += _part("output", document["output"].splitlines())
    return [one_line(line) for line in lines]


def _part(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _change(change: Mapping[str, Any]) -> str:
    old = f"{path_in(change, 'old_path')} -> " if "old_path" in change else ""
    message = f": {change['message']}" if change["message"] else ""
    return f"{change['outcome'] or '...'}  {change['kind']} {old}{path_in(change)}{message}"


def _attempt(attempt: Mapping[str, Any]) -> str:
    told = counts(attempt["outcomes"])
    return f"{attempt['attempt']}: {attempt['started']} to {attempt['finished'] or 'now'}  {told}  {attempt['message']}"
