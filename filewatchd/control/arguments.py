"""What can be said with a request: one struct of arguments a route. Unknown and misspelt ones are errors.

A path that isn't valid UTF-8 is given as base64 of its bytes, under the name with ``_b64``; in a query string its
bytes may also be percent-encoded as they are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

RULE_MOST = 64  # characters of a rule's name
PATH_MOST = 16 * 1024  # characters of a path; base64 is longer than what it stands for
_LONGEST = 365 * 86400.0  # seconds
_DAY = 86400.0

Rule = Annotated[str, Meta(min_length=1, max_length=RULE_MOST, description="A rule's name.")]
Path = Annotated[str, Meta(min_length=1, max_length=PATH_MOST, description="A path.")]
JobId = Annotated[int, Meta(ge=1, le=(1 << 63) - 1, description="A job's number.")]
JobState = Literal["running", "backoff", "ok", "failed", "cancelled"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Arguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None; the base of all."""


class Jobs(Arguments, frozen=True, kw_only=True):
    """Which jobs are listed, newest first."""

    rule: Rule | None = None
    state: Annotated[JobState | None, Meta(description="Only jobs in this state.")] = None
    since: Annotated[str, Meta(max_length=40, description="Only jobs made since then (RFC 3339).")] | None = None
    before: Annotated[JobId | None, Meta(description="Only jobs with lower numbers: the next page.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many.")] = 50


class Job(Arguments, frozen=True, kw_only=True):
    """One job."""

    id: JobId


class Chosen(Arguments, frozen=True, kw_only=True):
    """Whose paths: those of one job, of one rule, or all. Exactly one has to be said."""

    id: JobId | None = None
    rule: Rule | None = None
    all: Annotated[bool, Meta(description="Those of all rules.")] = False


class Changes(Arguments, frozen=True, kw_only=True):
    """Which changes of the history, oldest first."""

    rule: Rule | None = None
    path: (
        Annotated[str, Meta(min_length=1, max_length=PATH_MOST, description="Only this path, or what is below it.")]
        | None
    ) = None
    path_b64: Annotated[str, Meta(max_length=PATH_MOST, description="The same as base64 of its bytes.")] | None = None
    since: (
        Annotated[
            str, Meta(max_length=80, description="Only changes after the one with this cursor; `0`: all that are kept.")
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, description="End after so many.")] | None = None
    follow: Annotated[bool, Meta(description="Wait for more when all is told, until the client hangs up.")] = False


class Explain(Arguments, frozen=True, kw_only=True):
    """A path that every rule is asked about, or a rule of which to say what it would do now."""

    path: Path | None = None
    path_b64: Annotated[str, Meta(max_length=PATH_MOST, description="The same as base64 of its bytes.")] | None = None
    rule: Annotated[
        Rule | None, Meta(description="With a path: this rule alone. Without: a dry run of what it would do now.")
    ] = None


class Flush(Arguments, frozen=True, kw_only=True):
    """What to wait for."""

    rule: Rule | None = None
    timeout: Annotated[float, Meta(ge=0, le=_DAY, description="Seconds to wait at most.")] = 60.0


class Trigger(Arguments, frozen=True, kw_only=True):
    """A job by hand: over these paths, changed or not, or over no path."""

    rule: Rule
    paths: Annotated[tuple[Path, ...], Meta(max_length=10_000, description="Absolute paths below its roots.")] = ()
    paths_b64: Annotated[tuple[str, ...], Meta(max_length=10_000, description="More, as base64 of their bytes.")] = ()
    dry_run: Annotated[bool, Meta(description="Only say what it would do, step by step.")] = False


class Pause(Arguments, frozen=True, kw_only=True):
    """Hold a rule: it goes on watching, and starts no job."""

    rule: Rule
    seconds: (
        Annotated[float, Meta(gt=0, le=_LONGEST, description="Go on by itself after so long; not unless it is said.")]
        | None
    ) = None
    reason: Annotated[str, Meta(max_length=500, description="Why, for people.")] = ""
    discard: Annotated[
        bool, Meta(description="Take what changes meanwhile as handled: it is told of, and never worked.")
    ] = False


class OneRule(Arguments, frozen=True, kw_only=True):
    """One rule, or all."""

    rule: Rule | None = None


class Diff(Arguments, frozen=True, kw_only=True):
    """Two generations of the configuration; the files as they are now where ``to`` isn't said."""

    from_generation: Annotated[int, Meta(ge=1, description="The older; the one in force unless said.")] | None = None
    to_generation: Annotated[int, Meta(ge=1, description="The newer; the files on disk unless said.")] | None = None


class Level(Arguments, frozen=True, kw_only=True):
    """How much is logged."""

    level: LogLevel
    seconds: (
        Annotated[float, Meta(gt=0, le=_LONGEST, description="Go back to the configuration's level after so long.")]
        | None
    ) = None


class Doctor(Arguments, frozen=True, kw_only=True):
    """How deep the examination goes."""

    quick: Annotated[bool, Meta(description="Don't walk trees: no watches counted, no patterns tried.")] = False
