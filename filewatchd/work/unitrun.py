"""One command on its way through a unit: its pipes, and what is known of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from filewatchd.errors import ActionError
from filewatchd.work.command import Command, Finished
from filewatchd.work.ending import resolve
from filewatchd.work.stdio import Input, Output

_MOST_REPORTED = 4096  # bytes of a launcher's report


class Run:
    """One command on its way. ``theirs``: the launcher's ends of its pipes, in the order of its descriptors."""

    def __init__(self, name: str, command: Command, request: bytes, output: Callable[[bytes], None]) -> None:
        """Raises OSError: no descriptors are left."""
        self.name = name
        self.command = command
        self.state: dict[str, Any] = {}  # the unit's properties, as far as they were told
        self.said = b""  # the launcher's report
        self.over: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None
        self.started = self.stopped = self.timed_out = False
        self.leftover: int | None = None  # counted once the command itself has ended
        with contextlib.ExitStack() as undo:
            self.output = Output(output)
            undo.callback(self.output.abandon)
            self.report = Output(self._hear)
            undo.callback(self.report.abandon)
            self.input = Input(request, begin=False)
            undo.pop_all()
        self.theirs = [self.input.theirs, self.output.theirs, self.report.theirs]

    def _hear(self, data: bytes) -> None:
        self.said = (self.said + data)[:_MOST_REPORTED]

    def hand_over(self) -> None:
        """Close the launcher's ends: systemd has them, or never will."""
        while self.theirs:
            os.close(self.theirs.pop())

    def finish(self, result: Finished | ActionError) -> None:
        """Close everything and resolve."""
        if self.timer is not None:
            self.timer.cancel()
        self.hand_over()
        self.output.finish()
        self.report.finish()
        self.input.close()
        resolve(self.over, result)
