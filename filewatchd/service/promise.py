"""Whether the promise is kept right now: what puts it in doubt, since when, and for how long in all.

A doubt ends by itself once what it was about has been settled (a comparison that ended, a root that answers), but for
lost state, which a person has to acknowledge.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from filewatchd.clock import Clock
from filewatchd.control.api import time_text
from filewatchd.jobs.engine import Engine
from filewatchd.model import RootState
from filewatchd.notation import path_fields
from filewatchd.service.rooting import Rooting
from filewatchd.watch.roots import Root

log = logging.getLogger("filewatchd.service")

_UNSURE = frozenset({RootState.STALLED, RootState.DEGRADED})


class Doubt(NamedTuple):
    """Why the promise may not be kept. ``about`` and ``what`` (a root's path, a rule) name it."""

    about: str
    what: str
    why: str
    since_ns: int | None = None  # None: since it was noticed


class Promise:
    """Keeps account of doubts; `look` is called whenever one may have come or gone."""

    def __init__(self, engine: Engine, rooting: Rooting, clock: Clock) -> None:
        self._engine = engine
        self._rooting = rooting
        self._clock = clock
        self._open: dict[tuple[str, str], Doubt] = {}
        self._doubts = 0
        self._noticed = 0.0  # monotonic: since when there has been some doubt
        self._seconds = 0.0

    def look(self) -> None:
        """Take account of what is in doubt now."""
        now, before = self._clock.monotonic(), self._open
        self._open = {}
        for doubt in self._found():
            key = doubt.about, doubt.what
            since = before[key].since_ns if key in before else doubt.since_ns or self._clock.wall_ns()
            self._doubts += key not in before
            self._open[key] = doubt._replace(since_ns=since)
        if self._open and not before:
            self._noticed = now
        elif before and not self._open:
            self._seconds += now - self._noticed
            log.info("the promise is kept again, after %.1f s in doubt", now - self._noticed)

    def _found(self) -> Iterator[Doubt]:
        lost = self._engine.store.database.promise_broken_since
        if lost is not None:
            yield Doubt("state", "", "the job journal was lost; `filewatchctl resume` acknowledges it", lost)
        health = self._engine.store.database.health
        if health.trouble is not None:
            yield Doubt("journal", "", f"no job starts: {health.trouble}", health.since_ns)
        for root in self._rooting.roots():
            yield from _of_root(root)
        for name, pipeline in self._engine.pipelines.items():
            if pipeline.skipped:
                yield Doubt(
                    "skipped", name, f"{len(pipeline.skipped)} paths were left while it was busy (on_busy: skip)"
                )
            pause = pipeline.holding.paused.pause
            if pause is not None and pause.discard:
                yield Doubt("paused", name, pause.why, pause.since_ns)
            if pipeline.holding.without_room:
                why = "it is held and has no room for more dirty paths; they are found again when it is resumed"
                yield Doubt("held", name, why)

    def statistics(self) -> dict[str, Any]:
        """What status shows: ``kept``, ``in_doubt_since``, ``reasons``, ``doubts`` and seconds since the start."""
        self.look()
        doubts = sorted(self._open.values(), key=lambda doubt: doubt.since_ns or 0)
        running = self._clock.monotonic() - self._noticed if doubts else 0.0
        return {
            "kept": not doubts,
            "in_doubt_since": time_text(doubts[0].since_ns or 0) if doubts else None,
            "reasons": [_listed(doubt) for doubt in doubts],
            "doubts": self._doubts,
            "seconds_in_doubt_total": round(self._seconds + running, 6),
        }


def _of_root(root: Root) -> Iterator[Doubt]:
    if root.doubted_ns is not None:
        yield Doubt("overflow", root.path, "events were lost, and it is being compared with the disk", root.doubted_ns)
    if root.state in _UNSURE:
        yield Doubt(root.state.value, root.path, root.why)


def _listed(doubt: Doubt) -> dict[str, Any]:
    return {
        "about": doubt.about,
        **path_fields("what", doubt.what),
        "why": doubt.why,
        "since": time_text(doubt.since_ns or 0),
    }
