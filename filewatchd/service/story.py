"""A job's whole story: what was noticed, what became of it, try by try, and where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from filewatchd.control import documents
from filewatchd.control.api import listed, time_text, words
from filewatchd.jobs.noticed import Story, read_story
from filewatchd.jobs.queue import JobState
from filewatchd.jobs.records import AttemptRecord, History, JobRecord
from filewatchd.model import Kind, Verdict
from filewatchd.notation import path_fields
from filewatchd.rules.events import events_of

_NS = 1e9
Span = tuple[int, int]  # from, to; nanoseconds


class Kept(NamedTuple):
    """All that the journal has of one job. ``attempts``: those that were repeated."""

    job: JobRecord
    story: Story
    attempts: Sequence[AttemptRecord]
    steps: Sequence[tuple[str, Mapping[str, Any]]]


def read(history: History, number: int) -> Kept | None:
    """Read one job; None if there is none. Raises StateError."""
    job = history.show(number)
    if job is None:
        return None
    return Kept(job, read_story(job.story), history.attempts(number), history.steps(number))


def told(kept: Kept, row: documents.JobRow, now_ns: int) -> documents.Job:
    """The story as JSON has it. ``now_ns``: for a job that hasn't ended."""
    return documents.Job(
        job=row,
        events=[_event(*event) for event in kept.story.events],
        changes=list(_changes(kept.job)),
        attempts=list(_attempts(kept)),
        steps=[documents.StepTold(name=words(name), data=_plain(data)) for name, data in kept.steps],
        output=kept.job.output.decode("utf-8", "replace"),
        delays=delays(kept, now_ns),
    )


def _event(first_ns: int, last_ns: int, path: str, hint: int) -> documents.RawEventTold:
    told = {"time": time_text(first_ns), "last": time_text(last_ns), **listed(path), "events": events_of(hint)}
    return msgspec.convert(told, documents.RawEventTold)


# ---- changes


def _changes(job: JobRecord) -> Iterator[documents.ChangeTold]:
    """Those that the last attempt shows with their outcomes, and open ones that it doesn't."""
    shown = {each.path for each in job.paths}
    for path, kind, verdict, message, old_path in job.paths:
        yield _change(kind, path, old_path, verdict, message)
    for change in job.open_changes:
        if change.path not in shown:
            yield _change(change.kind, change.path, change.old_path, None, "")


def _change(kind: Kind, path: str, old_path: str | None, verdict: Verdict | None, message: str) -> documents.ChangeTold:
    old = path_fields("old_path", old_path) if old_path is not None else {}
    outcome = None if verdict is None else verdict.value
    told = {"kind": kind.value, **listed(path), **old, "outcome": outcome, "message": words(message)}
    return msgspec.convert(told, documents.ChangeTold)


# ---- attempts


def outcomes(job: JobRecord) -> dict[str, int]:
    """How many of its paths have which outcome so far."""
    found = {verdict.value: getattr(job, verdict.value) for verdict in Verdict}
    return {name: number for name, number in found.items() if number}


def _attempts(kept: Kept) -> Iterator[documents.AttemptTold]:
    for each in kept.attempts:
        yield _attempt(each.attempt, each.started_ns, each.finished_ns, each.resume, each.counts, each.message)
    job = kept.job
    if kept.attempts and kept.attempts[-1].attempt == job.attempt:
        return  # it waits for the next one
    running = job.state == JobState.RUNNING
    handled = Counter(outcomes(job))
    for each in kept.attempts:
        handled.subtract({name: number for name, number in each.counts.items() if name in _ADDED})
    counts = {} if running else {name: number for name, number in handled.items() if number > 0}
    ended_ns = None if running else job.finished_ns
    yield _attempt(job.attempt, job.started_ns, ended_ns, job.resume, counts, "" if running else job.message)


_ADDED = frozenset({Verdict.OK, Verdict.SKIPPED, Verdict.REJECTED})  # a job's row has the sum of its attempts


def _attempt(
    number: int, started_ns: int, ended_ns: int | None, resume: int, counts: Mapping[str, int], message: str
) -> documents.AttemptTold:
    return documents.AttemptTold(
        attempt=number,
        started=time_text(started_ns),
        finished=None if ended_ns is None else time_text(ended_ns),
        resume=resume,
        outcomes=dict(counts),
        message=words(message),
    )


# ---- times


def delays(kept: Kept, now_ns: int) -> documents.Delays:
    """Where the time went. Clocks may have been set meanwhile, so nothing is less than nothing."""
    job = kept.job
    tries = list(_spans(kept, now_ns))
    end_ns = now_ns if job.finished_ns is None else job.finished_ns
    due_ns = min(kept.story.due_ns, job.created_ns) if kept.story.due_ns is not None else job.created_ns
    between = [(ended, began) for (_, ended), (began, _) in pairwise(tries)]
    waits = [(tries[-1][1], now_ns)] if job.state == JobState.BACKOFF else []
    return documents.Delays(
        settling=None if job.first_ns is None else _seconds([(job.first_ns, due_ns)]),
        queued=_seconds([(max(due_ns, job.first_ns or 0), tries[0][0])]),
        running=_seconds(tries),
        backing_off=_seconds([*between, *waits]),
        total=_seconds([(job.created_ns if job.first_ns is None else job.first_ns, end_ns)]),
    )


def _spans(kept: Kept, now_ns: int) -> Iterator[Span]:
    """Each attempt from its start to its end, or to now."""
    yield from ((each.started_ns, each.finished_ns) for each in kept.attempts)
    job = kept.job
    if not kept.attempts or kept.attempts[-1].attempt != job.attempt:
        yield job.started_ns, now_ns if job.finished_ns is None else job.finished_ns


def _seconds(spans: Sequence[Span]) -> float:
    return sum(max(0, to - since) for since, to in spans) / _NS


def _plain(value: Any) -> Any:
    """What an action recorded, as JSON can have it."""
    if isinstance(value, str):
        return words(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {words(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value
