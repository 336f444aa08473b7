"""Measures: how people write numbers with units, which are durations, periods, sizes, rates and shares.

Parsers take what YAML gave and raise `MalformedError`, as those of `filewatchd.notation` do; what is formatted is read
again as the same number.
"""

from __future__ import annotations

import re

from filewatchd.notation import MalformedError, quoted, shown

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"B": 1} | {
    letter + end: base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for end, base in (("B", 1000), ("iB", 1024))
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
DURATION_PATTERN = "^(?=.)" + "".join(rf"(?:{_NUMBER}{unit})?" for unit in _SECONDS) + "$"
SIZE_PATTERN = rf"^{_NUMBER} ?(?:[KkMGT]i?)?B$"
RATE_PATTERN = rf"^{_NUMBER} ?(?:(?:[KkMGT]i?)?B)?/[smh]$"
SHARE_PATTERN = rf"^{_NUMBER} ?%$"
ROOM_PATTERN = rf"^{_NUMBER} ?(?:%|(?:[KkMGT]i?)?B)$"
_LONGEST = 3.2e9  # a century, in seconds: beyond it timers overflow and somebody mistyped
_TOO_MANY = 2.0**63  # bytes: more than the kernel can count


def parse_duration(value: object) -> float:
    """Seconds of ``250ms``, ``5s``, ``10m``, ``1h``, ``1d``, or several with falling units: ``1h30m``.

    Raises:
        MalformedError: it isn't a duration, or is negative, or is longer than a century.
    """
    if value == 0 and not isinstance(value, bool):
        return 0.0
    text = str(value)
    if text.startswith("-"):
        raise MalformedError(f"a duration can't be negative: {quoted(text)}", "write one like 250ms, 5s, 10m, 1h or 1d")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise MalformedError(f"{text} has no unit", f"write {text}s for seconds, or another unit: ms, s, m, h, d")
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN[:-1], text, re.ASCII):
        raise MalformedError(f"{quoted(text)} is not a duration", "write one like 250ms, 5s, 10m, 1h, 1d or 1h30m")
    parts = re.findall(rf"({_NUMBER})([a-z]+)", text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        raise MalformedError(f"{quoted(text)} is longer than a century", "write a shorter duration, like 30d")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write a duration: ``600.0`` is ``10m``."""
    rest, text = round(seconds * 1000), ""
    for unit, factor in _SECONDS.items():
        count, rest = divmod(rest, round(factor * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: object) -> int:
    """Bytes of ``100``, ``64KiB``, ``100MiB``, ``1GB`` (KB, MB... are powers of 1000, KiB, MiB... of 1024).

    Raises:
        MalformedError: it isn't a size.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _TOO_MANY:
        return value
    match = re.fullmatch(rf"({_NUMBER}) ?([KkMGT]?i?B)", value, re.ASCII) if isinstance(value, str) else None
    unit = match[2].replace("k", "K") if match else ""
    size = float(match[1]) * _BYTES.get(unit, _TOO_MANY) if match else _TOO_MANY
    if size >= _TOO_MANY:
        raise MalformedError(f"{shown(value)} is not a size", "write one like 64KiB, 100MiB or 1GB")
    return int(size)


def format_size(size: int) -> str:
    """The shortest exact way to write a size."""
    for unit, factor in sorted(_BYTES.items(), key=lambda item: -item[1]):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_rate(value: object) -> float:
    """Bytes, or things, a second of ``50MB/s``, ``2000/s``, ``100/m``.

    Raises:
        MalformedError: it isn't a rate.
    """
    number, slash, period = value.partition("/") if isinstance(value, str) else ("", "", "")
    per = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(period)
    try:
        amount = float(number) if re.fullmatch(_NUMBER, number, re.ASCII) else float(parse_size(number))
    except MalformedError:
        per = None
    if not slash or per is None:
        raise MalformedError(f"{shown(value)} is not a rate", "write one like 50MB/s or 2000/s")
    return amount / per


def format_rate(rate: float) -> str:
    """A way to write a rate: bytes by their units from a million on, which no other rate reaches."""
    size = format_size(int(rate)) if rate >= 1e6 and rate.is_integer() else f"{rate:.6f}".rstrip("0").rstrip(".")
    return f"{size}/s"


def parse_share(value: object) -> float:
    """The fraction of ``10%``: 0.1.

    Raises:
        MalformedError: it isn't a share of 0 to 100 %.
    """
    match = re.fullmatch(rf"({_NUMBER}) ?%", value, re.ASCII) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise MalformedError(f"{shown(value)} is not a share", "write one like 10%")
    return float(match[1]) / 100


def parse_room(value: object) -> int | float:
    """Room on a filesystem: a share as a float, or a size as an int.

    Raises:
        MalformedError: it is neither.
    """
    try:
        return parse_share(value) if isinstance(value, str) and value.rstrip().endswith("%") else parse_size(value)
    except MalformedError as error:
        raise MalformedError(f"{shown(value)} is neither a share nor a size", "write one like 10% or 5GiB") from error


def format_room(room: int | float) -> str:
    """The text for it."""
    return f"{room * 100:g}%" if isinstance(room, float) else format_size(room)


def parse_every(value: object) -> float | str:
    """The period of a schedule: seconds, or ``hour``, ``day``, ``week``, ``month``.

    Raises:
        MalformedError: it is neither, or is shorter than a second.
    """
    if value in ("hour", "day", "week", "month"):
        return str(value)
    try:
        seconds = parse_duration(value)
    except MalformedError as error:
        raise MalformedError(str(error), "write hour, day, week, month, or a duration like 10m") from None
    if seconds < 1:
        raise MalformedError(f"{shown(value)} is too often", "a schedule's shortest period is 1s")
    return seconds
