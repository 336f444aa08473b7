"""The control socket's server: who may ask what, and what comes of it.

Anybody may connect, so there are only so many connections, a client that dawdles is cut off (`http`), and each gets
its answer without holding up another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h11
import msgspec

from filewatchd.control import access, http, sockets
from filewatchd.control.api import ROUTES, SOCKET, Answer, Handler, Peer, RequestError, Route, Stream, Text
from filewatchd.control.documents import Problem
from filewatchd.control.routing import Routing, arguments_of
from filewatchd.errors import StateError

log = logging.getLogger("filewatchd.control")

_CONNECTIONS = 1000
_LOGGED = 200  # characters of a request's arguments
_JSON = "application/json"
_encoder = msgspec.json.Encoder()


class ControlServer:
    """Serves routes on a socket in the runtime directory."""

    def __init__(
        self,
        directory: str,
        label: Callable[[], Mapping[str, str]],
        rights: Callable[[], access.Access] = access.Access,
        more: Sequence[Route] = (),
    ) -> None:
        """``label``: host and instance. ``rights``: who may do what, now. ``more``: routes that actions bring."""
        self._directory = directory
        self._handlers: Mapping[str, Handler] = {}
        self._label = label
        self._rights = rights
        self._routing = Routing([*ROUTES, *more])
        self._connections: set[asyncio.Task[None]] = set()
        self._counts = {"connections": 0, "requests": 0, "refused": 0, "turned_away": 0, "cut_off": 0}
        self._server: asyncio.Server | None = None

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """Listen. ``handlers``: by the routes' names.

        Raises:
            FatalError: the socket can't be made, or something else stands in its place.
        """
        self._handlers = handlers
        sock = sockets.listening_socket(self._directory)
        self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=http.HEADERS)

    async def stop(self) -> None:
        """Take the socket away and end all connections."""
        if self._server is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, SOCKET))
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections))

    def statistics(self) -> dict[str, int]:
        """How much was asked, and how many connections are open."""
        return {**self._counts, "open": len(self._connections)}

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._counts["connections"] += 1
        try:
            if len(self._connections) > _CONNECTIONS:
                self._counts["turned_away"] += 1
                return
            await http.Connection(reader, writer, self._answerer(writer.get_extra_info("socket"))).serve()
        except (OSError, TimeoutError, h11.ProtocolError):
            self._counts["cut_off"] += 1  # it went away, dawdled or doesn't speak HTTP: its own affair
        except asyncio.CancelledError:
            pass  # only `stop` cancels; until Python 3.12 asyncio.streams logs a cancelled handler as an error
        finally:
            self._connections.discard(task)
            writer.transport.abort()  # what it hasn't taken by now, it doesn't want

    def _answerer(self, sock: socket.socket) -> Callable[[http.Request], Any]:
        peer, groups = access.peer_of(sock), access.groups_of(sock)

        async def answer(request: http.Request) -> http.Reply:
            return await self.answer(peer, groups, request)

        return answer

    async def answer(self, peer: Peer, groups: frozenset[int], request: http.Request) -> http.Reply:
        """What a request gets."""
        self._counts["requests"] += 1
        path, _, query = request.target.partition("?")
        try:
            route, parameters = self._routing.find(request.method, path)
            reason = self._rights().refusal(peer, groups, route)
            if reason is not None:
                self._counts["refused"] += 1
                raise RequestError(403, reason)
            arguments = arguments_of(route, parameters, query, request.body)
            if route.acts:
                _log_act(peer, route, arguments)
            return self._reply(route, await self._handlers[route.name](arguments, peer))
        except RequestError as error:
            return self._document(error.status, {"error": str(error), **error.more})
        except StateError as error:
            return self._document(503, {"error": str(error)})
        except Exception:
            log.exception("%s %s failed by a bug", request.method, path)
            return self._document(500, msgspec.to_builtins(Problem(error="internal error; the log has more")))

    def _reply(self, route: Route, answer: Answer) -> http.Reply:
        if isinstance(answer, Stream):
            return http.Reply(200, route.media, answer.pieces)
        if isinstance(answer, Text):
            return http.Reply(200, route.media, answer.text.encode())
        return self._document(200, msgspec.to_builtins(answer))

    def _document(self, status: int, document: Mapping[str, Any]) -> http.Reply:
        return http.Reply(status, _JSON, _encoder.encode({**self._label(), **document}) + b"\n")


def _log_act(peer: Peer, route: Route, arguments: Any) -> None:
    said = {name: value for name, value in msgspec.to_builtins(arguments).items() if value not in (None, (), [])}
    log.info("uid %d (pid %d): %s %s", peer.uid, peer.pid, route.name, str(said)[:_LOGGED])
