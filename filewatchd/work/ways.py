"""The two ways in which a command may run, an ordinary process of ours or a unit of systemd's; and file work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filewatchd.work.command import Command, Finished
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
from filewatchd.work.units import Units
from filewatchd.work.workers import Workers


class Ways:
    """Runs each command the way it asks for (`filewatchd.actions.base.Spawn`)."""

    def __init__(self, commands: Commands, units: Units, pool: Pool) -> None:
        self.workers = Workers(commands, pool)
        self._commands = commands
        self._units = units

    def foresee(self) -> None:
        """As `Units.foresee`."""
        self._units.foresee()

    async def run(self, command: Command, output: Callable[[bytes], None]) -> Finished:
        """As `Commands.run` and `Units.run`."""
        way = self._commands if command.unit is None else self._units
        return await way.run(command, output)

    async def stop(self) -> None:
        """End all commands and workers at once."""
        await self.workers.stop()
        await self._units.stop()
        await self._commands.stop()

    def statistics(self) -> dict[str, Any]:
        """What runs, one way or the other, and how ordinary commands are kept together here."""
        both, units = self._commands.statistics(), self._units.statistics()
        both["running"] += units["running"]
        both["leftover_ended"] += units["leftover_ended"]
        both["workers"] = self.workers.statistics()
        return both
