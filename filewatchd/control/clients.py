"""The connections to one listening socket: so many at most, each with its answers, none holding up another.

Those of guests, who may nothing, are a quarter of them at most, with those who only read three quarters: however many
they make, there is room for who may act.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import h11

from filewatchd.control import http

log = logging.getLogger("filewatchd.control")

MOST = 1000
BACKLOG = 1024  # connections that may wait to be taken; a client that comes after them gets EAGAIN
GUESTS, READERS = 0.25, 0.75  # of all connections
_AT_ONCE = 50  # that asyncio takes before it does something else


def room() -> int:
    """How many connections there may be: at most a quarter of the descriptors that this process may have."""
    return min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)


class _Client(NamedTuple):
    task: asyncio.Task[None]
    connection: http.Connection
    share: float


class Clients:
    """Serves connections as they come. Where there are too many, those that ask nothing make room for new ones."""

    def __init__(
        self,
        answerer: Callable[[socket.socket], http.Answerer],
        refusal: Callable[[int, str], http.Reply],
        *,
        most: int | None = None,
        bounds: http.Bounds = http.BOUNDS,
    ) -> None:
        """``answerer``: who answers the connection on this socket. ``refusal``: as `http.Connection` has it.

        ``most``: connections; as many as there is `room` for unless it is said.
        """
        self._answerer = answerer
        self._refusal = refusal
        self._most = room() if most is None else most
        self._bounds = bounds
        self._open: dict[asyncio.Task[None], _Client] = {}  # in the order in which they came
        self._counts = {"connections": 0, "turned_away": 0, "cut_off": 0}

    def statistics(self) -> dict[str, int]:
        """``open``: connections now. ``turned_away``: for want of room; ``cut_off``: dawdled or no HTTP."""
        return {**self._counts, "open": len(self._open)}

    async def listen(self, sock: socket.socket) -> asyncio.Server:
        """Take connections from this socket."""
        how: dict[str, Any] = {"sock": sock, "limit": self._bounds.headers, "backlog": _AT_ONCE}
        if sock.family != socket.AF_UNIX:
            server = await asyncio.start_server(self.connected, **how)
        else:
            if sys.version_info >= (3, 13):
                how["cleanup_socket"] = False  # its address leads through a descriptor that is closed by now
            server = await asyncio.start_unix_server(self.connected, **how)
        sock.listen(BACKLOG)  # once more: asyncio has made the queue as short as its stride
        return server

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self._counts["connections"] += 1
        try:
            answerer = self._answerer(writer.get_extra_info("socket"))
            if self._has_room(answerer.share):
                await self._serve(reader, writer, answerer)
            else:
                self._counts["turned_away"] += 1
                why = f"there are {self._most_of(answerer.share)} connections already; try again later"
                writer.write(http.whole(self._refusal(503, why)))  # it fits into the kernel's buffer
        except (OSError, TimeoutError, h11.ProtocolError):
            self._counts["cut_off"] += 1  # it went away, dawdled or doesn't speak HTTP: its own affair
        except asyncio.CancelledError:
            pass  # only `stop` and `_make_room` cancel; until Python 3.12 asyncio.streams logs it as an error
        except Exception:
            log.exception("a connection was cut off by a bug")
        finally:
            writer.transport.abort()  # what it hasn't taken by now, it doesn't want

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answerer: http.Answerer) -> None:
        connection = http.Connection(reader, writer, answerer, self._refusal, self._bounds)
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = _Client(task, connection, answerer.share)
        try:
            await connection.serve()
        finally:
            self._open.pop(task, None)

    def _most_of(self, share: float) -> int:
        return max(1, int(self._most * share))

    def _has_room(self, share: float) -> bool:
        """Whether there is room for one more; the oldest connection on which nothing is asked may have to make it."""
        rivals = [client for client in self._open.values() if client.share <= share]
        if len(rivals) < self._most_of(share):
            return True
        for client in rivals:
            if client.connection.idle:
                del self._open[client.task]
                client.task.cancel()
                return True
        return False

    async def stop(self) -> None:
        """End all connections."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
