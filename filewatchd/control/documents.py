"""The documents that the control socket answers with: their fields are stable, and told in docs/reference/api.md.

Every document has ``host`` and ``instance`` besides, so that those of many daemons can be kept in one place. A path
that isn't valid UTF-8 has U+FFFD in ``path`` and its bytes, as base64, in ``path_b64``. Times are RFC 3339 with
microseconds, durations seconds as numbers. Fields are added over time, none is taken away or changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


def _about(text: str) -> Meta:
    return Meta(description=text)


Time = Annotated[str, Meta(description="RFC 3339, with microseconds.", extra_json_schema={"format": "date-time"})]
Bytes = Annotated[str | UnsetType, _about("The bytes, as base64, where it isn't valid UTF-8.")]
Counts = dict[str, int]
Numbers = Annotated[dict[str, Any], _about("Whatever this part counts.")]


class Document(Struct, kw_only=True):
    """An answer. The server adds ``host`` and ``instance``."""


class Problem(Document, kw_only=True):
    """Why there is no better answer."""

    error: str
    mistakes: Annotated[list[dict[str, Any]] | UnsetType, _about("Those of a configuration, as `check` tells.")] = UNSET


# ---- status


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
    doubts: Annotated[int, _about("How often it was in doubt since the start.")]
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
    why: Annotated[str, _about("Why it isn't live; empty where it is.")]
    missing: Annotated[int, _about("Directories that couldn't be watched.")]
    backend: str
    reason: Annotated[str, _about("Why this backend.")]
    rules: Annotated[list[str], _about("The rules that watch it.")]


class Watch(Struct, kw_only=True):
    """How files are watched."""

    roots: list[Root]
    backends: Annotated[dict[str, Any], _about("By name: watches, raw events, overflows, rescans, and limits.")]
    watches: Annotated[int, _about("inotify watches held.")]
    watches_limit: Annotated[int | None, _about("What this user may hold in all; None where there is no such limit.")]
    overflows: int
    rescans: int


class Pause(Struct, kw_only=True):
    """Why a rule starts no jobs."""

    hold: Annotated[
        Literal["loops", "masses", "broken", "paused"],
        _about("`paused` by somebody; else because of a loop, of its limit, or of a recovery that failed."),
    ]
    why: str
    since: Time
    until: Annotated[Time | None, _about("When it goes on by itself; never where it is None.")]
    by: Annotated[str | None, _about("Who paused it.")]
    discard: Annotated[bool, _about("Whether what changes meanwhile is taken as handled.")]
    discarded: Annotated[int, _about("Changes that were, or that found no room.")]


class Last(Struct, kw_only=True):
    """How the last job ended."""

    job: int
    time: Time
    seconds: float
    outcomes: Counts


class RuleStatus(Struct, kw_only=True):
    """A rule at work."""

    state: Annotated[
        Literal["idle", "waiting", "running", "paused", "disabled"],
        _about("`waiting`: paths are dirty, or failed ones wait for their retry."),
    ]
    dirty: Annotated[int, _about("Paths that settle, or wait for a slot.")]
    running: Annotated[int, _about("Jobs.")]
    retrying: Annotated[int, _about("Paths in back-off.")]
    open: Annotated[int, _about("Paths attempted without a good outcome.")]
    failed: Annotated[int, _about("Paths that wait for `jobs retry` or a change.")]
    held: Annotated[int, _about("Files held open for longer than ready_timeout.")]
    skipped: Annotated[int, _about("Paths left by `on_busy: skip`.")]
    findings: int
    paused: Pause | None
    waits: Annotated[str | None, _about("Why no job starts although nobody paused it.")]
    counters: Annotated[Counts, _about("Since the rule exists: changes, ok, failed, transient...")]
    last: Last | None
    actions: Annotated[list[Any], _about("What the actions say of themselves.")]


class Process(Struct, kw_only=True):
    """What the daemon costs."""

    memory: Annotated[int, _about("Resident bytes.")]
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
        _about("`blocked`: the job journal can't be written, so no job starts."),
    ]
    ready: bool
    generation: int
    config: Annotated[str, _about("The main configuration file.")]
    config_error: Annotated[str | None, _about("Why the last reload was refused.")]
    log_level: str
    promise: Promise
    findings: list[Finding]
    rules: dict[str, RuleStatus]
    watch: Watch
    transients: Annotated[int, _about("Files that came and went before anybody looked.")]
    journal: Numbers
    commands: Numbers
    control: Numbers
    pool: Numbers
    process: Process


# ---- rules


class RuleInfo(Struct, kw_only=True):
    """A rule as it is configured."""

    name: str
    description: str
    enabled: bool
    state: str
    paused: Pause | None
    roots: Annotated[list[str], _about("As they are configured: globs, too.")]
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
    origin: Annotated[str | None, _about("FILE:LINE where it stands.")]


class Rules(Document, kw_only=True):
    """All rules, in their order."""

    rules: list[RuleInfo]


# ---- jobs


class JobRow(Struct, kw_only=True):
    """A job in a list."""

    id: int
    rule: str
    trigger: str
    state: str
    attempt: int
    generation: int
    created: Time
    started: Time
    finished: Time | None
    until: Annotated[Time | None, _about("When its back-off ends.")]
    seconds: Annotated[float | None, _about("From the start of its last attempt to its end.")]
    paths: Annotated[int, _about("How many it is over.")]
    outcomes: Counts
    open: Annotated[int, _about("Paths without a good outcome.")]
    message: str
    progress: Annotated[str, _about("How far it is, in words.")]
    done: Annotated[int | None, _about("The same as numbers, while it runs and says so.")] = None
    total: int | None = None
    unit: str | None = None


class Jobs(Document, kw_only=True):
    """Jobs, newest first."""

    jobs: list[JobRow]
    next_before: Annotated[int | None, _about("`before` of the next page; None where there is none.")]


class RawEventTold(Struct, kw_only=True):
    """What was noticed of a path before its change was resolved."""

    time: Annotated[Time, _about("Of the first.")]
    last: Annotated[Time, _about("Of the last.")]
    path: str
    path_b64: Bytes = UNSET
    events: Annotated[
        list[str],
        _about(
            "Each once: create, modify, close_write, attrib, moved_from, moved_to, delete; link (what a symlink leads"
            " to changed); scan, request, schedule, again (the last look could have missed a write)."
        ),
    ]


class ChangeTold(Struct, kw_only=True):
    """One path of a job."""

    kind: str
    path: str
    path_b64: Bytes = UNSET
    old_path: str | UnsetType = UNSET
    old_path_b64: Bytes = UNSET
    outcome: Annotated[str | None, _about("None while it has none.")]
    message: str


class AttemptTold(Struct, kw_only=True):
    """One try."""

    attempt: int
    started: Time
    finished: Time | None
    resume: Annotated[int, _about("The action it began with, from 0.")]
    outcomes: Counts
    message: str


class StepTold(Struct, kw_only=True):
    """A durable step that an action recorded."""

    name: str
    data: dict[str, Any]


class Delays(Struct, kw_only=True):
    """Where the time went, in seconds; None where it isn't known."""

    settling: Annotated[
        float | None,
        _about("From the first event until all its paths were due: quiet, and ready. None without events."),
    ]
    queued: Annotated[float | None, _about("From then to the first attempt: waiting for a slot, and the look.")]
    running: Annotated[float | None, _about("In attempts.")]
    backing_off: Annotated[float | None, _about("Between attempts.")]
    total: float | None


