"""What the control socket offers: one table of routes, from which the server and the client both work.

HTTP/1.1 with JSON, under ``/v1``. A request's arguments are its JSON body, an object. Errors are ``{"error": TEXT}``
with a status of HTTP's own meaning.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from filewatchd.notation import path_fields

SOCKET = "control.sock"  # in the runtime directory


class Route(NamedTuple):
    """One thing that can be asked or done. ``acts``: it changes or holds something, which not every reader may."""

    name: str
    method: str
    path: str
    acts: bool
    summary: str


ROUTES = (
    Route("status", "GET", "/v1/status", False, "What the daemon does, root by root and rule by rule."),
    Route("flush", "POST", "/v1/flush", True, "Return once all that happened before has been worked."),
    Route("resume", "POST", "/v1/resume", True, "Let rules go on that a loop, their limit or a failed recovery holds."),
    Route("retry", "POST", "/v1/jobs/retry", True, "Try failed paths, and those in back-off, again now."),
)

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class RequestError(Exception):
    """A request that can't be answered: HTTP's status, and what is wrong with it in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def listed(path: str) -> dict[str, str]:
    """A path as JSON has it: with its bytes beside it where it isn't UTF-8."""
    return path_fields("path", path)


def time_text(when_ns: int) -> str:
    """A time as JSON has it: RFC 3339 with microseconds."""
    return datetime.fromtimestamp(when_ns / 1e9, UTC).isoformat(timespec="microseconds")


def socket_in(directory: str) -> str:
    """The socket's path in a runtime directory."""
    return os.path.join(directory, SOCKET)
