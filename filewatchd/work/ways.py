"""The two ways in which a command may run: an ordinary process of ours, or a unit of systemd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filewatchd.work.command import Command, Finished
from filewatchd.work.helper import Commands
from filewatchd.work.units import Units


class Ways:
    """Runs each command the way it asks for (`filewatchd.actions.base.Spawn`)."""

    def __init__(self, commands: Commands, units: Units) -> None:
        self._commands = commands
        self._units = units

    async def run(self, command: Command, output: Callable[[bytes], None]) -> Finished:
        """As `Commands.run` and `Units.run`."""
        way = self._commands if command.unit is None else self._units
        return await way.run(command, output)

    async def stop(self) -> None:
        """End all commands at once."""
        await self._units.stop()
        await self._commands.stop()

    def statistics(self) -> dict[str, Any]:
        """What runs, one way or the other, and how ordinary commands are kept together here."""
        both, units = self._commands.statistics(), self._units.statistics()
        both["running"] += units["running"]
        both["leftover_ended"] += units["leftover_ended"]
        return both
