"""HTTP as strangers speak it: every form that RFC 9112 allows, whatever else may come, and clients that dawdle."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.control import http
from filewatchd.control.clients import GUESTS, READERS
from tests.unit.control.serving import QUICK, Answer, Serving, echo, get, serving, taken, until

CLOSE = "Connection: close"


def run(
    directory: Path,
    work: Callable[[Serving], Awaitable[None]],
    answer: Answer = echo,
    *,
    most: int = 1000,
    bounds: http.Bounds = http.BOUNDS,
    body: int = http.BODY,
    share: Callable[[], float] = lambda: 1.0,
) -> None:
    async def main() -> None:
        made = serving(directory, answer, most=most, bounds=bounds, body=body, share=share)
        async with asyncio.timeout(60), made as server:
            await work(server)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (get("/a?b=c", CLOSE), b"GET /a?b=c "),
        (get("http://localhost/a?b", CLOSE), b"GET /a?b "),
        (get("HTTP://[::1]:80", CLOSE), b"GET / "),
        (get("*", CLOSE, method="OPTIONS"), b"OPTIONS * "),
        (get("/", version="1.0"), b"GET / "),
        (get("/", "Content-Length: 2", CLOSE, body=b"xy"), b"GET / xy"),
        (get("/", "Content-Length: 2", CLOSE, method="POST", body=b"xy"), b"POST / xy"),
        (
            get("/", "Transfer-Encoding: chunked", CLOSE, method="POST", body=b"1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n"),
            b"POST / xyz",
        ),
    ],
)
def test_every_form_of_a_request_is_understood(tmp_path: Path, sent: bytes, expected: bytes) -> None:
    async def work(server: Serving) -> None:
        head, _, body = (await server.send(sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == expected

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),  # no Host
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),  # TLS
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (get("/", "Content-Length: -1"), b"400"),
        (get("/", "Content-Length: 1", "Content-Length: 2"), b"400"),
        (get("/", "X: " + "x" * 40000), b"431 Request Header Fields Too Large"),
        (b"x" * 40000, b"4"),
        (get("/", "Transfer-Encoding: chunked", method="POST", body=b"z\r\n"), b"400"),
        (get("/", "Transfer-Encoding: gzip", method="POST"), b"501 Not Implemented"),
    ],
)
def test_what_is_no_request_is_told_so(tmp_path: Path, sent: bytes, status: bytes) -> None:
    async def work(server: Serving) -> None:
        answer = await server.send(sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nConnection: close\r\n" in answer
        assert server.clients.statistics()["cut_off"] == 1

    run(tmp_path, work)


def test_head_has_the_same_head_and_no_body(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async def answer(request: http.Request) -> http.Reply:
        return http.Reply(200, "text/plain", pieces() if request.target == "/stream" else b"12345")

    async def work(server: Serving) -> None:
        whole = await server.send(get("/", CLOSE))
        assert await server.send(get("/", CLOSE, method="HEAD")) == whole.removesuffix(b"12345")
        stream = await server.send(get("/stream", method="HEAD"))
        assert stream.endswith(b"\r\n\r\n")

    run(tmp_path, work, answer)


def test_requests_in_a_row_are_answered_in_a_row(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        sent = b"".join(get(f"/{number}") for number in range(200)) + get("/last", CLOSE)
        answer = await server.send(sent)
        told = [line for line in answer.split(b"\r\n") if b"GET /" in line]
        assert [line.partition(b" HTTP")[0].split()[1] for line in told] == [
            *(b"/%d" % number for number in range(200)),
            b"/last",
        ]

    run(tmp_path, work)


def test_others_are_answered_between_requests_in_a_row(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: http.Request) -> http.Reply:
        asked.append(request.target)
        return http.Reply(200, "text/plain", b"")

    async def work(server: Serving) -> None:
        many = b"".join(get("/many") for _ in range(1000)) + get("/many", CLOSE)
        await asyncio.gather(server.send(many), server.send(get("/other", CLOSE)))
        assert asked.index("/other") < 900

    run(tmp_path, work, answer)


def test_a_client_that_waits_for_100_continue_gets_it(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        reader, writer = await server.connect()
        writer.write(get("/", "Content-Length: 2", "Expect: 100-continue", CLOSE, method="POST"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"xy")
        assert (await taken(reader)).endswith(b"POST / xy")
        writer.close()

    run(tmp_path, work)


def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(tmp_path: Path) -> None:
    """Although the client goes on sending: its answer isn't lost to a reset."""

    async def work(server: Serving) -> None:
        sent = get("/", "Content-Length: 3000000", method="POST", body=b"x" * 3_000_000)
        assert (await server.send(sent)).endswith(b"POST / too large")

    run(tmp_path, work, body=1000)


