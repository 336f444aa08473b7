"""HTTP/1.1 for strangers: h11 on asyncio streams, with bounds on all that the other end may send or leave unread.

Nothing here trusts the other end: a request has bounded headers, body and time. A stream's next piece is asked for
only once the last one was taken, so that a client which doesn't read costs a buffer, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import h11

HEADERS = 16 * 1024  # bytes of a request's head
BODY = 1024 * 1024  # bytes
TIME = 10.0  # seconds for a request to arrive, or for its answer to be taken
IDLE = 60.0  # seconds that a connection may be kept open without a request
_READ = 64 * 1024


class Request(NamedTuple):
    """What a client asks. ``body`` is None where it was too large."""

    method: str
    target: str
    body: bytes | None


class Reply(NamedTuple):
    """What it gets. ``body``: all of it, or pieces without an end."""

    status: int
    media: str
    body: bytes | AsyncIterator[bytes]


class Connection:
    """One client's requests, one after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[[Request], Awaitable[Reply]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS)
        writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until the kernel has all of it

    async def serve(self) -> None:
        """Answer until the client has enough.

        Raises:
            OSError, TimeoutError: it went away, or dawdled.
            h11.ProtocolError: it doesn't speak HTTP, and has been told so.
        """
        allowed = TIME
        while True:
            try:
                async with asyncio.timeout(allowed):
                    request = await self._request()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                raise
            if request is None:
                return
            reply = await self._answer(request)
            if not isinstance(reply.body, bytes):
                await self._stream(reply, reply.body)
                return
            await self._send(reply, reply.body)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()
            allowed = IDLE

    async def _request(self) -> Request | None:
        head = await self._next()
        if not isinstance(head, h11.Request):
            return None
        method, target = head.method.decode("ascii"), head.target.decode("latin-1")
        return Request(method, target, await self._body())

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._http.send(go_on) or b"")
            self._http.receive_data(await self._reader.read(_READ))
        return event

    async def _body(self) -> bytes | None:
        """The request's body; None if it is too large."""
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > BODY:
                return None
        return bytes(body)

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """What isn't HTTP gets an answer in it all the same, if one can still be sent."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        with contextlib.suppress(h11.LocalProtocolError):
            await self._send(Reply(error.error_status_hint, "text/plain", f"{error}\n".encode()), f"{error}\n".encode())

    async def _send(self, reply: Reply, body: bytes) -> None:
        length = ("Content-Length", str(len(body)))
        head = h11.Response(status_code=reply.status, headers=[("Content-Type", reply.media), length])
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(TIME):
            await self._writer.drain()

    async def _stream(self, reply: Reply, pieces: AsyncIterator[bytes]) -> None:
        """Send pieces until the client hangs up, or they end."""
        head = h11.Response(status_code=reply.status, headers=[("Content-Type", reply.media), ("Connection", "close")])
        self._writer.write(self._http.send(head) or b"")
        sending = asyncio.ensure_future(self._pieces(pieces))
        gone = asyncio.ensure_future(self._hung_up())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.wait((sending, gone))
            with contextlib.suppress(Exception):  # of a generator that was cut off; the client is gone
                await pieces.aclose()  # type: ignore[attr-defined]
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            self._writer.write(self._http.send(h11.Data(data=piece)) or b"")
            await self._writer.drain()
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        async with asyncio.timeout(TIME):
            await self._writer.drain()

    async def _hung_up(self) -> None:
        """Return when the client has closed its end; what it says meanwhile isn't heard."""
        while await self._reader.read(_READ):
            pass
