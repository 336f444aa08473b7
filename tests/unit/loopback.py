"""A server on the loopback that answers as it is told, and notes what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """An answer's bytes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{name}: {v}" for name, v in named.items())]
    return "\r\n".join([*head, "", ""]).encode() + body


class Server:
    """``asked`` has the requests; ``answers`` are given in turn, the last one again and again; None: silence."""

    def __init__(self, *answers: bytes | None) -> None:
        self.asked: list[Asked] = []
        self.answers: list[bytes | None] = list(answers) or [answer()]
        self.port = 0
        self.connections: set[asyncio.Task[None]] = set()
        self.then: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        with contextlib.suppress(OSError, EOFError):
            await self._take(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.connections.discard(task)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.asked.append(Asked(method, target, headers, body))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.then()
        if given is None:
            await reader.read()
            return
        writer.write(given)
        await writer.drain()


@contextlib.asynccontextmanager
async def serving(*answers: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server with these answers."""
    server = Server(*answers)
    listening = await asyncio.start_server(server.take, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        if server.connections:
            await asyncio.wait(server.connections)
