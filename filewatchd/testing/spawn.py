"""Commands that are not run: what they would print and how they would end is scripted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from filewatchd.actions.base import Command, Finished
from filewatchd.errors import ActionError

DONE = Finished(0, None, False, 0)


class Scripted(NamedTuple):
    """How a scripted command behaves: its output, then its end."""

    finished: Finished = DONE
    output: bytes = b""
    error: ActionError | None = None


class FakeSpawn:
    """`filewatchd.actions.base.Spawn` without processes. ``commands`` has what was asked for, ``foreseen`` the hints.

    Give it `Scripted` results, used in turn, or a function from the command to one; without any all succeed silently.
    """

    def __init__(self, *script: Scripted, answer: Callable[[Command], Scripted] | None = None) -> None:
        self.commands: list[Command] = []
        self.foreseen = 0
        self._script = list(script)
        self._answer = answer

    def foresee(self) -> None:
        """Count it."""
        self.foreseen += 1

    async def run(self, command: Command, output: Callable[[bytes], None]) -> Finished:
        """Note the command and do what the script says."""
        self.commands.append(command)
        scripted = self._answer(command) if self._answer else self._script.pop(0) if self._script else Scripted()
        if scripted.output:
            output(scripted.output)
        if scripted.error is not None:
            raise scripted.error
        return scripted.finished
