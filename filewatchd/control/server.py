"""The control socket's server: h11 on asyncio streams, with bounds on all that a stranger may send.

Anybody may connect, so nothing here trusts the other end: a request has bounded headers, body and time, there are
only so many connections, and each gets its answer without holding up another.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any

import h11

from filewatchd.control import access
from filewatchd.control.api import ROUTES, SOCKET, Handler, RequestError, Route
from filewatchd.errors import FatalError

log = logging.getLogger("filewatchd.control")

_HEADERS = 16 * 1024  # bytes of a request's head
_BODY = 64 * 1024  # bytes
_TIME = 10.0  # seconds for a request to arrive, or for its answer to be taken
_CONNECTIONS = 1000
_LOGGED = 200  # characters of a request's arguments


class ControlServer:
    """Serves the routes of `api.ROUTES` on a socket in the runtime directory."""

    def __init__(self, directory: str, handlers: Mapping[str, Handler]) -> None:
        """``handlers``: by the routes' names."""
        self._directory = directory
        self._handlers = handlers
        self._routes = {(route.method, route.path): route for route in ROUTES}
        self._connections: set[asyncio.Task[None]] = set()
        self._counts = {"connections": 0, "requests": 0, "refused": 0}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            FatalError: the socket can't be made, or something else stands in its place.
        """
        sock = listening_socket(self._directory)
        self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=_BODY)

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
            if len(self._connections) <= _CONNECTIONS:
                await _Connection(self, reader, writer).serve()
        except (OSError, TimeoutError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass  # it went away, dawdled or doesn't speak HTTP: its own affair
        except asyncio.CancelledError:
            pass  # only `stop` cancels; until Python 3.12 asyncio.streams logs a cancelled handler as an error
        finally:
            self._connections.discard(task)
            writer.close()

    async def answer(self, peer: access.Peer, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and document that a request gets."""
        self._counts["requests"] += 1
        try:
            route = self._route(method, path)
            reason = access.refusal(peer, route)
            if reason is not None:
                self._counts["refused"] += 1
                raise RequestError(403, reason)
            arguments = _arguments(body)
            if route.acts:
                log.info("uid %d (pid %d): %s %s", peer.uid, peer.pid, route.name, json.dumps(arguments)[:_LOGGED])
            return 200, await self._handlers[route.name](arguments)
        except RequestError as error:
            return error.status, {"error": str(error)}
        except Exception:
            log.exception("%s %s failed by a bug", method, path)
            return 500, {"error": "internal error; the log has more"}

    def _route(self, method: str, path: str) -> Route:
        route = self._routes.get((method, path))
        if route is None:
            known = [known for known, at in self._routes if at == path]
            if known:
                raise RequestError(405, f"{path} takes {known[0]}")
            raise RequestError(404, f"there is no {path}; there are {', '.join(route.path for route in ROUTES)}")
        return route


class _Connection:
    """One client's requests, one after the other."""

    def __init__(self, server: ControlServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADERS)
        self._peer = access.peer_of(writer.get_extra_info("socket"))

    async def serve(self) -> None:
        """Answer until the client has enough."""
        while True:
            async with asyncio.timeout(_TIME):
                request = await self._next()
                if not isinstance(request, h11.Request):
                    return None
                body = await self._body()
            if body is None:
                return await self._send(413, {"error": f"a request has at most {_BODY} bytes"})
            method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
            await self._send(*await self._server.answer(self._peer, method, target.partition("?")[0], body))
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return None
            self._http.start_next_cycle()

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_HEADERS))
        return event

    async def _body(self) -> bytes | None:
        """The request's body; None if it is too large."""
        body = b""
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > _BODY:
                return None
        return body

    async def _send(self, status: int, document: Mapping[str, Any]) -> None:
        data = json.dumps(document, ensure_ascii=True).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=data), h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(_TIME):
            await self._writer.drain()


def _arguments(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body isn't JSON") from None
    if not isinstance(found, dict):
        raise RequestError(400, "the body must be a JSON object")
    return found


# ---- the socket


def listening_socket(directory: str) -> socket.socket:
    """A socket for everybody in the runtime directory, in the place of one that a dead daemon left.

    Its address is relative to a descriptor, because an address has at most 107 bytes, unix(7).

    Raises:
        FatalError: a daemon answers there, something else than a socket stands there, or it can't be made.
    """
    path = os.path.join(directory, SOCKET)
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    address = f"/proc/self/fd/{place}/{SOCKET}"
    try:
        _clear(address, path)
        sock.bind(address)
        os.chmod(address, 0o666)  # who may do what is decided for each request
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise FatalError(f"the control socket {path} can't be made: {error.strerror}; mend runtime_dir") from error
    except FatalError:
        sock.close()
        raise
    finally:
        os.close(place)
    return sock


def _clear(address: str, path: str) -> None:
    try:
        found = os.lstat(address)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FatalError(f"{path} is no socket; move it away, or set runtime_dir")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(address)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise
        else:
            raise FatalError(f"a daemon answers on {path} already; stop it, or set runtime_dir", exit_code=75)
    os.unlink(address)
