"""URLs and headers in options: how they are written, checked, and read with their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from filewatchd.actions.base import Problem
from filewatchd.actions.secrecy import secret_problems
from filewatchd.errors import ActionError, SecretError
from filewatchd.notation import MalformedError, quoted
from filewatchd.values import Reader, Secret, annotation

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_REMEDY = "write http://HOST/ or https://HOST/"
_OURS = ("connection", "content-length", "host", "transfer-encoding")


def parse_url(value: object) -> str:
    """An http or https URL with a host.

    Raises:
        MalformedError: it isn't one.
    """
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError as error:
        raise MalformedError(
            f"{quoted(str(value))} is no URL: {error}", "write http://HOST/ or https://HOST/"
        ) from None
    if not whole or not text.isascii() or re.search(r"[\s\x00-\x20\x7f]", text):
        raise MalformedError(f"{quoted(str(value))} is no URL of http or https", _REMEDY)
    if parts.username is not None:
        raise MalformedError("a URL here can't have a password in it", "write it into headers, as {file: PATH}")
    return text


Url = Annotated[
    str,
    annotation(
        Reader("URL", parse_url), type="string", pattern="^https?://", examples=["http://127.0.0.1:8080/-/reload"]
    ),
]


def header_problems(headers: Mapping[str, str | Secret], where: str = "headers") -> Iterator[Problem]:
    """Names and values that no request can have, or that are ours to say."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            yield Problem(f"{name!r} can't be a header's name", "write NAME: VALUE", (where, name))
        elif name.lower() in _OURS:
            yield Problem(f"the header {name} can't be chosen", "remove it", (where, name))
        elif isinstance(value, str) and not _sendable(value):
            yield Problem(f"the value of {name} can't be sent", "write one line, without blanks around", (where, name))
        elif isinstance(value, Secret):
            yield from secret_problems(value, (where, name))


def revealed(headers: Mapping[str, str | Secret]) -> list[tuple[str, str]]:
    """Headers with their secrets read. Blocks.

    Raises:
        ActionError: a secret can't be read, or can't be sent.
    """
    found = []
    for name, value in headers.items():
        try:
            text = value.reveal() if isinstance(value, Secret) else value
        except SecretError as error:
            raise ActionError(f"the secret of the header {name} can't be read: {error}") from error
        if not _sendable(text):
            raise ActionError(f"the secret of the header {name} can't be sent: it has line ends or blanks around")
        found.append((name, text))
    return found


def secrets_of(headers: Mapping[str, str | Secret], found: Sequence[tuple[str, str]]) -> list[str]:
    """Of headers that have been revealed, those that nobody shall see."""
    return [value for name, value in found if isinstance(headers[name], Secret)]


def _sendable(value: str) -> bool:
    return value == value.strip() and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
