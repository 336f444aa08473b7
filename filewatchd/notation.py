"""Notation: how people write signals, users, addresses, moments and paths, and how these are shown.

Parsers take what YAML gave (text, a number, a truth value) and raise `MalformedError`, whose text and hint are fit for
an operator. Numbers with units: `filewatchd.measures`. What they mean in an action's options: `filewatchd.values`.
"""

from __future__ import annotations

import base64
import grp
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


_LONGEST_SHOWN = 80  # characters of a value in a message


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
        raise MalformedError(f"{shown(value)} is not a signal", "write a name like TERM, INT, HUP or USR1") from None


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
    import ipaddress  # takes as long as all else here, and every `filewatchctl` loads this module

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
        raise MalformedError(f"{shown(value)} is not a {what} name", f"write the {what}'s name, not its number")
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
        raise MalformedError(f"{shown(value)} is not a path", "write a path, in quotes where it looks like a number")
    return value


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


def one_line(text: str) -> str:
    """Text on one line and safe for a terminal and a log.

    Names may hold control characters, escape sequences, marks that turn the direction of what is read, and bytes that
    are no text: these are escaped.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def shown(value: object) -> str:
    """A YAML value as a message shows it."""
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
