"""One worker as the daemon sees it: its calls, and its life from start to end (`filewatchd.work.worker`)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from filewatchd.errors import ActionError
from filewatchd.work.command import Command, Finished
from filewatchd.work.users import Rights
from filewatchd.work.wire import LONGEST, error_from, name_of, pack, result_of, told, unpack

T = TypeVar("T")
log = logging.getLogger(__name__)

IDLE = 60.0  # seconds until an idle worker is let go
AT_ONCE = 4  # calls of one worker
_AHEAD = 2  # of one that works at one after the other: the next one is there when one ends
_TAIL = 4096  # bytes of what it prints
_GRACE = 5.0  # seconds to end in, when it was let go
_HOME = str(Path(__file__).parents[2])
# At the end of the path: nothing that lies beside us may stand in for a module of Python's.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from filewatchd.work.worker import main; main(*sys.argv[2:])"


class Starts(Protocol):
    """What starts a worker: `filewatchd.work.helper.Commands`."""

    async def run(
        self, command: Command, output: Callable[[bytes], None], talk: socket.socket | None = None
    ) -> Finished: ...


class Process:
    """One worker. ``rights``: None are the daemon's; ``alone``: it works at one call after the other.

    ``idle``: seconds until it is let go.
    """

    def __init__(
        self,
        user: str,
        rights: Rights | None,
        modules: frozenset[str],
        starts: Starts,
        *,
        alone: bool = False,
        idle: float | None = None,
    ) -> None:
        self.modules = modules
        self._alone = alone
        self._linger = IDLE if idle is None else idle
        self._user = user
        self._rights = rights
        self._gone: Callable[[], object] = lambda: None
        self._last = False  # no further call comes
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._turns = asyncio.Semaphore(_AHEAD if alone else AT_ONCE)
        self._idle: asyncio.TimerHandle | None = None
        self._said = b""
        loop = asyncio.get_running_loop()
        self._writer: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        ours, theirs = socket.socketpair()
        self._listener = loop.create_task(self._listen(ours))
        self._life = loop.create_task(self._live(starts, theirs))

    @property
    def busy(self) -> int:
        """Calls under way."""
        return len(self._answers)

    async def call(self, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        """Run a function there."""
        async with aclosing(self._ask(work, args, series=False)) as answers:
            async for answer in answers:
                value: T = self._fitting(work, answer)
                return value
        raise AssertionError("a call has an answer")

    async def series(self, work: Callable[..., Iterator[T]], args: tuple[Any, ...]) -> AsyncGenerator[T]:
        """Run a generator function there."""
        async with aclosing(self._ask(work, args, series=True)) as answers:
            async for answer in answers:
                yield self._fitting(work, answer)

    @property
    def over(self) -> bool:
        """Whether it takes no more calls."""
        return self._last

    def leave(self, gone: Callable[[], object]) -> None:
        """Let it go as soon as nothing is under way; then ``gone`` is called."""
        self._last = True
        self._gone = gone
        if not self._answers:
            self._hang_up()

    async def stop(self) -> None:
        """Let it go, and wait until it is gone."""
        self._hang_up()
        await asyncio.wait([self._life])

    # ---- asking

    async def _ask(self, work: Callable[..., Any], args: tuple[Any, ...], *, series: bool) -> AsyncGenerator[Any]:
        """Each value; the worker waits between those of a series, which is closed if it is left early."""
        number = next(self._numbers)
        self._keep()
        answers = self._answers[number] = asyncio.Queue()
        over = True
        try:
            async with self._turns:
                asked = {"work": name_of(work), "args": list(args), "series": series, "alone": self._alone}
                await self._send({"id": number, **asked})
                over = False
                while not over:
                    answer = await answers.get()
                    over = _ends(answer, series)
                    if "error" in answer:
                        raise self._error(answer["error"])
                    if "value" in answer:
                        yield answer["value"]
                    if not over:
                        await self._send({"id": number, "go": True})
        finally:
            try:
                if series and not over:
                    await self._send({"id": number, "go": False})
                    while not _ends(await answers.get(), series):
                        pass
            finally:
                self._forget(number)

    def _forget(self, number: int) -> None:
        del self._answers[number]
        if not self._answers:
            self._idle = asyncio.get_running_loop().call_later(0 if self._last else self._linger, self._hang_up)

    def _fitting(self, work: Callable[..., Any], answer: Any) -> Any:
        try:
            return result_of(work, answer)
        except msgspec.ValidationError as error:
            raise self._nonsense(error) from error

    def _error(self, said: Any) -> Exception:
        try:
            return error_from(said)
        except msgspec.ValidationError as error:
            return self._nonsense(error)

    def _nonsense(self, error: Exception) -> ActionError:
        return ActionError(f"what works with the rights of {self._user} doesn't answer as it should: {error}")

    def _keep(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    async def _send(self, message: dict[str, Any]) -> None:
        writer = await asyncio.shield(self._writer)
        if not writer.is_closing():
            writer.write(pack(message))

    # ---- its life

    async def _listen(self, sock: socket.socket) -> None:
        """Hand each answer to who asked, until the worker or we hang up."""
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=LONGEST)
        self._writer.set_result(writer)
        try:
            while line := await reader.readline():
                self._take(unpack(line))
        except (OSError, ValueError, TypeError, RecursionError) as error:  # a line too long is a ValueError
            log.error("%s", self._nonsense(error))
        finally:
            self._last = True
            writer.close()

    def _take(self, message: dict[str, Any]) -> None:
        answers = self._answers.get(message.get("id", 0))
        if answers is None:
            return
        if answers.qsize() > 1:  # it waits for us after each: nobody shall fill our memory
            raise ValueError("it answers what it wasn't asked")
        answers.put_nowait(message)

    async def _live(self, starts: Starts, theirs: socket.socket) -> None:
        """From start to end: whoever still waits then is told."""
        who = ("", "", "")
        if self._rights is not None:
            uid, gid, groups = self._rights
            who = (str(uid), str(gid), ",".join(map(str, groups)))
        argv = (sys.executable, "-I", "-c", _PROGRAM, _HOME, *who, *sorted(self.modules))
        command = Command(argv, {"PATH": os.defpath, "LANG": "C.UTF-8"}, cwd="/", stop_timeout=1.0)
        try:
            ended = await self._run(starts, command, theirs)
            said = self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            error = ActionError(f"what works with the rights of {self._user} has ended ({_how(ended)}): {said}")
        except ActionError as refused:
            error = refused
        self._hang_up()
        await asyncio.wait([self._listener])
        for number, answers in self._answers.items():
            answers.put_nowait({"id": number, "error": told(error)})
        self._gone()

    async def _run(self, starts: Starts, command: Command, theirs: socket.socket) -> Finished:
        """Until it ends; once nobody listens to it any more it has a moment for that."""
        running = asyncio.ensure_future(starts.run(command, self._print, theirs))
        await asyncio.wait([running, self._listener], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([running], timeout=_GRACE)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
        return Finished(None, 9, True, 0) if running.cancelled() else running.result()

    def _print(self, data: bytes) -> None:
        self._said = (self._said + data)[-_TAIL:]

    def _hang_up(self) -> None:
        self._keep()
        self._last = True
        if self._writer.done() and not self._writer.cancelled():
            self._writer.result().close()


def _ends(answer: dict[str, Any], series: bool) -> bool:
    return "value" not in answer or not series


def _how(ended: Finished) -> str:
    return f"exit status {ended.code}" if ended.code is not None else f"signal {ended.signal}"
