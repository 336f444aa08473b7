"""An action that does nothing but tell the test what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from filewatchd.actions.base import Context, JobContext, Needs, Problem
from filewatchd.model import OK, Change, Outcome, RuleSettings, Trigger


class RecordingOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the recording action."""

    note: str = ""


class Recorded:
    """One call of ``run``."""

    def __init__(self, job: JobContext) -> None:
        self.job = job.id
        self.attempt = job.attempt
        self.rule = job.rule
        self.trigger: Trigger = job.trigger
        self.changes: tuple[Change, ...] = tuple(job.changes)

    @property
    def paths(self) -> list[str]:
        """The paths it was given."""
        return [change.path for change in self.changes]


class RecordingAction:
    """`filewatchd.actions.base.ActionPackage` and the action it opens, in one.

    ``calls`` has each call of ``run``; ``answer`` says what it returns or raises (ok, by default); while ``hold`` is
    set, ``run`` waits for it. ``per_path`` is what ``needs`` says.
    """

    Options = RecordingOptions

    def __init__(
        self,
        name: str = "record",
        *,
        per_path: bool = False,
        answer: Callable[[JobContext], Outcome | Mapping[str, Outcome]] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.calls: list[Recorded] = []
        self.recovered = 0
        self.stopped = 0
        self.cancelled = 0
        self.context: Context | None = None
        self.hold: asyncio.Event | None = None
        self.options: list[RecordingOptions] = []
        self._per_path = per_path
        self._answer = answer
        self._defaults = defaults or {}

    # ---- the package

    def check(self, options: Any, rule: RuleSettings) -> Iterable[Problem]:
        """Nothing is wrong."""
        return ()

    def rule_defaults(self, options: Any) -> Mapping[str, Any]:
        """What the test gave."""
        return self._defaults

    def needs(self, options: Any) -> Needs:
        """What the test gave."""
        return Needs(per_path=self._per_path)

    def open(self, options: Any, ctx: Context) -> RecordingAction:
        """Itself."""
        self.context = ctx
        self.options.append(options)
        return self

    # ---- the action

    async def recover(self) -> None:
        """Count it."""
        self.recovered += 1

    async def run(self, job: JobContext) -> Outcome | Mapping[str, Outcome]:
        """Record the call, wait while held, answer."""
        self.calls.append(Recorded(job))
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._answer(job) if self._answer else OK

    def plan(self, job: JobContext) -> Sequence[str]:
        """A line for each path."""
        return [f"record {change.kind} {change.path}" for change in job.changes]

    def reconfigure(self, options: Any) -> bool:
        """Record them."""
        self.options.append(options)
        return True

    async def stop(self, grace: float) -> None:
        """Count it."""
        self.stopped += 1

    def statistics(self) -> Mapping[str, Any]:
        """How often it ran."""
        return {"calls": len(self.calls)}

    @property
    def paths(self) -> list[str]:
        """All paths it was ever given, in order."""
        return [path for call in self.calls for path in call.paths]
