"""The nouns of filewatchd: frozen values that flow one way, from the kernel to an outcome.

Paths are ``str`` everywhere inside the process, decoded with ``os.fsdecode`` (``surrogateescape``), so any
name the kernel allows survives the trip; they become bytes again only at the kernel and in SQLite.
Durations are seconds (float), sizes bytes (int), times of files nanoseconds since the epoch (int).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a change is, after the disk was looked at."""

    CREATED = "created"
    MODIFIED = "modified"
    DELETED = "deleted"
    MOVED = "moved"
    METADATA = "metadata"


class Trigger(StrEnum):
    """Why a job exists."""

    CHANGE = "change"
    RESCAN = "rescan"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    STARTUP = "startup"
    NOTICE = "notice"  # somebody is to be told; over no path


class Event(StrEnum):
    """What somebody is to be told of a rule."""

    FAILURE = "failure"  # it worked, and does so no more
    RECOVERY = "recovery"  # it works again, or a finding doesn't stand any more
    FINDING = "finding"  # there is something that a person should look at


class Verdict(StrEnum):
    """How one path fared in one action. ``rejected`` is the file's own fault and is never retried."""

    OK = "ok"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Ready(StrEnum):
    """When a file counts as complete."""

    CLOSED = "closed"
    STABLE = "stable"
    IMMEDIATE = "immediate"


class Busy(StrEnum):
    """What happens to due paths while their rule is busy."""

    QUEUE = "queue"
    RESTART = "restart"
    SKIP = "skip"
    PARALLEL = "parallel"


class BatchBy(StrEnum):
    """Which changes are released together."""

    PATH = "path"
    RULE = "rule"


class Initial(StrEnum):
    """What a rule does with files that were there before it."""

    IGNORE = "ignore"
    PROCESS = "process"


class RootState(StrEnum):
    """The life of a root."""

    WAITING = "waiting"
    SCANNING = "scanning"
    LIVE = "live"
    DEGRADED = "degraded"
    STALLED = "stalled"


class RawEvent(NamedTuple):
    """One event as the kernel told it; ``name`` still has its padding of NULs."""

    watch: int
    mask: int
    cookie: int
    name: bytes


class Hint:
    """What is known about a dirty path before anyone looks: bits of a plain int, since every event is or-ed in.

    CLOSED holds until a later write event clears it.
    """

    LIVE = 1  # a live event, of whatever kind
    WRITE = 2  # a live event other than an attribute change
    CLOSED = 4  # written and closed, or moved in
    SCAN = 8  # a scan saw a difference
    STRICT = 16  # look at ctime too although no event was seen
    AGAIN = 32  # a second look: a racy row, another name of a new link, a symlink whose way is watched now
    STARTUP = 128  # by the first scan of this life
    FORCED = 64  # run even if nothing differs: somebody asks for it
    SCHEDULED = 256  # a timer asks for it
    RESCAN = 512  # by a scan of a root that had been scanned before
    AWAY = 1024  # a directory above it is not, or was not for a while, where it was
    MISSED = 2048  # and so an attempt that has just ended may have missed it
    RETAINED = 4096  # an event that the kernel kept while no daemon ran
    OTHER = 8192  # it is a directory, or was; for actions that ask for what is no file
    RAW = 16  # no bit but the number of the first one that stands for a raw event (`rules.events`)


class FileIdentity(NamedTuple):
    """What tells one content of a path from another, on one filesystem. Which that is stands in the manifest's row."""

    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Region(NamedTuple):
    """A part of a root that is on a filesystem of its own: from ``inside`` ("": the root) down to the next one."""

    inside: str
    filesystem: str  # a name that holds over remounts and reboots; "" if there is none


class Look(NamedTuple):
    """What one look at a path found. ``identity`` is None where there is no file.

    ``writers``: True while somebody has it open for writing, None where that can't be told.
    ``racy``: a timestamp lies so near the look that a later write could hide in it.
    """

    identity: FileIdentity | None
    nlink: int = 1
    writers: bool | None = False
    racy: bool = False
    error: int = 0  # errno of a look that failed for another reason than absence


