"""A rule's hold, as it is kept: in memory, and in the journal if it has to outlive the daemon.

While a rule is held its dirty paths wait in memory. Beyond 20,000 of them more are discarded, counted, and found
again by a comparison when the rule is resumed: what came and went meanwhile is lost, and status says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.errors import StateError
from filewatchd.rules.holding import HOLDS, Brake, Hold, lasting
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
            "REPLACE INTO holds (rule, hold, why, digest, since_ns) VALUES (?, ?, ?, ?, ?)", (rule, *held)
        )

    def get(self, rule: str) -> Held | None:
        """Its hold, if there is one."""
        rows = self._database.execute("SELECT hold, why, digest, since_ns FROM holds WHERE rule = ?", (rule,))
        return Held(Hold(rows[0][0]), *rows[0][1:]) if rows else None

    def drop(self, rule: str) -> None:
        """It is held no more."""
        self._database.execute("DELETE FROM holds WHERE rule = ?", (rule,))


class Holding:
    """Whether one rule is held, why and since when."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.hold = Hold.FREE
        self.why: str | None = None
        self.since_ns = 0
        self.discarded = 0  # marks that found no room while it was held

    def restore(self, digest: str, *, started: bool) -> None:
        """Take up a hold that was written down, unless the rule has changed since. ``started``: at the daemon's start.

        Raises:
            StateError: it can't be read.
        """
        holds, name = self._pipeline.engine.store.holds, self._pipeline.settings.name
        held = holds.get(name)
        if held is None:
            return
        brake = Brake.CHANGED if not started or held.digest != digest else Brake.RESTARTED
        self.hold = HOLDS[held.hold, brake]
        if self.hold is Hold.FREE:
            holds.drop(name)
            return
        self.why, self.since_ns = held.why, held.since_ns
        self._tell("still ")

    def brake(self, brake: Brake, why: str) -> None:
        """Hold the rule until somebody resumes it; its paths stay dirty."""
        hold = HOLDS.get((self.hold, brake), self.hold)
        if hold is self.hold:
            return
        self.hold, self.why, self.since_ns = hold, why, self._pipeline.clock.wall_ns()
        if lasting(hold):
            self._write_down()
        self._pipeline.engine.pulse.beat()
        self._tell("")

    def _write_down(self) -> None:
        name, engine = self._pipeline.settings.name, self._pipeline.engine
        try:
            engine.store.holds.put(
                name, Held(self.hold, self.why or "", engine.generations.digest(name), self.since_ns)
            )
        except StateError as error:
            log.error("rule %s is held, and a restart will not know: %s", name, error, extra={"rule": name})

    def _tell(self, still: str) -> None:
        name = self._pipeline.settings.name
        log.warning(
            "rule %s is %sheld: %s. It waits for POST /v1/resume on the control socket, or for a change of the rule.",
            name, still, self.why, extra={"rule": name},
        )  # fmt: skip

    def release(self) -> None:
        """Let the rule go on: somebody resumes it.

        Raises:
            StateError: it can't be written down, so it stays held.
        """
        self._pipeline.engine.store.holds.drop(self._pipeline.settings.name)
        self.hold = HOLDS[self.hold, Brake.RESUMED]
        self.why, self.discarded = None, 0

    def has_room(self) -> bool:
        """Whether a held rule takes another dirty path; counts it if not."""
        if len(self._pipeline.window) < _MOST:
            return True
        self.discarded += 1
        if self.discarded == 1:
            self._pipeline.engine.doubted()
        return False
