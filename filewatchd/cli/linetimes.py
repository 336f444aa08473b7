"""When a line of a log was written, by what it says itself, for `--since` and `--until`.

Known are: RFC 3339 and its relatives (``2026-11-27T21:51:31.5+01:00``, ``2026-11-27 21:51:31,123``), the web servers'
(``[27/Nov/2026:21:51:31 +0000]``, ``2026/11/27 21:51:31``), syslog's (``Nov 27 21:51:31``, which has no year) and
seconds since the epoch. It has to stand in the line's first 200 bytes; a line without one belongs to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAMES = "|".join(_MONTHS).encode()
_CLOCK = rb"(\d\d):(\d\d):(\d\d)"
_PATTERN = re.compile(
    rb"(?P<iso>(\d{4})[-/](\d\d)[-/](\d\d)[T ]" + _CLOCK + rb"(?:[.,](\d{1,9}))? ?(Z|[+-]\d\d:?\d\d)?)"
    rb"|(?P<web>\[(\d\d)/(" + _NAMES + rb")/(\d{4}):" + _CLOCK + rb" ([+-]\d{4})\])"
    rb"|(?P<syslog>^(?:<\d+>)?(" + _NAMES + rb") ([ \d]\d) " + _CLOCK + rb"\b)"
    rb"|(?P<epoch>^\[?(\d{10})(\.\d+)?\b)"
)
_HEAD = 200


class LineTimes:
    """Tells lines' times. ``latest``: no line is younger (seconds since the epoch), which gives syslog's its year."""

    def __init__(self, latest: float) -> None:
        self._latest = latest
        self._known: tuple[bytes, float | None] = (b"", None)

    def of(self, line: bytes) -> float | None:
        """Seconds since the epoch; None if the line doesn't tell."""
        match = _PATTERN.search(line, 0, _HEAD)
        if match is None:
            return None
        if match[0] != self._known[0]:  # many lines have the same
            self._known = match[0], self._read(match)
        return self._known[1]

    def _read(self, match: re.Match[bytes]) -> float | None:
        kind = match.lastgroup
        words = [word.decode() for word in match.groups() if word is not None][1:]
        try:
            if kind == "epoch":
                return float("".join(words))
            if kind == "syslog":
                return self._with_year(words)
            return _moment(match, kind or "")
        except (ValueError, OverflowError, OSError):  # the 30th of February
            return None

    def _with_year(self, words: list[str]) -> float:
        """In the year that makes it no later than the latest, give or take a day for clocks that disagree."""
        month, day, *clock = words
        year = datetime.fromtimestamp(self._latest).astimezone().year
        hour, minute, second = map(int, clock)
        for candidate in (year, year - 1):
            found = datetime(candidate, _MONTHS.index(month) + 1, int(day), hour, minute, second).timestamp()  # noqa: DTZ001
            if found <= self._latest + 86400:
                return found
        return found


def _moment(match: re.Match[bytes], kind: str) -> float:
    text = match[0].decode()
    if kind == "web":
        return datetime.strptime(text, "[%d/%b/%Y:%H:%M:%S %z]").timestamp()
    day, clock = text[:10].replace("/", "-"), text[11:].replace(",", ".").replace(" ", "")
    return datetime.fromisoformat(f"{day}T{clock}").astimezone().timestamp()


def between(
    lines: Iterable[tuple[bytes, float]], since: float | None, until: float | None, carried: bool = False
) -> Iterator[bytes]:
    """The lines of a time; each comes with what bounds its time from above. ``carried``: whether the first belong."""
    times, bound, belongs = LineTimes(0), 0.0, carried
    for line, latest in lines:
        if latest != bound:
            times, bound = LineTimes(latest), latest
        when = times.of(line)
        if when is not None:
            belongs = (since is None or when >= since) and (until is None or when <= until)
        if belongs:
            yield line


def moment(text: str) -> float:
    """RFC 3339 as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
