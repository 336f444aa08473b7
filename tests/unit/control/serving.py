"""A server of `control.clients` on a socket of its own, and what a client sends to it byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from filewatchd.control import http
from filewatchd.control.clients import Clients

Answer = Callable[[http.Request], Awaitable[http.Reply]]
QUICK = http.BOUNDS._replace(time=0.2, idle=0.2, linger=0.2)


def refusal(status: int, reason: str) -> http.Reply:
    return http.Reply(status, "text/plain", reason.encode())


async def echo(request: http.Request) -> http.Reply:
    """What was asked, in words."""
    body = "too large" if request.body is None else request.body.decode("latin-1")
    return http.Reply(200, "text/plain", f"{request.method} {request.target} {body}".encode())


class Serving:
    """The server, and connections to it."""

    def __init__(self, path: str, clients: Clients) -> None:
        self.path = path
        self.clients = clients

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def send(self, data: bytes, *, close: bool = True) -> bytes:
        """Send bytes (and nothing more, unless not ``close``), and take what comes until the server closes."""
        reader, writer = await self.connect()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            writer.write(data)
            if close:
                writer.write_eof()
            await writer.drain()
        found = await taken(reader)
        writer.transport.abort()
        return found


async def taken(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the end."""
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            found += piece
    return bytes(found)


async def until(so: Callable[[], bool]) -> None:
    """Let the server work until this is so."""
    while not so():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def serving(
    directory: Path,
    answer: Answer = echo,
    *,
    most: int = 1000,
    bounds: http.Bounds = http.BOUNDS,
    body: int = http.BODY,
    share: Callable[[], float] = lambda: 1.0,
) -> AsyncIterator[Serving]:
    clients = Clients(lambda _: http.Answerer(answer, lambda: body, share()), refusal, most=most, bounds=bounds)
    path = str(directory / "s")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    server = await clients.listen(sock)
    try:
        yield Serving(path, clients)
    finally:
        server.close()
        await clients.stop()


def get(target: str = "/", *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """A request as bytes."""
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