class Job(Document, kw_only=True):
    """The whole story of a job."""

    job: JobRow
    events: Annotated[list[RawEventTold], _about("The first raw events behind it; of a large job, of some paths.")]
    changes: Annotated[list[ChangeTold], _about("At most 20 paths of a finished job, all open ones.")]
    attempts: list[AttemptTold]
    steps: list[StepTold]
    output: Annotated[str, _about("The last 64 KiB of what its commands printed.")]
    delays: Delays


class Retried(Document, kw_only=True):
    """Failed paths, and those in back-off, that are tried again now."""

    paths: int
    jobs: Annotated[int, _about("Jobs over no path that were asked for once more.")]
    rules: Annotated[Counts, _about("How many paths of which rule.")]
    held: Annotated[dict[str, str], _about("Those of these rules that wait, and why.")]


class Cancelled(Document, kw_only=True):
    """A job that was cancelled."""

    id: int
    was: Annotated[str, _about("The state it was in.")]
    paths: Annotated[int, _about("That had no outcome yet. They wait for `jobs retry`, `jobs drop` or a change.")]


class Dropped(Document, kw_only=True):
    """Failed and cancelled paths that were given up: taken as handled as they are now."""

    paths: int
    rules: Counts


# ---- changes


class ChangeLine(Struct, kw_only=True):
    """A change of the history."""

    host: str
    instance: str
    cursor: Annotated[str, _about("Give it as `since` to go on after this change. Opaque.")]
    time: Time
    kind: Literal["created", "modified", "deleted", "moved", "metadata"]
    path: str
    path_b64: Bytes = UNSET
    old_path: str | UnsetType = UNSET
    old_path_b64: Bytes = UNSET
    is_dir: Annotated[bool, _about("Changes are told of files alone, so it is false.")]
    root: str
    root_b64: Bytes = UNSET
    rules: Annotated[list[str], _about("Whose change it is. A rule looks by itself, so it is one.")]
    job: Annotated[int, _about("The job that works it.")]
    source: Literal["live", "scan", "rescan", "poll", "manual", "retry"]


class Missed(Struct, kw_only=True):
    """Told in a stream in a change's place: the history doesn't go back as far any more."""

    host: str
    instance: str
    cursor: Annotated[str, _about("As `since` it goes on with what comes next in the stream.")]
    missed: Annotated[int, _about("Changes that were forgotten before they could be told.")]


# ---- explain


