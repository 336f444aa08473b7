"""What the daemon does, root by root and rule by rule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from filewatchd.control.documents.common import Bytes, Counts, Document, Numbers, Time, about


class Doubt(Struct, kw_only=True):
    """Why the promise may not be kept just now."""

    about: str
    what: str
    what_b64: Bytes = UNSET
    why: str
    since: Time


class Promise(Struct, kw_only=True):
    """Whether every change is sure to lead to a finished job."""

    kept: bool
    in_doubt_since: Time | None
    reasons: list[Doubt]
    doubts: Annotated[int, about("How often it was in doubt since the start.")]
    seconds_in_doubt_total: float


class Finding(Struct, kw_only=True):
    """Something a person should look at."""

    rule: str
    key: str
    message: str
    path: str | UnsetType = UNSET
    path_b64: Bytes = UNSET
    first: Time
    last: Time
    times: int


class Root(Struct, kw_only=True):
    """A watched root."""

    path: str
    path_b64: Bytes = UNSET
    state: Literal["waiting", "scanning", "live", "degraded", "stalled"]
    why: Annotated[str, about("Why it isn't live; empty where it is.")]
    missing: Annotated[int, about("Directories that couldn't be watched.")]
    backend: str
    reason: Annotated[str, about("Why this backend.")]
    rules: Annotated[list[str], about("The rules that watch it.")]


class Watch(Struct, kw_only=True):
    """How files are watched."""

    roots: list[Root]
    backends: Annotated[dict[str, Any], about("By name: watches, raw events, overflows, rescans, and limits.")]
    watches: Annotated[int, about("inotify watches held.")]
    watches_limit: Annotated[int | None, about("What this user may hold in all; None where there is no such limit.")]
    overflows: int
    rescans: int


class Pause(Struct, kw_only=True):
    """Why a rule starts no jobs."""

    hold: Annotated[
        Literal["loops", "masses", "broken", "paused"],
        about("`paused` by somebody; else because of a loop, of its limit, or of a recovery that failed."),
    ]
    why: str
    since: Time
    until: Annotated[Time | None, about("When it goes on by itself; never where it is None.")]
    by: Annotated[str | None, about("Who paused it.")]
    discard: Annotated[bool, about("Whether what changes meanwhile is taken as handled.")]
    discarded: Annotated[int, about("Changes that were, or that found no room.")]


class Last(Struct, kw_only=True):
    """How the last job ended."""

    job: int
    time: Time
    seconds: float
    outcomes: Counts


class Failing(Struct, kw_only=True):
    """A rule that doesn't work."""

    since: Time
    why: Annotated[str, about("What failed first.")]
    jobs: Annotated[int, about("That have failed since.")]


class Notification(Struct, kw_only=True):
    """How telling goes of one event of a rule."""

    event: Literal["failure", "recovery", "finding"]
    name: Annotated[str, about("Under which its jobs are listed.")]
    waiting: Annotated[int, about("What is to be told and hasn't been yet.")]
    state: Annotated[Literal["idle", "waiting", "running", "paused"], about("`waiting`: for its next attempt, too.")]
    last: Last | None
    actions: Annotated[list[Any], about("What the actions say of themselves.")]


class RuleStatus(Struct, kw_only=True):
    """A rule at work."""

    state: Annotated[
        Literal["idle", "waiting", "running", "paused", "disabled"],
        about("`waiting`: paths are dirty, or failed ones wait for their retry."),
    ]
    dirty: Annotated[int, about("Paths that settle, or wait for a slot.")]
    running: Annotated[int, about("Jobs.")]
    retrying: Annotated[int, about("Paths in back-off.")]
    open: Annotated[int, about("Paths attempted without a good outcome.")]
    failed: Annotated[int, about("Paths that wait for `jobs retry` or a change.")]
    held: Annotated[int, about("Files held open for longer than ready_timeout.")]
    skipped: Annotated[int, about("Paths left by `on_busy: skip`.")]
    findings: int
    paused: Pause | None
    waits: Annotated[str | None, about("Why no job starts although nobody paused it.")]
    counters: Annotated[Counts, about("Since the rule exists: changes, ok, failed, transient...")]
    last: Last | None
    actions: Annotated[list[Any], about("What the actions say of themselves.")]
    failing: Annotated[Failing | None, about("Set while the rule doesn't work.")]
    notifications: Annotated[list[Notification], about("Who is told of it: `on_failure`, `on_recovery`, `on_finding`.")]


class Process(Struct, kw_only=True):
    """What the daemon costs."""

    memory: Annotated[int, about("Resident bytes.")]
    descriptors: int
    descriptors_limit: int
    cpu_seconds: float
    threads: int


class Status(Document, kw_only=True):
    """What the daemon does, root by root and rule by rule."""

    version: str
    pid: int
    started: Time
    uptime: float
    state: Annotated[
        Literal["starting", "running", "blocked", "draining"],
        about("`blocked`: the job journal can't be written, so no job starts."),
    ]
    ready: bool
    generation: int
    config: Annotated[str, about("The main configuration file.")]
    state_dir: Annotated[str, about("Where the daemon keeps what it must not forget.")]
    config_error: Annotated[str | None, about("Why the last reload was refused.")]
    log_level: str
    promise: Promise
    findings: list[Finding]
    rules: dict[str, RuleStatus]
    watch: Watch
    transients: Annotated[int, about("Files that came and went before anybody looked.")]
    journal: Numbers
    commands: Numbers
    control: Numbers
    pool: Numbers
    process: Process


class RuleInfo(Struct, kw_only=True):
    """A rule as it is configured."""

    name: str
    description: str
    enabled: bool
    state: str
    paused: Pause | None
    roots: Annotated[list[str], about("As they are configured: globs, too.")]
    include: list[str]
    exclude: list[str]
    presets: list[str]
    changes: list[str]
    ready: str
    settle: float
    max_wait: float
    batch: str
    on_busy: str
    concurrency: int
    actions: list[str]
    user: str | None
    origin: Annotated[str | None, about("FILE:LINE where it stands.")]


class Rules(Document, kw_only=True):
    """All rules, in their order."""

    rules: list[RuleInfo]
