"""Where everything is asked for: the routes' methods and paths, by their names.

It stands apart from `api`, which adds what they take and answer, because a client needs no more than this, and the
types behind the rest take longer to load than a command may take in all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

SOCKET = "control.sock"  # in the runtime directory


class Place(NamedTuple):
    """A route's name, its method, and its path, in which ``{id}`` is the argument of that name."""

    name: str
    method: str
    path: str


PLACES: Mapping[str, Place] = {
    place.name: place
    for place in (
        Place("status", "GET", "/v1/status"),
        Place("rules", "GET", "/v1/rules"),
        Place("jobs", "GET", "/v1/jobs"),
        Place("job", "GET", "/v1/jobs/{id}"),
        Place("retry", "POST", "/v1/jobs/retry"),
        Place("cancel", "POST", "/v1/jobs/cancel"),
        Place("drop", "POST", "/v1/jobs/drop"),
        Place("changes", "GET", "/v1/changes"),
        Place("explain", "GET", "/v1/explain"),
        Place("flush", "POST", "/v1/flush"),
        Place("trigger", "POST", "/v1/trigger"),
        Place("pause", "POST", "/v1/pause"),
        Place("resume", "POST", "/v1/resume"),
        Place("reload", "POST", "/v1/config/reload"),
        Place("diff", "GET", "/v1/config/diff"),
        Place("level", "POST", "/v1/log-level"),
        Place("shutdown", "POST", "/v1/shutdown"),
        Place("doctor", "GET", "/v1/doctor"),
        Place("metrics", "GET", "/v1/metrics"),
        Place("health", "GET", "/v1/health"),
        Place("openapi", "GET", "/v1/openapi.json"),
    )
}


ACTIONS = "/v1/actions/"  # routes that actions bring


def action_place(action: str, endpoint: str, *, acts: bool = False) -> Place:
    """Where an action's endpoint is asked."""
    return Place(f"{action}.{endpoint}", "POST" if acts else "GET", f"{ACTIONS}{action}/{endpoint}")


class RequestError(Exception):
    """A request that can't be answered: HTTP's status, what is wrong with it in words, and more fields."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


def socket_in(directory: str) -> str:
    """The socket's path in a runtime directory."""
    return os.path.join(directory, SOCKET)
