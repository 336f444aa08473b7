"""A rule's hold, as it is kept: in memory, and in the journal if it has to outlive the daemon. A pause: `pausing`.

While a rule is held its dirty paths wait in memory. Beyond 20,000 of them more are discarded, counted, and found
again by a comparison when the rule is resumed: what came and went meanwhile is lost, and status says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.errors import StateError
from filewatchd.jobs.pausing import Paused
from filewatchd.notation import fit_text
from filewatchd.rules.holding import HOLDS, Brake, Hold, Pausing, lasting
from filewatchd.state.database import Database

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

log = logging.getLogger("filewatchd.jobs")

_MOST = 20_000  # dirty paths of a held rule


class Held(NamedTuple):
    """A hold as it is written down. ``digest``: of the rule's settings when it was held."""

    hold: Hold
    why: str
    digest: str
    since_ns: int


class Holds:
    """The holds of all rules, over restarts. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rule: str, held: Held) -> None:
        """Write down that a rule is held."""
        self._database.execute(
            "REPLACE INTO holds (rule, hold, why, digest, since_ns) VALUES (?, ?, ?, ?, ?)",
            (rule, held.hold, fit_text(held.why), held.digest, held.since_ns),
        )

    def get(self, rule: str) -> Held | None:
        """Its hold, if there is one."""
        rows = self._database.execute("SELECT hold, why, digest, since_ns FROM holds WHERE rule = ?", (rule,))
        return Held(Hold(rows[0][0]), *rows[0][1:]) if rows else None

    def drop(self, rule: str) -> None:
        """It is held no more."""
        self._database.execute("DELETE FROM holds WHERE rule = ?", (rule,))


class Holding:
    """Whether one rule is held, why and since when: braked, paused, or both."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.hold = Hold.FREE
        self.paused = Paused(pipeline)
        self._braked: str | None = None  # why
        self._since_ns = 0
        self.why: str | None = None  # it starts no jobs
        self.discards = False  # held by nothing but a pause that takes what changes as handled
        self.without_room = 0  # marks that found no room while it was held

    @property
    def since_ns(self) -> int:
        """Since when; of a brake where there is one."""
        pause = self.paused.pause
        return self._since_ns if self._braked is not None or pause is None else pause.since_ns

    @property
    def waits(self) -> bool:
        """Whether what is due has to wait."""
        return self.why is not None and not self.discards

    def restore(self, digest: str, *, started: bool) -> None:
        """Take up what was written down, but no brake of a rule that has changed. ``started``: at the daemon's start.

        Raises:
            StateError: it can't be read.
        """
        self._restore_brake(digest, started=started)
        self.paused.restore()
        self._settle()

    def _restore_brake(self, digest: str, *, started: bool) -> None:
        holds, name = self._pipeline.engine.store.holds, self._pipeline.settings.name
        held = holds.get(name)
        if held is None:
            return
        brake = Brake.CHANGED if not started or held.digest != digest else Brake.RESTARTED
        self.hold = HOLDS[held.hold, brake]
        if self.hold is Hold.FREE:
            holds.drop(name)
            return
        self._braked, self._since_ns = held.why, held.since_ns
        self._tell("still ")

    def brake(self, brake: Brake, why: str) -> None:
        """Hold the rule until somebody resumes it; its paths stay dirty."""
        hold = HOLDS.get((self.hold, brake), self.hold)
        if hold is self.hold:
            return
        self.hold, self._braked, self._since_ns = hold, why, self._pipeline.clock.wall_ns()
        if lasting(hold):
            self._write_down()
        self._settle()
        self._tell("")
        self._pipeline.engine.notifying.held(self._pipeline.settings.name, why)

    def pause(self, reason: str, until_ns: int | None, by: str, *, discard: bool) -> None:
        """Somebody holds the rule. Running jobs go on to their end.

        Raises:
            StateError: it can't be written down, so nothing has changed.
        """
        self.paused.begin(reason, until_ns, by, discard=discard)
        self._settle()

    def _settle(self) -> None:
        pause = self.paused.pause
        whys = [self._braked, None if pause is None else pause.why]
        self.why = "; besides, it is ".join(why for why in whys if why is not None) or None
        self.discards = self._braked is None and self.paused.state is Pausing.DISCARDING
        engine = self._pipeline.engine
        engine.touched.add(self._pipeline)
        engine.pulse.beat()
        engine.doubted()

    def _write_down(self) -> None:
        name, engine = self._pipeline.settings.name, self._pipeline.engine
        try:
            engine.store.holds.put(
                name, Held(self.hold, self._braked or "", engine.generations.digest(name), self._since_ns)
            )
        except StateError as error:
            log.error("rule %s is held, and a restart will not know: %s", name, error, extra={"rule": name})

    def _tell(self, still: str) -> None:
        name = self._pipeline.settings.name
        log.warning(
            "rule %s is %sheld: %s. It waits for `filewatchctl resume %s`, or for a change of the rule.",
            name, still, self._braked, name, extra={"rule": name},
        )  # fmt: skip

    def release(self) -> None:
        """Let the rule go on: somebody resumes it.

        Raises:
            StateError: it can't be written down, so it stays held.
        """
        store = self._pipeline.engine.store
        with store.database.transaction():
            store.holds.drop(self._pipeline.settings.name)
            self.paused.forget()
            self._pipeline.engine.notifying.freed(self._pipeline.settings.name)
        self.paused.end()
        if self._braked is not None:
            self.hold, self._braked = HOLDS[self.hold, Brake.RESUMED], None
        self._settle()

    def pause_over(self) -> None:
        """The time of a pause is over; what else holds the rule goes on holding it."""
        if self.paused.pause is not None:
            self.paused.over()
            self._settle()

    def has_room(self) -> bool:
        """Whether a held rule takes another dirty path; counts it if not."""
        if len(self._pipeline.window) < _MOST:
            return True
        self.without_room += 1
        if self.without_room == 1:
            self._pipeline.engine.doubted()
        return False
