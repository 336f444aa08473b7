"""What the control socket offers: one table of routes, from which server, client, reference and OpenAPI file are made.

HTTP/1.1 with JSON, under ``/v1``. A request's arguments are its JSON body, an object; those of a GET are its query
string; ``{id}`` in a path is the argument of that name. Errors are ``{"error": TEXT}`` with a status of HTTP's own
meaning. Actions add routes of their own, below ``/v1/actions``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from filewatchd.control import arguments as a
from filewatchd.control import documents as d
from filewatchd.control.places import ACTIONS, PLACES, SOCKET, RequestError, socket_in
from filewatchd.notation import path_fields

__all__ = [
    "ACTIONS", "LINES", "METRICS", "ROUTES", "SOCKET", "Answer", "Handler", "Peer", "RequestError", "Route", "Stream",
    "Text", "decoded", "listed", "socket_in", "time_text",
]  # fmt: skip

_EPOCH = datetime.fromtimestamp(0, UTC)
LINES = "application/x-ndjson"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Route(NamedTuple):
    """One thing that can be asked or done.

    Attributes:
        name: what handlers and client call it by.
        acts: it changes or holds something, which not every reader may.
        summary: a sentence.
        arguments: what can be said with it.
        answer: the document; of a stream, one line of it; None for text.
        media: the answer's media type.
        errors: statuses beyond those that every route may have, with their meaning here.
        told: those of them that come with the answer's document.
    """

    name: str
    method: str
    path: str
    acts: bool
    summary: str
    arguments: type[a.Arguments] = a.Arguments
    answer: Any = None
    media: str = "application/json"
    errors: tuple[tuple[int, str], ...] = ()
    told: tuple[int, ...] = ()

    @property
    def streams(self) -> bool:
        """Whether its answer is a stream of lines."""
        return self.media == LINES


_UNWRITABLE = ((503, "The job journal can't be written, or a filesystem doesn't answer."),)
_BAD_CONFIG = ((422, "The configuration on disk has mistakes; they are listed."),)

ROUTES = (
    Route(*PLACES["status"], False, "What the daemon does, root by root and rule by rule.",
          answer=d.Status),
    Route(*PLACES["rules"], False, "The rules as they are configured, and how they are.", answer=d.Rules),
    Route(*PLACES["jobs"], False, "Jobs, newest first.", a.Jobs, d.Jobs),
    Route(*PLACES["job"], False,
          "The whole story of a job: events, changes, attempts, output, and the times between.", a.Job, d.Job),
    Route(*PLACES["retry"], True, "Try failed paths, and those in back-off, again now.",
          a.Chosen, d.Retried),
    Route(*PLACES["cancel"], True, "Cancel a job that runs or waits; its paths stay open.",
          a.Job, d.Cancelled, errors=((409, "The job has ended."), *_UNWRITABLE)),
    Route(*PLACES["drop"], True, "Give failed and cancelled paths up: take them as handled.",
          a.Chosen, d.Dropped, errors=_UNWRITABLE),
    Route(*PLACES["changes"], False, "The changes that rules had, a line each: kept ones, and live.",
          a.Changes, d.ChangeLine | d.Missed, LINES, ((410, "The history doesn't go back so far, or began anew."),)),
    Route(*PLACES["explain"], False,
          "Why a path matches rules or doesn't, and what waits for it; or what a rule would do now.",
          a.Explain, d.Explained, errors=((503, "A filesystem of the rule doesn't answer."),)),
    Route(*PLACES["flush"], True, "Return once all that happened before has been worked.",
          a.Flush, d.Flushed),
    Route(*PLACES["trigger"], True, "Ask for a job by hand.", a.Trigger, d.Triggered,
          errors=((503, "A filesystem doesn't answer."),)),
    Route(*PLACES["pause"], True, "Hold a rule; kept over restarts.", a.Pause, d.Paused,
          errors=_UNWRITABLE),
    Route(*PLACES["resume"], True,
          "Let rules go on that are paused, or held by a loop, their limit or a failed recovery.",
          a.OneRule, d.Resumed, errors=_UNWRITABLE),
    Route(*PLACES["reload"], True, "Read the configuration anew, whole or not at all.",
          answer=d.Reloaded, errors=_BAD_CONFIG),
    Route(*PLACES["diff"], False, "What differs between two generations, or would by a reload.",
          a.Diff, d.Differences, errors=_BAD_CONFIG),
    Route(*PLACES["level"], True, "Log more or less, until the next reload or for a time.",
          a.Level, d.Level),
    Route(*PLACES["shutdown"], True, "Finish what runs, and end.", answer=d.Ending),
    Route(*PLACES["doctor"], False, "Examine limits, filesystems, backends, patterns and state.",
          a.Doctor, d.Examined),
    Route(*PLACES["metrics"], False, "Metrics in Prometheus' text format.", media=METRICS,
          errors=((501, "The extra `metrics` isn't installed."),)),
    Route(*PLACES["health"], False, "Whether the daemon is well.", answer=d.Health,
          errors=((503, "It isn't; the document says why."),), told=(503,)),
    Route(*PLACES["openapi"], False, "This API as an OpenAPI 3.1 document, actions' routes too."),
)  # fmt: skip


class Stream(NamedTuple):
    """An answer without an end: pieces of whole lines."""

    pieces: AsyncIterator[bytes]


class Text(NamedTuple):
    """An answer that is no document, in the route's media type."""

    text: str


class Told(NamedTuple):
    """A document with another status than 200."""

    status: int
    document: Any  # a struct; an action's, too


class Peer(NamedTuple):
    """The process that connected, as it was when it did."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()  # besides
    acts: bool = False  # whether it may act, as far as handlers are told


Answer = d.Document | Told | Stream | Text
Handler = Callable[[Any, Peer], Awaitable[Answer]]  # arguments of the route's own type


def listed(path: str) -> dict[str, str]:
    """A path as JSON has it: with its bytes beside it where it isn't UTF-8."""
    return path_fields("path", path)


def words(text: str) -> str:
    """A message as JSON has it: names in it may not be UTF-8, they get U+FFFD."""
    return path_fields("words", text)["words"]


def decoded(text: str, argument: str) -> str:
    """A path that an argument gives as base64 of its bytes.

    Raises:
        RequestError: it isn't base64.
    """
    try:
        return os.fsdecode(base64.b64decode(text, validate=True))
    except ValueError:
        raise RequestError(400, f"{argument}: it isn't base64") from None


def time_text(when_ns: int) -> str:
    """A time as JSON has it: RFC 3339 with microseconds; never later than the time itself."""
    return (_EPOCH + timedelta(microseconds=when_ns // 1000)).isoformat(timespec="microseconds")
