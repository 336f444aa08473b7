"""Units without systemd: what they would be told is noted, and how they are is scripted."""

from __future__ import annotations

from filewatchd.actions.base import UnitState
from filewatchd.errors import ActionError

ACTIVE = UnitState("loaded", "active", "running")


class FakeServices:
    """`filewatchd.actions.base.Services`. ``jobs`` has what was asked for: (unit, verb).

    Put an `ActionError` into ``errors`` and the next job fails with it; ``states`` has how a unit is, by its name: the
    last one holds, those before it are told once each. A unit that isn't there is active.
    """

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str]] = []
        self.errors: list[ActionError] = []
        self.states: dict[str, list[UnitState]] = {}

    async def job(self, unit: str, verb: str, seconds: float, manager: str | None = None) -> None:
        """Note it, and fail if the script says so."""
        self.jobs.append((unit, verb))
        if self.errors:
            raise self.errors.pop(0)

    async def state(self, unit: str, seconds: float, manager: str | None = None) -> UnitState:
        """What the script says."""
        states = self.states.get(unit, [ACTIVE])
        return states.pop(0) if len(states) > 1 else states[0]