class Change(NamedTuple):
    """A resolved fact about one path. ``path`` and ``root`` are named as the user named the root."""

    kind: Kind
    path: str
    root: str
    identity: FileIdentity | None = None
    old_path: str | None = None
    original_path: str | None = None  # before earlier actions of the job moved it

    @property
    def relative(self) -> str:
        """The path below its root; empty where the root is the file itself."""
        return self.path[len(self.root) :].lstrip("/")


class Outcome(NamedTuple):
    """How one path, or a whole batch, fared in one action."""

    verdict: Verdict
    message: str = ""
    retryable: bool = True  # only of failed
    after: float = 0.0  # seconds before which it isn't to be tried again, if somebody has said so

    @property
    def handled(self) -> bool:
        """True if the path needs no more work: ok, skipped or rejected."""
        return self.verdict in _HANDLED


_HANDLED = frozenset({Verdict.OK, Verdict.SKIPPED, Verdict.REJECTED})
OK = Outcome(Verdict.OK)


class Found(NamedTuple):
    """A finding as an action raises it. ``key`` tells it from the action's others."""

    key: str
    message: str
    path: str | None = None


class Entry(NamedTuple):
    """One thing of a notice.

    Attributes:
        key: a finding's; of a rule's failure ``failed`` or ``held``.
        message: a line for people.
        path: the file that it is about, if it is about one.
        first_ns: since when it is so; of a recovery: since when it was.
        last_ns: when it was seen last; of a recovery: when it was over.
        times: how often it was seen.
        job: the job that failed, or after which all is well; 0 for none.
    """

    key: str
    message: str
    path: str | None
    first_ns: int
    last_ns: int
    times: int = 1
    job: int = 0

    @property
    def line(self) -> str:
        """The message, with the path if it doesn't tell it itself; bytes that are no UTF-8 stand as U+FFFD."""
        path = (self.path or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return self.message if path in self.message else f"{self.message} ({path})"


class Notice(NamedTuple):
    """What a notification's job tells, all that there is at once. ``more``: entries beyond these."""

    rule: str
    event: Event
    entries: tuple[Entry, ...]
    more: int = 0
    test: bool = False  # somebody only wants to see whether it arrives

    @property
    def message(self) -> str:
        """A line for people."""
        others = len(self.entries) - 1 + self.more
        first = self.entries[0].line if self.entries else ""
        return f"{first} (and {others:,} more)" if others > 0 else first


class Retry(NamedTuple):
    """How often a failed path is tried in all, and the exponential, jittered pauses between."""

    attempts: int = 3
    backoff: float = 1.0
    max_backoff: float = 300.0


class Limit(NamedTuple):
    """Mass-change limit: a rule with more changed paths in the period is held."""

    paths: int
    per: float


class Expect(NamedTuple):
    """Something must come in every period that ends ``by`` then. ``every``: seconds, or hour, day, week, month."""

    every: float | str
    by: str | None = None
    weekday: str | None = None
    timezone: str | None = None


class ActionSpec(NamedTuple):
    """One configured action: its name and its validated options (the package's ``Options``)."""

    name: str
    options: object
    key: str  # stable over reloads while name and options are unchanged


class RuleSettings(NamedTuple):
    """One rule with every layer merged and every value converted."""

    name: str
    roots: tuple[str, ...]  # absolute; may hold globs
    actions: tuple[ActionSpec, ...]
    description: str = ""
    enabled: bool = True
    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    presets: tuple[str, ...] = ("editors",)
    changes: frozenset[Kind] = frozenset({Kind.CREATED, Kind.MODIFIED, Kind.MOVED})
    ready: Ready = Ready.CLOSED
    ready_timeout: float = 3600.0
    settle: float = 0.2
    max_wait: float = 10.0
    batch: BatchBy = BatchBy.PATH
    initial: Initial = Initial.IGNORE
    on_busy: Busy = Busy.QUEUE
    concurrency: int = 1
    retry: Retry = Retry()
    timeout: float = 600.0
    limit: Limit | None = None
    user: str | None = None
    strict: bool = False
    follow_symlinks: bool = False  # YAML: never | files
    renamed_from: str | None = None
    backend: str = "auto"
    expect: Expect | None = None
    on_failure: tuple[ActionSpec, ...] = ()
    on_recovery: tuple[ActionSpec, ...] = ()
    on_finding: tuple[ActionSpec, ...] = ()
    event: Event | None = None  # it is no rule but another one's notifications of this event: no roots, no changes
