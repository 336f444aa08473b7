"""The keys of a rule, and of ``defaults:``; the others stand in `schema`, which tells what all of them are for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from filewatchd.extras import BACKENDS
from filewatchd.model import BatchBy, Busy, Initial, Kind, Ready
from filewatchd.notation import MalformedError, quoted
from filewatchd.patterns import translated
from filewatchd.values import ActionList, Duration, Every, PathTo, Reader, TimeOfDay, User, Weekday, annotation

BACKENDS_ALLOWED = ("auto", *BACKENDS)
NAME_PATTERN = "[A-Za-z0-9_.-]{1,64}"


def _parse_name(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{value} is not a rule's name", "put it in quotes")
    if not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        raise MalformedError(f"{quoted(value)} is not a rule's name", "use 1 to 64 letters, digits, '_', '.' and '-'")
    return value


def _parse_pattern(value: object) -> str:
    """A gitignore pattern; what it matches is decided elsewhere."""
    if not isinstance(value, str):
        raise MalformedError(f"{value} is not a pattern", "put it in quotes")
    if translated(value, files_only=False) is None:
        raise MalformedError(f"the pattern {quoted(value)} matches nothing", "remove it, or write \\#")
    return value


def _parse_backend(value: object) -> str:
    if value not in BACKENDS_ALLOWED:
        hint = f"write one of: {', '.join(BACKENDS_ALLOWED)}"
        raise MalformedError(f"there is no backend {quoted(value)}", hint)
    return str(value)


def about(description: str) -> Meta:
    """What a key does, for editors and the reference."""
    return Meta(description=description)


Name = Annotated[str, annotation(Reader("rule name", _parse_name), type="string", pattern=f"^{NAME_PATTERN}$")]
Pattern = Annotated[str, annotation(Reader("pattern", _parse_pattern), type="string", minLength=1)]
Backend = Annotated[str, annotation(Reader("backend", _parse_backend), enum=BACKENDS_ALLOWED)]
Positive = Annotated[int, Meta(ge=1)]
SomeTime = Annotated[Duration, Meta(gt=0)]
_UNITS: dict[float | str, str] = {
    3600.0: "hour",
    86400.0: "day",
    604800.0: "week",
    **{unit: unit for unit in ("hour", "day", "week", "month")},
}


class RetryOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a failed path is tried in all, and the pauses between: each twice the last, with some jitter."""

    attempts: Annotated[Positive, about("Tries in all; 1 is no retry.")] = 3
    backoff: Annotated[SomeTime, about("The first pause.")] = 1.0
    max_backoff: Annotated[SomeTime, about("The longest pause.")] = 300.0

    def __post_init__(self) -> None:
        if self.backoff > self.max_backoff:
            raise MalformedError("backoff is longer than max_backoff", "make max_backoff at least as long")


class LimitOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A brake on mass changes: a rule with more changed paths in the period pauses, says why, and asks."""

    paths: Annotated[Positive, about("Changed paths that are still ordinary.")]
    per: Annotated[SomeTime, about("The period in which they are counted.")]


class ExpectOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dead man's switch: a finding tells when no change came in a period. It goes when something comes."""

    every: Annotated[Every, about("How often something must come: a duration, or hour, day, week or month.")]
    by: Annotated[TimeOfDay | None, about("When each period ends, HH:MM; of an hour only the minutes count.")] = None
    weekday: Annotated[Weekday | None, about("The day on which a week, or a month's first, ends: mon to sun.")] = None
    timezone: Annotated[str | None, about("An IANA time zone; the system's where it isn't said.")] = None

    def __post_init__(self) -> None:
        unit = _UNITS.get(self.every, "") if self.by or isinstance(self.every, str) else ""
        if not unit and self.by:
            raise MalformedError("`by` goes with every: hour, day, week or month", "write one of them, or remove `by`")
        if self.weekday and unit not in ("week", "month"):
            raise MalformedError("`weekday` goes with every: week or month", "write one of them, or remove `weekday`")
        if isinstance(self.every, float | int) and self.every < 1:
            raise MalformedError("the shortest period is 1s", "write a longer one")
        _check_zone(self.timezone)


def _check_zone(name: str | None) -> None:
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        hint = "use a name like Europe/Berlin, or install tzdata"
        raise MalformedError(f"the time zone {quoted(name or '')} is unknown here", hint) from None


class RuleDefaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `defaults:` may say for all rules, below what a rule says itself."""

    enabled: Annotated[bool, about("`false`: the rule is checked, and does nothing.")] = True
    recursive: Annotated[bool, about("Whether directories below a root belong to it.")] = True
    include: Annotated[
        tuple[Pattern, ...],
        about("gitignore patterns, relative to the root, of the files the rule is for; none: all files."),
    ] = ()
    exclude: Annotated[
        tuple[Pattern, ...],
        about("gitignore patterns of files and directories the rule is not for; what is below them is left out too."),
    ] = ()
    presets: Annotated[
        tuple[Literal["editors", "packages", "vcs"], ...],
        about(
            "Ready-made excludes: `editors` (swap and backup files), `packages` (`*.dpkg-new`...), `vcs` (`.git/`...)."
        ),
    ] = ("editors",)
    changes: Annotated[
        tuple[Kind, ...],
        Meta(min_length=1),
        about("The kinds of change the rule is for: `created`, `modified`, `deleted`, `moved`, `metadata`."),
    ] = (Kind.CREATED, Kind.MODIFIED, Kind.MOVED)
    ready: Annotated[
        Ready,
        about(
            "When a file counts as complete. `closed`: its writer closed it, or it was moved in. `stable`: settled, and"
            " no writer has it open. `immediate`: as it is."
        ),
    ] = Ready.CLOSED
    ready_timeout: Annotated[
        SomeTime, about("After this time, a file still held open is listed as `held`, with its writers.")
    ] = 3600.0
    settle: Annotated[Duration, about("Quiet time since a path's last change before it is looked at.")] = 0.2
    max_wait: Annotated[Duration, about("The cap on how long settling may delay a change.")] = 10.0
    batch: Annotated[
        BatchBy,
        about("`path`: each path settles by itself. `rule`: wait until the whole rule is quiet, one job for all."),
    ] = BatchBy.PATH
    initial: Annotated[
        Initial,
        about(
            "Files that were there before the rule, or on a filesystem when it is first mounted: `ignore` them, or"
            " `process` each once."
        ),
    ] = Initial.IGNORE
    on_busy: Annotated[
        Busy,
        about(
            "Due paths while the rule's job runs. `queue`: wait. `restart`: cancel the job and begin anew with all."
            " `skip`: leave them dirty and count them. `parallel`: start another job."
        ),
    ] = Busy.QUEUE
    concurrency: Annotated[
        Positive | None, about("Jobs of the rule at once, with `on_busy: parallel`. Default 2 there, else 1.")
    ] = None
    retry: Annotated[RetryOption, about("How failed paths are tried again.")] = RetryOption()
    timeout: Annotated[SomeTime, about("How long one run of an action may take.")] = 600.0
    limit: Annotated[
        LimitOption | None, about("A brake on mass changes, such as `{paths: 1000, per: 1m}`. Off unless set.")
    ] = None
    user: Annotated[
        User | None, about("A daemon run by root does this rule's work as this user. Unset: as itself.")
    ] = None
    strict: Annotated[
        bool, about("Also look for content rewritten with size and mtime put back, while nobody looked (by ctime).")
    ] = False
    follow_symlinks: Annotated[
        Literal["never", "files"], about("Symbolic links below a root: `never`, or follow those that lead to `files`.")
    ] = "never"
    on_failure: Annotated[
        ActionList,
        about("What to do once when the rule fails: a job failed for good, or the rule is held but by a person."),
    ] = ()
    on_recovery: Annotated[
        ActionList, about("What to do once when it works again, or when a finding doesn't stand any more.")
    ] = ()
    on_finding: Annotated[
        ActionList, about("What to do about new findings, such as of `expect`; all that there are at once.")
    ] = ()
    backend: Annotated[Backend, about("How changes are noticed: `auto` chooses for each root, others insist.")] = "auto"


class Rule(RuleDefaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to watch, when, and what to do then."""

    name: Annotated[Name, about("Its name, unique; state is kept under it (see `renamed_from`).")]
    description: Annotated[str, about("What it is for.")] = ""
    roots: Annotated[
        tuple[PathTo, ...],
        Meta(min_length=1),
        about("Directories, files or globs to watch. They may be missing: the rule waits for them."),
    ]
    actions: Annotated[
        tuple[Any, ...],
        Meta(min_length=1),
        about("What to do, in this order: each entry names one action, with its options."),
    ]
    expect: Annotated[
        ExpectOption | None, about('A finding when nothing came, such as `{every: 1d, by: "06:00"}`. Off unless set.')
    ] = None
    renamed_from: Annotated[
        Name | None, about("The rule's former name: what it has handled so far is carried over.")
    ] = None
