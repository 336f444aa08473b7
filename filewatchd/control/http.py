"""HTTP/1.1 for strangers: h11 on asyncio streams, with bounds on all that the other end may send or leave unread.

Nothing here trusts the other end. A request has bounded headers, body and time, an answer is taken at a least rate, and
a stream's next piece is asked for only once the last one was taken: a client that doesn't read costs a buffer, and no
more. Requests that come in a row are answered in a row, others' in between.

What the kernel does: to close a socket with bytes unread resets the connection, and the other end may never see the
answer that was on its way. So what a client still sends after its last answer is read, for a while, and thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import h11

_READ = 64 * 1024
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)  # RFC 9112, 3.2.2: a server must take such targets too


class Bounds(NamedTuple):
    """What a client may cost. Sizes in bytes, times in seconds."""

    headers: int = 16 * 1024  # of a request's head
    piece: int = 64 * 1024  # of an answer, to be taken in `time`
    time: float = 10.0  # for a request to arrive
    idle: float = 60.0  # that a connection may be kept open without a request
    linger: float = 2.0  # that what a client sends after its last answer is still read


BOUNDS = Bounds()
BODY = 1024 * 1024  # bytes that are read of somebody's who may act


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
    headers: tuple[tuple[str, str], ...] = ()


class Answerer(NamedTuple):
    """Who answers a connection.

    Attributes:
        answer: to a request.
        body: the most bytes of a request's body that are worth reading; asked for each request.
        share: of all connections those may have that, like the other end, may no more than it.
    """

    answer: Callable[[Request], Awaitable[Reply]]
    body: Callable[[], int]
    share: float = 1.0


class Connection:
    """One client's requests, one after the other. ``idle``: no request has begun to arrive."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answerer: Answerer,
        refusal: Callable[[int, str], Reply],
        bounds: Bounds = BOUNDS,
    ) -> None:
        """``refusal``: what is sent, with its status and reason, where there is no request to answer."""
        self.idle = True
        self._reader = reader
        self._writer = writer
        self._answerer = answerer
        self._refusal = refusal
        self._bounds = bounds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.headers)
        writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until the kernel has all of it

    async def serve(self) -> None:
        """Answer until the client has enough.

        Raises:
            OSError, TimeoutError: it went away, or dawdled.
            h11.ProtocolError: it doesn't speak HTTP, and has been told so.
        """
        allowed = self._bounds.time
        while await self._begins(allowed):
            request = await self._in_time()
            if request is None:
                return
            reply = await self._answerer.answer(request)
            if not isinstance(reply.body, bytes):
                await self._stream(reply, reply.body, with_body=request.method != "HEAD")
                return
            await self._send(reply, reply.body, with_body=request.method != "HEAD")
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                await self._linger()
                return
            self._http.start_next_cycle()
            allowed = self._bounds.idle
            await asyncio.sleep(0)  # others' turn: what is here already would be answered without a pause

    # ---- the request

    async def _begins(self, allowed: float) -> bool:
        """Wait for the first byte of a request; False if none comes."""
        if self._http.trailing_data[0]:
            return True
        self.idle = True
        try:
            async with asyncio.timeout(allowed):
                data = await self._reader.read(_READ)
        except TimeoutError:
            return False
        self.idle = False
        self._http.receive_data(data)
        return bool(data)

    async def _in_time(self) -> Request | None:
        try:
            async with asyncio.timeout(self._bounds.time):
                return await self._request()
        except TimeoutError:
            await self._refuse(408, f"the request took more than {self._bounds.time:g} s to arrive")
            raise
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, f"this is no request: {error}")
            raise

    async def _request(self) -> Request | None:
        head = await self._next()
        if not isinstance(head, h11.Request):
            return None
        if len(head.target) + sum(len(name) + len(value) for name, value in head.headers) > self._bounds.headers:
            raise h11.RemoteProtocolError("its head is too large", error_status_hint=431)  # but came in one piece
        target = _ABSOLUTE.sub("", head.target.decode("ascii"), count=1)
        return Request(head.method.decode("ascii"), target or "/", await self._body())

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._writer.write(self._http.send(go_on) or b"")
            self._http.receive_data(await self._reader.read(_READ))
        return event

    async def _body(self) -> bytes | None:
        """The request's body; None if it is too large."""
        body, most = bytearray(), self._answerer.body()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > most:
                return None
        return bytes(body)

    # ---- the answer

    async def _refuse(self, status: int, reason: str) -> None:
        """What isn't a whole request gets an answer all the same, if one can still be sent."""
        reply = self._refusal(status, reason)
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or not isinstance(reply.body, bytes):
            return
        with contextlib.suppress(h11.LocalProtocolError):
            await self._send(reply._replace(headers=(*reply.headers, _CLOSE)), reply.body, with_body=True)
            await self._linger()

    async def _send(self, reply: Reply, body: bytes, *, with_body: bool) -> None:
        """In pieces, each with its time: a slow reader gets all of a large answer, and one that stops is cut off."""
        self._writer.write(self._http.send(_head(reply, ("Content-Length", str(len(body))))) or b"")
        for start in range(0, len(body) if with_body else 0, self._bounds.piece):
            await self._put(h11.Data(data=body[start : start + self._bounds.piece]))
        await self._put(h11.EndOfMessage())

    async def _put(self, event: Any) -> None:
        self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(self._bounds.time):
            await self._writer.drain()

    async def _linger(self) -> None:
        """Read what the client still sends, until it closes or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.linger):
                self._writer.write_eof()
                await self._hung_up()

    async def _stream(self, reply: Reply, pieces: AsyncIterator[bytes], *, with_body: bool) -> None:
        """Send pieces until the client hangs up, or they end."""
        try:
            self._writer.write(self._http.send(_head(reply, _CLOSE)) or b"")
            if with_body:
                await self._until_hung_up(self._pieces(pieces))
            else:
                await self._put(h11.EndOfMessage())
        finally:
            with contextlib.suppress(Exception):  # of a generator that was cut off; the client is gone
                await pieces.aclose()  # type: ignore[attr-defined]

    async def _until_hung_up(self, work: Any) -> None:
        sending = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._hung_up())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.wait((sending, gone))
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> None:
        """A client may take its time for a piece: it has asked to be told for as long as it likes."""
        async for piece in pieces:
            self._writer.write(self._http.send(h11.Data(data=piece)) or b"")
            await self._writer.drain()
        await self._put(h11.EndOfMessage())

    async def _hung_up(self) -> None:
        """Return when the client has closed its end; what it says meanwhile isn't heard."""
        while await self._reader.read(_READ):
            pass


_CLOSE = ("Connection", "close")


def _head(reply: Reply, *headers: tuple[str, str]) -> h11.Response:
    reason = http.HTTPStatus(reply.status).phrase.encode()
    fields = [("Content-Type", reply.media), *headers, *reply.headers]
    return h11.Response(status_code=reply.status, headers=fields, reason=reason)


def whole(reply: Reply) -> bytes:
    """An answer to a client whose request won't be read, as it goes over the wire."""
    assert isinstance(reply.body, bytes)
    speaks = h11.Connection(h11.SERVER)
    head = _head(reply, ("Content-Length", str(len(reply.body))), _CLOSE)
    return b"".join(speaks.send(event) or b"" for event in (head, h11.Data(data=reply.body), h11.EndOfMessage()))
