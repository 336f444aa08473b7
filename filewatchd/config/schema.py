"""The schema of the YAML: every key with its type, its default and a sentence about it.

These structs are the only place where a key is declared. The conversion, the JSON Schema for editors
(`editors.py`), ``check --show`` and the reference in ``docs/`` all read them here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from filewatchd.extras import BACKENDS
from filewatchd.model import BatchBy, Busy, Initial, Kind, Ready
from filewatchd.notation import MalformedError, parse_listen, parse_principal, quoted
from filewatchd.patterns import translated
from filewatchd.values import ActionList, Duration, Every, PathTo, Reader, Size, TimeOfDay, User, Weekday, annotation

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


def _about(description: str) -> Meta:
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


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept of finished jobs, and of changes; what exceeds a bound is forgotten, oldest first."""

    jobs: Annotated[Positive, _about("Finished jobs to keep.")] = 10_000
    age: Annotated[SomeTime, _about("How long to keep them.")] = 30 * 86400.0
    changes: Annotated[
        Positive, _about("Changes to keep for `filewatchctl changes --since`, oldest forgotten first.")
    ] = 200_000


def _parse_instance(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        raise MalformedError(f"{quoted(value)} is not a name", "use 1 to 64 letters, digits, '_', '.' and '-'")
    return value


Instance = Annotated[str, annotation(Reader("instance", _parse_instance), type="string", pattern=f"^{NAME_PATTERN}$")]
Principal = Annotated[str, annotation(Reader("principal", parse_principal), type="string", examples=["nagios", "@adm"])]
Listen = Annotated[str, annotation(Reader("listen", parse_listen), type="string", examples=["127.0.0.1:9817"])]


class Daemon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The daemon itself. A reload changes all but `state_dir`, `runtime_dir` and `durability`, which need a restart."""

    state_dir: Annotated[PathTo, _about("Directory of the job journal, the manifest and other state (0700).")] = (
        "/var/lib/filewatchd"
    )
    runtime_dir: Annotated[PathTo, _about("Directory of the control socket.")] = "/run/filewatchd"
    shutdown_timeout: Annotated[Duration, _about("How long running jobs may take to finish when the daemon stops.")] = (
        30.0
    )
    durability: Annotated[
        Literal["normal", "full"],
        _about(
            "`normal`: finished jobs survive kill -9; a power cut may repeat the last ones. `full`: fsync each outcome."
        ),
    ] = "normal"
    max_running: Annotated[Positive, _about("Jobs that may run at once, over all rules.")] = 8
    history: Annotated[History, _about("How much of finished jobs and of changes is kept.")] = History()
    instance: Annotated[Instance, _about("Its name among several daemons of one host, in every JSON document.")] = (
        "main"
    )
    reload_on_change: Annotated[
        bool, _about("Reload by itself when a file of the configuration has changed and is in order.")
    ] = False


class Control(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask and steer the daemon over its socket, besides root and its own user; and where metrics are put."""

    read: Annotated[tuple[Principal, ...], _about("Users, and groups as `@group`, who may ask.")] = ()
    act: Annotated[tuple[Principal, ...], _about("Users, and groups as `@group`, who may ask and act.")] = ()
    listen: Annotated[
        Listen | None, _about("A loopback address and port for `/metrics` and `/healthz` alone. Off unless set.")
    ] = None
    textfile: Annotated[
        PathTo | None, _about("A file for node_exporter's textfile collector (`*.prom`). Off unless set.")
    ] = None
    textfile_every: Annotated[SomeTime, _about("How often it is written.")] = 15.0


class KeepLogs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many old log files stay."""

    count: Annotated[int, Meta(ge=0), _about("Old log files to keep.")] = 5


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a log file of ours is set aside."""

    size: Annotated[Size, Meta(ge=1024), _about("Set the file aside when it is this large.")] = 10_000_000
    keep: Annotated[KeepLogs, _about("How many old files stay.")] = KeepLogs()


class LogFiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log files, for hosts without a journal."""

    path: Annotated[PathTo, _about("The log file.")]
    rotate: Annotated[Rotation, _about("When the files are set aside.")] = Rotation()
    errors: Annotated[PathTo | None, _about("A second file, for warnings and errors alone.")] = None


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon says, and where."""

    console: Annotated[
        Literal["auto", "text", "json", "journal", "off"],
        _about("Standard error: `auto` chooses by what it is connected to. `journal`: systemd's, with fields."),
    ] = "auto"
    format: Annotated[Literal["text", "json"], _about("How the log files are written.")] = "text"
    level: Annotated[Literal["debug", "info", "warning", "error"], _about("The least that is logged.")] = "info"
    files: Annotated[LogFiles | None, _about("Log files; none unless set.")] = None


class RetryOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a failed path is tried in all, and the pauses between: each twice the last, with some jitter."""

    attempts: Annotated[Positive, _about("Tries in all; 1 is no retry.")] = 3
    backoff: Annotated[SomeTime, _about("The first pause.")] = 1.0
    max_backoff: Annotated[SomeTime, _about("The longest pause.")] = 300.0

    def __post_init__(self) -> None:
        if self.backoff > self.max_backoff:
            raise MalformedError("backoff is longer than max_backoff", "make max_backoff at least as long")


class LimitOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A brake on mass changes: a rule with more changed paths in the period pauses, says why, and asks."""

    paths: Annotated[Positive, _about("Changed paths that are still ordinary.")]
    per: Annotated[SomeTime, _about("The period in which they are counted.")]


class ExpectOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dead man's switch: a finding tells when no change came in a period. It goes when something comes."""

    every: Annotated[Every, _about("How often something must come: a duration, or hour, day, week or month.")]
    by: Annotated[TimeOfDay | None, _about("When each period ends, HH:MM; of an hour only the minutes count.")] = None
    weekday: Annotated[Weekday | None, _about("The day on which a week, or a month's first, ends: mon to sun.")] = None
    timezone: Annotated[str | None, _about("An IANA time zone; the system's where it isn't said.")] = None

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

    enabled: Annotated[bool, _about("`false`: the rule is checked, and does nothing.")] = True
    recursive: Annotated[bool, _about("Whether directories below a root belong to it.")] = True
    include: Annotated[
        tuple[Pattern, ...],
        _about("gitignore patterns, relative to the root, of the files the rule is for; none: all files."),
    ] = ()
    exclude: Annotated[
        tuple[Pattern, ...],
        _about("gitignore patterns of files and directories the rule is not for; what is below them is left out too."),
    ] = ()
    presets: Annotated[
        tuple[Literal["editors", "packages", "vcs"], ...],
        _about(
            "Ready-made excludes: `editors` (swap and backup files), `packages` (`*.dpkg-new`...), `vcs` (`.git/`...)."
        ),
    ] = ("editors",)
    changes: Annotated[
        tuple[Kind, ...],
        Meta(min_length=1),
        _about("The kinds of change the rule is for: `created`, `modified`, `deleted`, `moved`, `metadata`."),
    ] = (Kind.CREATED, Kind.MODIFIED, Kind.MOVED)
    ready: Annotated[
        Ready,
        _about(
            "When a file counts as complete. `closed`: its writer closed it, or it was moved in. `stable`: settled, and"
            " no writer has it open. `immediate`: as it is."
        ),
    ] = Ready.CLOSED
    ready_timeout: Annotated[
        SomeTime, _about("After this time, a file still held open is listed as `held`, with its writers.")
    ] = 3600.0
    settle: Annotated[Duration, _about("Quiet time since a path's last change before it is looked at.")] = 0.2
    max_wait: Annotated[Duration, _about("The cap on how long settling may delay a change.")] = 10.0
    batch: Annotated[
        BatchBy,
        _about("`path`: each path settles by itself. `rule`: wait until the whole rule is quiet, one job for all."),
    ] = BatchBy.PATH
    initial: Annotated[
        Initial,
        _about(
            "Files that were there before the rule, or on a filesystem when it is first mounted: `ignore` them, or"
            " `process` each once."
        ),
    ] = Initial.IGNORE
    on_busy: Annotated[
        Busy,
        _about(
            "Due paths while the rule's job runs. `queue`: wait. `restart`: cancel the job and begin anew with all."
            " `skip`: leave them dirty and count them. `parallel`: start another job."
        ),
    ] = Busy.QUEUE
    concurrency: Annotated[
        Positive | None, _about("Jobs of the rule at once, with `on_busy: parallel`. Default 2 there, else 1.")
    ] = None
    retry: Annotated[RetryOption, _about("How failed paths are tried again.")] = RetryOption()
    timeout: Annotated[SomeTime, _about("How long one run of an action may take.")] = 600.0
    limit: Annotated[
        LimitOption | None, _about("A brake on mass changes, such as `{paths: 1000, per: 1m}`. Off unless set.")
    ] = None
    user: Annotated[
        User | None, _about("A daemon run by root does this rule's work as this user. Unset: as itself.")
    ] = None
    strict: Annotated[
        bool, _about("Also look for content rewritten with size and mtime put back, while nobody looked (by ctime).")
    ] = False
    follow_symlinks: Annotated[
        Literal["never", "files"], _about("Symbolic links below a root: `never`, or follow those that lead to `files`.")
    ] = "never"
    on_failure: Annotated[
        ActionList,
        _about("What to do once when the rule fails: a job failed for good, or the rule is held but by a person."),
    ] = ()
    on_recovery: Annotated[
        ActionList, _about("What to do once when it works again, or when a finding doesn't stand any more.")
    ] = ()
    on_finding: Annotated[
        ActionList, _about("What to do about new findings, such as of `expect`; all that there are at once.")
    ] = ()
    backend: Annotated[Backend, _about("How changes are noticed: `auto` chooses for each root, others insist.")] = (
        "auto"
    )


class Rule(RuleDefaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to watch, when, and what to do then."""

    name: Annotated[Name, _about("Its name, unique; state is kept under it (see `renamed_from`).")]
    description: Annotated[str, _about("What it is for.")] = ""
    roots: Annotated[
        tuple[PathTo, ...],
        Meta(min_length=1),
        _about("Directories, files or globs to watch. They may be missing: the rule waits for them."),
    ]
    actions: Annotated[
        tuple[Any, ...],
        Meta(min_length=1),
        _about("What to do, in this order: each entry names one action, with its options."),
    ]
    expect: Annotated[
        ExpectOption | None, _about('A finding when nothing came, such as `{every: 1d, by: "06:00"}`. Off unless set.')
    ] = None
    renamed_from: Annotated[
        Name | None, _about("The rule's former name: what it has handled so far is carried over.")
    ] = None


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration file. A rule file may hold `rules` (and `version`) alone."""

    version: Annotated[Literal[1], _about("The format of this file: 1.")]
    daemon: Annotated[Daemon | None, _about("The daemon itself.")] = None
    logging: Annotated[Logging | None, _about("What the daemon says, and where.")] = None
    control: Annotated[Control | None, _about("Who may ask and steer it, and where metrics are put.")] = None
    defaults: Annotated[RuleDefaults | None, _about("Values for all rules, below what a rule says itself.")] = None
    rule_files: Annotated[tuple[PathTo, ...] | None, _about("More files with rules; globs are allowed.")] = None
    rules: Annotated[tuple[Rule, ...] | None, _about("The rules.")] = None
