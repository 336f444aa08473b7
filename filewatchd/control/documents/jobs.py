"""Jobs: in a list, and the whole story of one; and what comes of asking for something to be done with them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType

from filewatchd.control.documents.common import Bytes, Counts, Document, Time, about


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
    until: Annotated[Time | None, about("When its back-off ends.")]
    seconds: Annotated[float | None, about("From the start of its last attempt to its end.")]
    paths: Annotated[int, about("How many it is over.")]
    outcomes: Counts
    open: Annotated[int, about("Paths without a good outcome.")]
    message: str
    progress: Annotated[str, about("How far it is, in words.")]
    done: Annotated[int | None, about("The same as numbers, while it runs and says so.")] = None
    total: int | None = None
    unit: str | None = None


class Jobs(Document, kw_only=True):
    """Jobs, newest first."""

    jobs: list[JobRow]
    next_before: Annotated[int | None, about("`before` of the next page; None where there is none.")]


class RawEventTold(Struct, kw_only=True):
    """What was noticed of a path before its change was resolved."""

    time: Annotated[Time, about("Of the first.")]
    last: Annotated[Time, about("Of the last.")]
    path: str
    path_b64: Bytes = UNSET
    events: Annotated[
        list[str],
        about(
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
    outcome: Annotated[str | None, about("None while it has none.")]
    message: str


class AttemptTold(Struct, kw_only=True):
    """One try."""

    attempt: int
    started: Time
    finished: Time | None
    resume: Annotated[int, about("The action it began with, from 0.")]
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
        about("From the first event until all its paths were due: quiet, and ready. None without events."),
    ]
    queued: Annotated[float | None, about("From then to the first attempt: waiting for a slot, and the look.")]
    running: Annotated[float | None, about("In attempts.")]
    backing_off: Annotated[float | None, about("Between attempts.")]
    total: float | None


class Job(Document, kw_only=True):
    """The whole story of a job."""

    job: JobRow
    events: Annotated[list[RawEventTold], about("The first raw events behind it; of a large job, of some paths.")]
    changes: Annotated[list[ChangeTold], about("At most 20 paths of a finished job, all open ones.")]
    attempts: list[AttemptTold]
    steps: list[StepTold]
    output: Annotated[str, about("The last 64 KiB of what its commands printed.")]
    delays: Delays


class Retried(Document, kw_only=True):
    """Failed paths, and those in back-off, that are tried again now."""

    paths: int
    jobs: Annotated[int, about("Jobs over no path that were asked for once more.")]
    rules: Annotated[Counts, about("How many paths of which rule.")]
    held: Annotated[dict[str, str], about("Those of these rules that wait, and why.")]


class Cancelled(Document, kw_only=True):
    """A job that was cancelled."""

    id: int
    was: Annotated[str, about("The state it was in.")]
    paths: Annotated[int, about("That had no outcome yet. They wait for `jobs retry`, `jobs drop` or a change.")]


class Dropped(Document, kw_only=True):
    """Failed and cancelled paths that were given up: taken as handled as they are now."""

    paths: int
    rules: Counts
