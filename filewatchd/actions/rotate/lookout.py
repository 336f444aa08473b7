"""When each log of a rule is looked at next, and what becomes of one that isn't there."""

from __future__ import annotations

from filewatchd.actions.base import Context
from filewatchd.actions.rotate.due import Due, due
from filewatchd.actions.rotate.judging import Judging
from filewatchd.actions.rotate.ledger import Ledger
from filewatchd.actions.rotate.watching import Watching
from filewatchd.model import Outcome, Verdict

_LATER = 60.0  # seconds until a log that was refused, or failed, is looked at again


class Lookout:
    """The logs of one rule."""

    def __init__(self, ctx: Context, ledger: Ledger, judging: Judging, watching: Watching) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._judging = judging
        self._watching = watching

    def wait(self, live: str, size: int, since_ns: int, asked: bool = False, skip: int | None = None) -> None:
        """Wait until a log is due."""
        if skip is None:
            skip = self._judging.skip(live, size)
        found = due(self._judging.options.when, size - skip, since_ns, asked, self._ctx.clock.wall_ns())
        self.until(live, size, skip, found)

    def until(self, live: str, size: int, skip: int, found: Due) -> None:
        """Wait as that says."""
        self._watching.wait(live, size, skip, found)

    async def missing(self, live: str) -> Outcome:
        """A log isn't there: it is gone, or looked at again until its filesystem is there."""
        if point := await self._judging.is_away(live):
            self.later(live)
            return Outcome(Verdict.SKIPPED, f"nothing is mounted at {point}")
        return self.gone(live)

    def gone(self, live: str) -> Outcome:
        """A log is gone, and comes as a change if it comes."""
        self._watching.forget(live)
        self.drop(live)
        return Outcome(Verdict.SKIPPED, "it is gone")

    def drop(self, live: str) -> None:
        """Nothing is known of a log any more, nor to be told."""
        self._ledger.logs.drop(live)
        self._judging.forget(live)
        self._ctx.clear_finding(f"refused:{live}")

    def later(self, live: str) -> None:
        """Look at a log again after a while, whatever it does."""
        self.until(live, 0, 0, Due("", at_ns=self._ctx.clock.wall_ns() + int(_LATER * 1e9)))
