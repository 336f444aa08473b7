"""What can be asked of a rotation over the control socket: what it would do, and to do it now."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, convert

from filewatchd.actions.base import Endpoint
from filewatchd.actions.rotate.ledger import Part
from filewatchd.errors import ActionError
from filewatchd.notation import path_fields


class Which(Struct, frozen=True, kw_only=True):
    """Which log."""

    path: Annotated[str | None, Meta(description="A log's path; all logs of the rule unless said.")] = None
    path_b64: Annotated[str | None, Meta(description="The same in base64, for a path that isn't UTF-8.")] = None

    def lives(self) -> list[str]:
        """The path, if one is said.

        Raises:
            ActionError: it can't be read.
        """
        if self.path_b64 is not None:
            try:
                return [os.fsdecode(base64.b64decode(self.path_b64, validate=True))]
            except binascii.Error:
                raise ActionError("path_b64 isn't base64") from None
        return [self.path] if self.path is not None else []


class Asked(Which, frozen=True, kw_only=True):
    """Which log, and whether it must be due."""

    force: Annotated[bool, Meta(description="Rotate although it isn't due.")] = False


class Planned(Struct, kw_only=True):
    """What would be done with a log."""

    path: str
    path_b64: str | None = None
    due: Annotated[str, Meta(description="Why it is due; empty if it isn't.")]
    method: Annotated[str, Meta(description="exchange, collapse, punch, copy, copytruncate, or refuse.")]
    reasons: Annotated[list[str], Meta(description="Why this method.")]
    size: Annotated[int, Meta(description="Bytes that no archive has.")]


class Plans(Struct, kw_only=True):
    """What would be done."""

    logs: list[Planned]


class Done(Struct, kw_only=True):
    """What was done with a log."""

    path: str
    path_b64: str | None = None
    verdict: Annotated[str, Meta(description="ok, skipped, rejected or failed.")]
    why: str


class Rotated(Struct, kw_only=True):
    """What was done."""

    logs: list[Done]


class Stretch(Struct, kw_only=True):
    """A stretch of a log's lines."""

    path: str
    path_b64: str | None = None
    codec: Annotated[str, Meta(description="How the file is compressed; `none` is plain text.")]
    start: Annotated[int, Meta(description="Where in the file it begins.")]
    end: Annotated[int | None, Meta(description="Where it ends; null: at the file's end.")]
    first_ns: Annotated[int, Meta(description="No line is older (nanoseconds since the epoch); 0: nobody knows.")]
    last_ns: Annotated[int | None, Meta(description="No line is younger; null: it still grows.")]
    archive: Annotated[int | None, Meta(description="The archive's number; null: the log itself.")]


class Archives(Struct, kw_only=True):
    """Where a log's lines are, oldest first."""

    parts: list[Stretch]


def stretches(parts: Sequence[Part]) -> Archives:
    """As a document."""
    return Archives(parts=[convert({**part._asdict(), **path_fields("path", part.path)}, Stretch) for part in parts])


ENDPOINTS = (
    Endpoint("archives", "Which files have a log's lines, as `filewatchctl archive` reads them.", Archives, Which),
    Endpoint("plan", "What a rotation would do, and why by this method; nothing is done.", Plans, Which),
    Endpoint(
        "rotate", "Rotate logs that are due now, or all the same, and tell how that went.", Rotated, Asked, acts=True
    ),
)


def done(live: str, verdict: str, why: str) -> Done:
    """A document of one log."""
    return Done(**path_fields("path", live), verdict=verdict, why=why)