# ---- clients that dawdle


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        get("/", "Content-Length: 100", method="POST", body=b"x"),
        get("/", "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n"),
    ],
)
def test_a_request_that_never_ends_is_cut_off(tmp_path: Path, begun: bytes) -> None:
    """Even if a byte comes now and then; and others are answered meanwhile."""

    async def work(server: Serving) -> None:
        reader, writer = await server.connect()
        writer.write(begun)
        trickle = asyncio.ensure_future(_trickle(writer))
        other = (await server.send(get("/other", CLOSE))).endswith(b"GET /other ")
        assert other
        assert (await taken(reader)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        await trickle
        assert server.clients.statistics()["cut_off"] == 1

    run(tmp_path, work, bounds=QUICK)


async def _trickle(writer: asyncio.StreamWriter) -> None:
    """A byte at a time, until the other end has had enough; a header's value, or a chunk's extension, never ends."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"1")
            await writer.drain()
            await asyncio.sleep(0.01)


def test_who_asks_nothing_is_closed_in_time(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        reader, writer = await server.connect()
        assert await taken(reader) == b""
        writer.close()
        reader, writer = await server.connect()
        writer.write(get("/"))
        assert (await taken(reader)).startswith(b"HTTP/1.1 200")
        writer.close()
        assert server.clients.statistics()["cut_off"] == 0

    run(tmp_path, work, bounds=QUICK)


def test_an_answer_that_nobody_takes_is_cut_off_and_one_that_is_taken_slowly_is_not(tmp_path: Path) -> None:
    large = b"x" * 4_000_000

    async def answer(request: http.Request) -> http.Reply:
        return http.Reply(200, "text/plain", large)

    async def work(server: Serving) -> None:
        stuck = await asyncio.open_unix_connection(server.path, limit=1)
        stuck[1].write(get("/"))
        slow = await asyncio.open_unix_connection(server.path, limit=1)
        slow[1].write(get("/", CLOSE))
        found = bytearray()
        while piece := await slow[0].read(100_000):
            found += piece
            await asyncio.sleep(0.01)  # in all longer than a piece may take
        assert bytes(found).endswith(large)
        await until(lambda: server.clients.statistics()["cut_off"] == 1)
        for _, writer in (stuck, slow):
            writer.transport.abort()

    run(tmp_path, work, answer, bounds=QUICK._replace(time=1.0))


def test_a_stream_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    made = 0
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 65536
        finally:
            closed.set()

    async def answer(request: http.Request) -> http.Reply:
        return http.Reply(200, "application/x-ndjson", pieces() if request.target == "/stream" else b"")

    async def work(server: Serving) -> None:
        _, writer = await asyncio.open_unix_connection(server.path, limit=1)
        writer.write(get("/stream"))
        before = -1
        while made != before or not made:
            before = made
            assert (await server.send(get("/", CLOSE))).startswith(b"HTTP/1.1 200")
        assert made < 100  # what buffers hold, and then it waits
        writer.transport.abort()
        await closed.wait()

    run(tmp_path, work, answer)


# ---- many


def test_one_too_many_is_turned_away_with_the_reason(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        busy = [await server.connect() for _ in range(3)]
        for _, writer in busy:
            writer.write(b"G")
        await until(lambda: busy_ones(server) == 3)
        answer = await server.send(get("/"))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert answer.endswith(b"there are 3 connections already; try again later")
        assert server.clients.statistics()["turned_away"] == 1
        for _, writer in busy:
            writer.transport.abort()

    run(tmp_path, work, most=3)


def busy_ones(server: Serving) -> int:
    return sum(not client.connection.idle for client in server.clients._open.values())


def test_an_idle_connection_makes_room(tmp_path: Path) -> None:
    async def work(server: Serving) -> None:
        first = await server.connect()
        first[1].write(get("/"))
        await first[0].readuntil(b"\r\n\r\n")
        second = await server.connect()
        second[1].write(b"G")
        await until(lambda: busy_ones(server) == 1)
        assert (await server.send(get("/new", CLOSE))).endswith(b"GET /new ")
        await taken(first[0])  # which was the idle one, and is closed
        for _, writer in (first, second):
            writer.transport.abort()
        assert server.clients.statistics()["turned_away"] == 0

    run(tmp_path, work, most=2)


def test_who_may_less_leaves_room_for_who_may_more(tmp_path: Path) -> None:
    share = GUESTS

    async def work(server: Serving) -> None:
        nonlocal share
        held: list[asyncio.StreamWriter] = []
        for each, most in ((GUESTS, 2), (READERS, 6), (1.0, 8)):
            share = each
            while len(held) < most:
                held.append((await server.connect())[1])
                held[-1].write(b"G")
            await until(lambda: busy_ones(server) == len(held))
            assert (await server.send(get("/"))).startswith(b"HTTP/1.1 503")
        for writer in held:
            writer.transport.abort()

    run(tmp_path, work, most=8, share=lambda: share)


# ---- anything at all

_WORDS = (b"GET ", b"POST /x", b" HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n", b"\r\n\r\n", b"Content-Length: 5\r\n")
_MORE = (
    b"Transfer-Encoding: chunked\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"\0",
    b"\xff",
)
_PIECES = st.sampled_from((*_WORDS, *_MORE))
_ANYTHING = st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=20).map(b"".join))


@given(st.lists(_ANYTHING, min_size=1, max_size=5))
def test_whatever_comes_the_next_client_is_answered(sent: list[bytes]) -> None:
    async def work(server: Serving) -> None:
        for data in sent:
            answer = await server.send(data)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
        assert (await server.send(get("/after", CLOSE))).endswith(b"GET /after ")
        assert server.clients.statistics()["open"] == 0

    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), work)
