"""Real commands, run by a real spawner: what the tests of `filewatchd.work.helper` have in common."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from filewatchd.testing import eventually, wait_until
from filewatchd.work import cgroup
from filewatchd.work.command import Command, Finished
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool

T = TypeVar("T")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}

# Forks away as daemons do, clears its environment and stays, holding on to the output pipe. Its argument marks it.
ESCAPE = """
import os, sys
reading, writing = os.pipe()
os.set_inheritable(writing, True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sh", ["sh", "-c", f"echo away; echo >&{writing}; exec sleep {sys.argv[1]}"], {})
    os._exit(0)
os.read(reading, 1)
"""


class Desk:
    """Commands to run, and what came of them."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.output = bytearray()

    async def run(self, *argv: str, **more: Any) -> Finished:
        """Run a command to its end; its output is added to ``output``."""
        command = Command(argv, **{"env": ENVIRONMENT, "timeout": 120.0, **more})
        return await self.commands.run(command, self.output.extend)

    async def start(self, *argv: str, until: bytes, **more: Any) -> asyncio.Task[Finished]:
        """Start a command and return when it has printed something."""
        before = len(self.output)
        task = asyncio.ensure_future(self.run(*argv, **more))
        await eventually(lambda: task.done() or until in self.output[before:], f"{argv[0]} to print {until!r}")
        return task

    def time_out(self) -> None:
        """Have all running commands' time come now."""
        for run in list(self.commands._runs.values()):
            self.commands._time_out(run)

    @property
    def text(self) -> str:
        """The output so far."""
        return self.output.decode("utf-8", "replace")


def with_desk(state: Path, work: Callable[[Desk], Awaitable[T]]) -> T:
    """Do the work with a new spawner, and see that nothing of it stays."""

    async def main() -> T:
        groups = cgroup.find(str(state))
        groups.sweep()
        pool = Pool()
        desk = Desk(Commands(groups, pool))
        try:
            return await work(desk)
        finally:
            await desk.commands.stop()
            pool.close()
            assert not groups.directory or not os.path.exists(groups.directory)

    return asyncio.run(main())


def new_mark() -> str:
    """A number of seconds for sleep that nobody else's sleep has."""
    return f"100000.{uuid.uuid4().int % 10**12:012}"


def alive(mark: str) -> list[int]:
    """The processes that have the mark among their arguments, but for the test's own."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words and words[0] in (b"sleep", b"/bin/sleep"):
            found.append(int(pid))
    return found


def none_alive(mark: str) -> None:
    """Wait until all marked processes are gone."""
    wait_until(lambda: not alive(mark), f"the processes marked {mark} to end")


def escape(mark: str) -> tuple[str, ...]:
    """A command that leaves a process behind and ends."""
    return sys.executable, "-c", ESCAPE, mark
