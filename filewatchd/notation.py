"""Notation: how people write durations, sizes, rates, shares, signals, users, periods and paths.

Parsers take what YAML gave (text, a number, a truth value) and raise `MalformedError`, whose text and hint are fit for
an operator. What they mean in an action's options: `filewatchd.values`.
"""

from __future__ import annotations

import base64
import grp
import ipaddress
import os
import pwd
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime


class MalformedError(ValueError):
    """A value that can't be read: what is wrong with it, and what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# ---- numbers with units

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
_LONGEST_SHOWN = 80  # characters of a value in a message
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
        raise MalformedError(f"{_shown(value)} is not a size", "write one like 64KiB, 100MiB or 1GB")
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
        raise MalformedError(f"{_shown(value)} is not a rate", "write one like 50MB/s or 2000/s")
    return amount / per


def parse_share(value: object) -> float:
    """The fraction of ``10%``: 0.1.

    Raises:
        MalformedError: it isn't a share of 0 to 100 %.
    """
    match = re.fullmatch(rf"({_NUMBER}) ?%", value, re.ASCII) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise MalformedError(f"{_shown(value)} is not a share", "write one like 10%")
    return float(match[1]) / 100


def parse_room(value: object) -> int | float:
    """Room on a filesystem: a share as a float, or a size as an int.

    Raises:
        MalformedError: it is neither.
    """
    try:
        return parse_share(value) if isinstance(value, str) and value.rstrip().endswith("%") else parse_size(value)
    except MalformedError as error:
        raise MalformedError(f"{_shown(value)} is neither a share nor a size", "write one like 10% or 5GiB") from error


def format_room(room: int | float) -> str:
    """The text for it."""
    return f"{room * 100:g}%" if isinstance(room, float) else format_size(room)


# ---- names the system knows


def parse_signal(value: object) -> int:
    """The number of ``TERM``, ``SIGTERM`` or ``15``.

    Raises:
        MalformedError: this system has no such signal.
    """
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if isinstance(value, int) and not isinstance(value, bool) and value in signal.valid_signals():
        return int(value)
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise MalformedError(f"{_shown(value)} is not a signal", "write a name like TERM, INT, HUP or USR1") from None


def format_signal(number: int) -> str:
    """``15`` is ``TERM``."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def parse_user(value: object) -> str:
    """A user's name that this system knows.

    Raises:
        MalformedError: it doesn't.
    """
    return _known(value, "user", pwd.getpwnam, "create the user (useradd --system NAME) or name another")


def parse_group(value: object) -> str:
    """A group's name that this system knows.

    Raises:
        MalformedError: it doesn't.
    """
    return _known(value, "group", grp.getgrnam, "create the group (groupadd --system NAME) or name another")


def parse_principal(value: object) -> str:
    """A user's name, or ``@`` and a group's, that this system knows.

    Raises:
        MalformedError: it doesn't.
    """
    if isinstance(value, str) and value.startswith("@"):
        return f"@{parse_group(value[1:])}"
    return parse_user(value)


def parse_listen(value: object) -> str:
    """``ADDRESS:PORT`` of the loopback: ``127.0.0.1:9817``, ``[::1]:9817`` or ``localhost:9817``.

    Raises:
        MalformedError: it isn't, or the address is one that others reach.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[0-9A-Za-z.-]+):([0-9]{1,5})", str(value), re.ASCII)
    if found is None or not 0 < int(found[2]) < 65536:
        raise MalformedError(f"{quoted(value)} is no address and port", "write one like 127.0.0.1:9817")
    host = found[1].strip("[]")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise MalformedError(f"{quoted(host)} is no address", "write one like 127.0.0.1:9817") from None
    if not local:
        hint = "listen on 127.0.0.1 or [::1], and let a proxy that asks for a password pass it on"
        raise MalformedError(f"others could reach {host}", hint)
    return str(value)


def _known(value: object, what: str, find: Callable[[str], object], hint: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{_shown(value)} is not a {what} name", f"write the {what}'s name, not its number")
    try:
        find(value)
    except (KeyError, ValueError):
        raise MalformedError(f"no {what} named {quoted(value)} on this system", hint) from None
    return value


def parse_path(value: object) -> str:
    """A path's text, not yet made absolute (the configuration does that: it knows the file it stands in).

    Raises:
        MalformedError: it is empty, no text, or holds a NUL.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise MalformedError(f"{_shown(value)} is not a path", "write a path, in quotes where it looks like a number")
    return value


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
        raise MalformedError(f"{_shown(value)} is too often", "a schedule's shortest period is 1s")
    return seconds


def parse_moment(value: object) -> int:
    """A time in RFC 3339, as nanoseconds since the epoch; one further away than 64 bits reach is the furthest.

    Raises:
        MalformedError: it is none, or says no time zone.
    """
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise MalformedError("a time is expected", "for example 2030-01-31T12:00:00Z") from None
    if found.tzinfo is None:
        raise MalformedError("the time zone is missing", "append Z for UTC, or +01:00")
    since = found - datetime.fromtimestamp(0, UTC)
    seconds = since.days * 86_400 + since.seconds
    return max(-(2**63), min(seconds * 1_000_000_000 + since.microseconds * 1000, 2**63 - 1))


def quoted(text: object) -> str:
    """Text as a message shows it: quoted, on one line, not too long, without control characters."""
    shown = repr(str(text))
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}...{shown[0]}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else quoted(value) if isinstance(value, str) else str(value)


# ---- paths in JSON


def fit_text(text: str) -> str:
    """A text as it may be stored and sent: bytes that were no UTF-8 in a name stand as U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def path_fields(name: str, path: str) -> dict[str, str]:
    """A path as JSON text; where it isn't UTF-8, with U+FFFD, and the bytes in a second field."""
    raw = os.fsencode(path)
    text = raw.decode("utf-8", "replace")
    if text.encode() == raw:
        return {name: text}
    return {name: text, f"{name}_b64": base64.b64encode(raw).decode()}
