"""How all our commands write things: safely for a terminal; numbers, times, durations and sizes; JSON."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def path_in(fields: Mapping[str, Any], name: str = "path") -> str:
    """A path of a document: its own bytes where it isn't UTF-8."""
    encoded = fields.get(f"{name}_b64")
    return os.fsdecode(base64.b64decode(encoded)) if encoded else str(fields[name])


def to_json(value: object) -> str:
    """JSON as all our commands print it for people."""
    return _printable(json.dumps(value, indent=2, ensure_ascii=False))


def to_line(value: object) -> str:
    """JSON on one line, as programs read it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _printable(text: str) -> str:
    """JSON with its odd characters escaped, so that none reaches the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def count(things: Iterable[object], noun: str) -> str:
    """How many there are, in words."""
    return number(len(list(things)), noun)


def number(amount: int, noun: str) -> str:
    """So many of them: ``1 job``, ``2,000 jobs``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def counts(numbers: Mapping[str, int]) -> str:
    """Numbers by their names: ``3 ok, 1 failed``."""
    return ", ".join(f"{amount:,} {name}" for name, amount in numbers.items() if amount)


# ---- times


def time_in(text: str) -> datetime:
    """The moment that a document names."""
    return datetime.fromisoformat(text)


def ago(text: str, now: datetime | None = None) -> str:
    """How far a document's time is from now: ``3m ago``, ``in 20s``, ``just now``."""
    seconds = ((now or datetime.now(UTC)) - time_in(text)).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    return f"{duration(_coarse(seconds))} ago" if seconds > 0 else f"in {duration(_coarse(-seconds))}"


def _coarse(seconds: float) -> float:
    """One unit, and the next smaller one where a few of the larger make too rough a figure."""
    for unit, smaller in ((_DAY, _HOUR), (_HOUR, _MINUTE), (_MINUTE, 1.0)):
        if seconds >= unit:
            step = unit if seconds >= 10 * unit else smaller
            return seconds // step * step
    return float(int(seconds))


def local(text: str) -> str:
    """A document's time on this machine's clock, to the second."""
    return time_in(text).astimezone().isoformat(" ", "seconds")[:19]


def moment(when_ns: int) -> str:
    """A file's time, likewise; such a time may be any number."""
    try:
        return datetime.fromtimestamp(when_ns // 10**9).astimezone().isoformat(" ", "seconds")[:19]
    except (ValueError, OverflowError, OSError):
        return f"{when_ns} ns"


def duration(seconds: float | None) -> str:
    """A duration, no finer than it matters; ``-`` where it isn't known."""
    from filewatchd.measures import format_duration

    if seconds is None:
        return "-"
    if 0 < seconds < 0.001:
        return "<1ms"
    return format_duration(_rounded(seconds))


def _rounded(seconds: float) -> float:
    for least, step in ((2 * _DAY, _HOUR), (2 * _HOUR, _MINUTE), (10.0, 1.0), (1.0, 0.1)):
        if seconds >= least:
            return round(seconds / step) * step
    return seconds


def size(amount: float) -> str:
    """Bytes, to three or four digits: ``38.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
