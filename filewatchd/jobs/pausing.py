"""A rule that somebody paused: written down before it counts, and ended by its time, over restarts too.

A pause that discards lets the rule go on looking. What has changed is entered in the manifest as handled, without a
job, and counted. That is so for what isn't in a job yet when the pause begins, and for what changes until it ends. What
somebody asks for by hand, and paths with an attempt that came to nothing, aren't discarded: they wait.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.errors import StateError
from filewatchd.jobs.runner import Key
from filewatchd.model import Hint
from filewatchd.rules.holding import PAUSES, Pausing, Word
from filewatchd.rules.resolve import Found
from filewatchd.state.database import Database

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

log = logging.getLogger("filewatchd.jobs")

_TIMER = "pause", "over"  # beside the rule
_COUNTER = "discarded"


class Pause(NamedTuple):
    """A pause as it is written down.

    ``until_ns`` None: until somebody resumes the rule. ``counted``: what the rule had discarded before it.
    """

    reason: str
    since_ns: int
    until_ns: int | None
    by: str
    discard: bool
    counted: int

    @property
    def why(self) -> str:
        """For people."""
        until = "" if self.until_ns is None else f" until {_moment(self.until_ns)}"
        what = "; what changes meanwhile is taken as handled" if self.discard else ""
        return f"paused by {self.by}{until}{': ' if self.reason else ''}{self.reason}{what}"


def _moment(when_ns: int) -> str:
    return datetime.fromtimestamp(when_ns // 1_000_000_000, UTC).isoformat()


class Pauses:
    """The pauses of all rules, over restarts. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rule: str, pause: Pause) -> None:
        """Write down that a rule is paused, in place of an earlier pause."""
        self._database.execute("REPLACE INTO pauses VALUES (?, ?, ?, ?, ?, ?, ?)", (rule, *pause))

    def get(self, rule: str) -> Pause | None:
        """Its pause, if there is one."""
        columns = "reason, since_ns, until_ns, by, discard, counted"
        for reason, since, until, by, discard, counted in self._database.execute(
            f"SELECT {columns} FROM pauses WHERE rule = ?", (rule,)
        ):
            return Pause(reason, since, until, by, bool(discard), counted)
        return None

    def drop(self, rule: str) -> None:
        """It is paused no more."""
        self._database.execute("DELETE FROM pauses WHERE rule = ?", (rule,))

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's pause to its new name."""
        self._database.execute("UPDATE OR REPLACE pauses SET rule = ? WHERE rule = ?", (new, old))


class Paused:
    """Whether one rule is paused, and what comes of its changes meanwhile."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.state = Pausing.NONE
        self.pause: Pause | None = None
        self.kept: dict[Key, int] = {}  # not discarded: their hints

    @property
    def discarded(self) -> int:
        """Changes that this pause has discarded."""
        return 0 if self.pause is None else self._pipeline.counters.get(_COUNTER, 0) - self.pause.counted

    def restore(self) -> None:
        """Take up a pause that was written down; one whose time has passed is over.

        Raises:
            StateError: it can't be read.
        """
        pause = self._pipeline.engine.store.pauses.get(self._name)
        if pause is None:
            return
        self._enter(pause)
        if pause.until_ns is not None and pause.until_ns <= self._pipeline.clock.wall_ns():
            self.over()
            return
        self.state = PAUSES[self.state, Word.CHANGED]
        self._arm(pause)
        log.warning("rule %s is still %s", self._name, self._told(pause), extra={"rule": self._name})

    def begin(self, reason: str, until_ns: int | None, by: str, *, discard: bool) -> Pause:
        """Pause the rule, or change the pause that it has.

        Raises:
            StateError: it can't be written down, so nothing has changed.
        """
        counted = self._pipeline.counters.get(_COUNTER, 0)
        pause = Pause(reason, self._pipeline.clock.wall_ns(), until_ns, by, discard, counted)
        engine = self._pipeline.engine
        engine.save_counters()  # or a kill could leave fewer than were counted
        with engine.store.database.transaction():
            engine.store.pauses.put(self._name, pause)
            engine.timers.cancel((self._name, *_TIMER))
            self._arm(pause)
        self._enter(pause)
        log.warning("rule %s is %s", self._name, self._told(pause), extra={"rule": self._name})
        return pause

    def forget(self) -> None:
        """Write down that the rule is paused no more: what `end` says in memory.

        Raises:
            StateError: it can't be written.
        """
        self._pipeline.engine.store.pauses.drop(self._name)
        self._pipeline.engine.timers.cancel((self._name, *_TIMER))

    def end(self) -> None:
        """Somebody has resumed the rule."""
        if self.pause is not None:
            self._leave(Word.RESUME)

    def over(self) -> None:
        """Its time is over. A row that can't be deleted does no harm: at the next start its time has passed."""
        with contextlib.suppress(StateError):
            self._pipeline.engine.store.pauses.drop(self._name)
        self._leave(Word.OVER)
        log.info("rule %s goes on: its pause is over", self._name, extra={"rule": self._name})

    def _enter(self, pause: Pause) -> None:
        self.state = PAUSES[self.state, Word.DISCARD if pause.discard else Word.PAUSE]
        self.pause = pause

    def _leave(self, word: Word) -> None:
        self.state = PAUSES[self.state, word]
        self.pause = None
        now = self._pipeline.clock.monotonic()
        for key, hint in self.kept.items():
            self._pipeline.window.mark_after(key, hint, now, 0.0)
        self.kept.clear()

    def _arm(self, pause: Pause) -> None:
        engine, name = self._pipeline.engine, self._name
        if pause.until_ns is not None:
            engine.timers.at((name, *_TIMER), pause.until_ns, lambda: engine.pause_over(name))

    def _told(self, pause: Pause) -> str:
        return f"{pause.why}. `filewatchctl resume {self._name}` lets it go on."

    @property
    def _name(self) -> str:
        return self._pipeline.settings.name

    # ---- what changes meanwhile

    def discard(self, found: Sequence[Found], now: float) -> None:
        """Take what was found as handled, but for what somebody asked for, or what is unfinished.

        Raises:
            StateError: it can't be written down.
        """
        kept = {f.key: f.hint for f in found if f.hint & Hint.FORCED or f.key in self._pipeline.open}
        rest = [f for f in found if f.key not in kept]
        self._pipeline.looking.record_quietly(rest, now)
        for key, hint in kept.items():
            self.kept[key] = self.kept.get(key, 0) | hint
        told = [t.change for t in self._pipeline.looking.wanted(rest)]
        if told:
            self._pipeline.count(_COUNTER, len(told))
            self._pipeline.engine.state_changed()
            more = f" and {len(told) - 1} more" if len(told) > 1 else ""
            log.info(
                "discarded: %s %s%s", told[0].kind, told[0].path, more,
                extra={"rule": self._name, "path": told[0].path, "kind": told[0].kind},
            )  # fmt: skip
