"""Waiting until what is dirty now has been worked, and saying what isn't waited for.

A path is done when it is neither dirty nor in a job since before the moment of asking; what happened to it later is
a later flush's. Not waited for are files somebody holds open for writing, paths in back-off, failed ones and those
that `on_busy: skip` left, and rules that are held: they may take for ever, so they are listed. A path whose retry runs
just now counts as in back-off, and so does one that a newer change took out of a job that had failed, until that
change is worked, and the old name of a move that is to be tried again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.work.pulse import Pulse

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline
    from filewatchd.jobs.runner import Key

MOST = 100  # paths listed of each kind


class Left(NamedTuple):
    """What a flush didn't wait for: paths (at most 100 of each), and rules."""

    held: Sequence[str]
    backoff: Sequence[str]
    failed: Sequence[str]
    skipped: Sequence[str]
    paused: Sequence[str]


async def work_off(pipelines: Sequence[Pipeline], now: float, pulse: Pulse, begin: Callable[[], None]) -> None:
    """Return once everything that is dirty or in a job at ``now`` has been worked. ``pulse`` beats when jobs go on.

    ``begin``: let what is due begin.
    """
    waiting: deque[tuple[Pipeline, Key]] = deque()

    def done() -> bool:
        while waiting and _done(*waiting[0], now):
            waiting.popleft()
        if not waiting:  # a job may have brought others up that go back as far: a file's other names
            for pipeline in pipelines:
                waiting.extend((pipeline, key) for key in _undone(pipeline, now))
        return not waiting

    begin()
    await pulse.until(done)


def _undone(pipeline: Pipeline, since: float) -> Iterator[Key]:
    yield from (key for key, first in pipeline.taken.items() if first <= since)
    stalled = {number for number in pipeline.bindings if pipeline.is_stalled(number)}
    for key in pipeline.window:
        if key[0] not in stalled and not _rests(pipeline, key, since):
            yield key


def _done(pipeline: Pipeline, key: Key, since: float) -> bool:
    if pipeline.taken.get(key, since + 1) <= since:
        return False
    return _rests(pipeline, key, since) or pipeline.is_stalled(key[0])


def _rests(pipeline: Pipeline, key: Key, since: float) -> bool:
    """Whether a path that isn't taken is dirty no more, or since later, or not waited for."""
    entry = pipeline.window.get(key)
    if pipeline.holding.why is not None or entry is None or entry.first > since:
        return True
    known = pipeline.looking.written.get(key)  # held, unless something has happened that the look didn't know of
    return known is not None and known >= min(entry.last, since)


def left(pipelines: Iterable[Pipeline]) -> Left:
    """What isn't waited for, right now."""
    found = Left([], [], [], [], [])
    held, backoff, failed, skipped, paused = map(list, found)
    for pipeline in pipelines:
        held += pipeline.named(pipeline.looking.written)
        retried = (key for key, since in pipeline.taken.items() if since == math.inf)
        waiting = [*pipeline.backoff.waiting, *retried, *pipeline.superseded(), *pipeline.backoff.left_behind()]
        backoff += pipeline.named(dict.fromkeys(waiting))
        failed += pipeline.named(pipeline.failed())
        skipped += pipeline.named(pipeline.skipped)
        if pipeline.holding.why is not None:
            paused.append(pipeline.settings.name)
    return Left(held[:MOST], backoff[:MOST], failed[:MOST], skipped[:MOST], paused)
