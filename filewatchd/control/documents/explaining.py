"""Why a path matches or doesn't, and what would be done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from filewatchd.control.documents.common import Bytes, Document, Time, about


class Reason(Struct, kw_only=True):
    """One thing that was asked about the path, in the order in which a rule asks."""

    about: Literal["enabled", "root", "type", "exclude", "preset", "include", "changes", "ready", "paused", "user"]
    passed: bool
    text: str
    where: Annotated[str | None, about("FILE:LINE of the key that decides.")] = None


class Pending(Struct, kw_only=True):
    """What waits for a path."""

    state: Literal["dirty", "taken", "backoff", "failed", "skipped", "held"]
    since: Time | None
    due: Annotated[Time | None, about("When it is looked at next.")]
    job: int | None
    events: Annotated[list[str], about("What was noticed of it, as in a job's story.")]
    writers: Annotated[list[str], about("Of a `held` one: the programs that have it open for writing.")]


class Verdict(Struct, kw_only=True):
    """What one rule makes of a path."""

    rule: str
    matches: bool
    why: Annotated[str, about("In one sentence.")]
    reasons: list[Reason]
    pending: Pending | None
    known: Annotated[dict[str, Any] | None, about("What it was when the rule last handled it.")]


Together = Annotated[
    list[str] | UnsetType, about("What the actions would do that are given all paths at once, or a job over no path.")
]


class Planned(Struct, kw_only=True):
    """A change that a rule would work now."""

    kind: str
    path: str
    path_b64: Bytes = UNSET
    old_path: str | UnsetType = UNSET
    old_path_b64: Bytes = UNSET
    steps: Annotated[list[str], about("What the actions that go path by path would do with it, in order.")]


class Explained(Document, kw_only=True):
    """Why a path matches rules or doesn't, or what a rule would do now."""

    path: str | UnsetType = UNSET
    path_b64: Bytes = UNSET
    exists: Annotated[
        str | UnsetType, about("file, directory, symlink, other (also where it isn't told), or nothing.")
    ] = UNSET
    rules: list[Verdict] | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    planned: list[Planned] | UnsetType = UNSET
    together: Together = UNSET
    more: Annotated[int | UnsetType, about("Changes that aren't listed.")] = UNSET