class Reason(Struct, kw_only=True):
    """One thing that was asked about the path, in the order in which a rule asks."""

    about: Literal["enabled", "root", "type", "exclude", "preset", "include", "changes", "ready", "paused", "user"]
    passed: bool
    text: str
    where: Annotated[str | None, _about("FILE:LINE of the key that decides.")] = None


class Pending(Struct, kw_only=True):
    """What waits for a path."""

    state: Literal["dirty", "taken", "backoff", "failed", "skipped", "held"]
    since: Time | None
    due: Annotated[Time | None, _about("When it is looked at next.")]
    job: int | None
    events: Annotated[list[str], _about("What was noticed of it, as in a job's story.")]
    writers: Annotated[list[str], _about("Of a `held` one: the programs that have it open for writing.")]


class Verdict(Struct, kw_only=True):
    """What one rule makes of a path."""

    rule: str
    matches: bool
    why: Annotated[str, _about("In one sentence.")]
    reasons: list[Reason]
    pending: Pending | None
    known: Annotated[dict[str, Any] | None, _about("What it was when the rule last handled it.")]


Together = Annotated[
    list[str] | UnsetType, _about("What the actions would do that are given all paths at once, or a job over no path.")
]


class Planned(Struct, kw_only=True):
    """A change that a rule would work now."""

    kind: str
    path: str
    path_b64: Bytes = UNSET
    old_path: str | UnsetType = UNSET
    old_path_b64: Bytes = UNSET
    steps: Annotated[list[str], _about("What the actions that go path by path would do with it, in order.")]


class Explained(Document, kw_only=True):
    """Why a path matches rules or doesn't, or what a rule would do now."""

    path: str | UnsetType = UNSET
    path_b64: Bytes = UNSET
    exists: Annotated[str | UnsetType, _about("file, directory, symlink, other, or nothing.")] = UNSET
    rules: list[Verdict] | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    planned: list[Planned] | UnsetType = UNSET
    together: Together = UNSET
    more: Annotated[int | UnsetType, _about("Changes that aren't listed.")] = UNSET


# ---- steering


class PathTold(Struct, kw_only=True):
    """A path in a list."""

    path: str
    path_b64: Bytes = UNSET


class Flushed(Document, kw_only=True):
    """What was waited for, and what wasn't (at most 100 paths of each kind)."""

    done: Annotated[bool, _about("False: the time was over before.")]
    held: Annotated[list[PathTold], _about("Open for writing.")]
    backoff: Annotated[list[PathTold], _about("Waiting for their retry.")]
    failed: list[PathTold]
    skipped: Annotated[list[PathTold], _about("Left by `on_busy: skip`.")]
    paused: Annotated[list[str], _about("Rules.")]
    stalled: Annotated[list[PathTold], _about("Roots whose filesystem doesn't answer.")]


class Triggered(Document, kw_only=True):
    """What was asked of a rule by hand."""

    rule: str
    dry_run: bool
    paths: Annotated[int, _about("That were made dirty, or with dry_run would be.")]
    refused: Annotated[list[PathTold], _about("Paths that the rule's roots and patterns don't cover, and directories.")]
    held: Annotated[str | None, _about("Why the job has to wait.")]
    planned: Annotated[list[Planned] | UnsetType, _about("With dry_run.")] = UNSET
    together: Together = UNSET
    more: Annotated[int | UnsetType, _about("Changes that aren't listed.")] = UNSET


class Paused(Document, kw_only=True):
    """A rule that is held."""

    rule: str
    paused: Pause


class Resumed(Document, kw_only=True):
    """Rules that go on, and those that don't."""

    resumed: list[str]
    held: dict[str, str]
    acknowledged: Annotated[bool, _about("Whether a loss of state was acknowledged, too.")]


class Reloaded(Document, kw_only=True):
    """The configuration that is in force now."""

    generation: int
    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]
    warnings: list[str]
    until_restart: Annotated[list[str], _about("Keys whose new value holds from the next start on.")]


class ValueChanged(Struct, kw_only=True):
    """One key that differs."""

    key: str
    old: Any
    new: Any
    origin: Annotated[str | None, _about("FILE:LINE of the new value.")]


class Differences(Document, kw_only=True):
    """What differs between two generations, or between one and the files."""

    from_generation: int
    to_generation: Annotated[int | None, _about("None: the files as they are now.")]
    added: list[str]
    removed: list[str]
    changed: list[str]
    values: list[ValueChanged]


class Level(Document, kw_only=True):
    """How much is logged."""

    level: str
    was: str
    until: Time | None


class Ending(Document, kw_only=True):
    """The daemon finishes what runs and ends."""

    running: Annotated[int, _about("Jobs it waits for.")]
    grace: Annotated[float, _about("Seconds it gives them.")]


class Examined(Document, kw_only=True):
    """What `doctor` finds, with the daemon's own view."""

    roots: list[Any]
    limits: list[Any]
    findings: list[Any]


class Health(Document, kw_only=True):
    """Whether the daemon is well."""

    healthy: bool
    state: str
    why: list[str]
