"""What waits for one path of a rule: how far it is on its way from dirty to an outcome."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline
    from filewatchd.jobs.runner import Key


class Stage(StrEnum):
    """How far it is."""

    DIRTY = "dirty"  # it settles, or waits for a slot
    HELD = "held"  # dirty, and somebody had it open for writing at the last look
    TAKEN = "taken"  # being looked at, or in a running job
    BACKOFF = "backoff"
    SKIPPED = "skipped"  # left by `on_busy: skip`
    FAILED = "failed"  # attempted without a good outcome: it waits for a retry or a change


class Waiting(NamedTuple):
    """``since`` and ``due`` are monotonic seconds. ``job``: the one that has it, or had it last without an outcome.

    ``hint``: what was noticed of it since it was looked at last.
    """

    stage: Stage
    since: float | None = None
    due: float | None = None
    job: int | None = None
    hint: int = 0


def waiting(pipeline: Pipeline, key: Key) -> Waiting | None:
    """What waits for a path; None if nothing does."""
    entry, job = pipeline.window.get(key), pipeline.open.get(key)
    if key in pipeline.taken:
        since = pipeline.taken[key]
        running = next((record.id for record in pipeline.batches.jobs() if key in record.items), None)
        hint = entry.hint if entry is not None else 0
        return Waiting(Stage.TAKEN, None if math.isinf(since) else since, None, running, hint)
    if entry is not None:
        stage = Stage.HELD if key in pipeline.looking.written else Stage.DIRTY
        return Waiting(stage, entry.first, pipeline.window.due_at(key), job, entry.hint)
    record = pipeline.backoff.waiting.get(key)
    if record is not None:
        return Waiting(Stage.BACKOFF, record.since, pipeline.backoff.due_at(record), record.id)
    left = pipeline.skipped.get(key)
    if left is not None:
        return Waiting(Stage.SKIPPED, left.first, None, job, left.hint)
    return Waiting(Stage.FAILED, job=job) if job is not None else None
