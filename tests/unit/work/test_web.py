"""One HTTP request, to real servers on the loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import FakePool
from filewatchd.work import web
from filewatchd.work.web import Reply, Request, ask, proxy_of
from tests.unit.loopback import Server, answer, serving

SHORT = 0.2


def run(test: Callable[[Server], Awaitable[None]], *answers: bytes | None) -> None:
    async def inside() -> None:
        async with serving(*answers) as server:
            await test(server)

    asyncio.run(inside())


async def refused(request: Request) -> str:
    with pytest.raises(ActionError) as caught:
        await ask(request, FakePool())
    assert caught.value.retryable
    return str(caught.value)


def test_what_is_sent_and_what_comes() -> None:
    async def test(server: Server) -> None:
        request = Request(f"{server.url}?a=b", "POST", [("X-Token", "secret")], b"{}")
        reply = await ask(request, FakePool())
        assert reply == Reply(201, {"content-length": "5", "a": "b"}, b"hello")
        (asked,) = server.asked
        assert (asked.method, asked.target, asked.body) == ("POST", "/hook?a=b", b"{}")
        assert asked.headers["host"] == f"127.0.0.1:{server.port}"
        assert asked.headers["x-token"] == "secret"
        assert asked.headers["user-agent"] == "filewatchd"

    run(test, answer(201, b"hello", A="b"))


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async def test(server: Server) -> None:
        reply = await ask(Request(server.url), FakePool())
        assert reply.status == 307
        assert len(server.asked) == 1

    run(test, answer(307, Location="http://127.0.0.1:1/"))


def test_an_endless_answer_is_cut_off() -> None:
    async def test(server: Server) -> None:
        reply = await ask(Request(server.url, most=100), FakePool())
        assert reply.body == b"x" * 100

    run(test, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000)


def test_a_head_without_end_is_refused() -> None:
    async def test(server: Server) -> None:
        assert "no HTTP that can be read" in await refused(Request(server.url))

    run(test, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000)


@pytest.mark.parametrize("given", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_what_is_no_whole_answer_is_an_error(given: bytes) -> None:
    async def test(server: Server) -> None:
        assert "127.0.0.1" in await refused(Request(server.url))

    run(test, given)


def test_silence_is_an_error_after_the_time_out() -> None:
    async def test(server: Server) -> None:
        assert "no answer within 0.2 s" in await refused(Request(server.url, timeout=SHORT))

    run(test, None)


def test_nobody_there_is_an_error_that_keeps_the_paths_secret() -> None:
    async def test(server: Server) -> None:
        listener = await asyncio.start_server(server.take, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        text = await refused(Request(f"http://127.0.0.1:{port}/services/T000/B000/xyzzy?key=1"))
        assert text.startswith(f"http://127.0.0.1:{port}/...: ")
        assert "xyzzy" not in text

    run(test)


def test_it_can_be_cancelled() -> None:
    async def test(server: Server) -> None:
        asking = asyncio.ensure_future(ask(Request(server.url, timeout=600), FakePool()))
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        server.then = lambda: called.set_result(None)
        await called
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()

    run(test, None)


# ---- TLS


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and a server's context with it."""
    x509 = pytest.importorskip("cryptography.x509", reason="certificates are made with the extra seal")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    certificate = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(*form))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, private)
    return cert, context


def test_certificates_are_verified_by_the_file_that_is_named(tmp_path: Path) -> None:
    cert, context = authority(tmp_path)

    async def inside() -> None:
        async with serving(tls=context) as server:
            url = server.url.replace("http:", "https:")
            assert (await ask(Request(url, ca=str(cert)), FakePool())).status == 200
            assert "certificate verify failed" in await refused(Request(url))
            assert len(server.asked) == 1
            assert "No such file" in await refused(Request(url, ca=f"{tmp_path}/nothing.pem"))

    asyncio.run(inside())


# ---- proxies


def test_a_proxy_gets_the_whole_request_for_http() -> None:
    async def test(server: Server) -> None:
        proxy = f"http://me:pass%20word@127.0.0.1:{server.port}"
        await ask(Request("http://hooks.example.net/x", "POST", proxy=proxy), FakePool())
        (asked,) = server.asked
        assert asked.target == "http://hooks.example.net/x"
        assert asked.headers["host"] == "hooks.example.net"
        assert asked.headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"

    run(test)


def test_a_proxy_is_asked_to_connect_for_https(tmp_path: Path) -> None:
    cert, context = authority(tmp_path)

    async def inside() -> None:
        async with serving(tls=context) as server:
            connected: list[str] = []

            async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                connected.append((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0])
                there = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

            listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            url = server.url.replace("http:", "https:")
            reply = await ask(Request(url, ca=str(cert), proxy=f"http://127.0.0.1:{port}"), FakePool())
            assert reply.status == 200
            assert connected == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
            assert server.asked[0].target == "/hook"
            listening.close()

    asyncio.run(inside())


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
    except OSError:
        writer.close()


def test_a_proxy_that_refuses_is_an_error() -> None:
    async def test(server: Server) -> None:
        request = Request("https://hooks.example.net/x", proxy=f"http://127.0.0.1:{server.port}")
        assert "won't connect: HTTP/1.1 403" in await refused(request)

    run(test, answer(403))


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://a.example/", {}, None),
        ("https://a.example/", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("https://a.example/", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ("http://a.example/", {"HTTP_PROXY": "p:3128"}, None),
        ("http://a.example/", {"http_proxy": "p:3128"}, "http://p:3128"),
        ("https://a.example/", {"https_proxy": "p", "no_proxy": "b.example, .example"}, None),
        ("https://a.example/", {"https_proxy": "p", "no_proxy": "a.exam"}, "http://p"),
        ("https://a.example/", {"https_proxy": "p", "NO_PROXY": "*"}, None),
        ("https://127.0.0.1/", {"https_proxy": "p"}, None),
        ("https://[::1]/", {"https_proxy": "p"}, None),
        ("https://localhost/", {"https_proxy": "p"}, None),
    ],
)
def test_the_proxy_that_the_environment_names(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(url, environ) == proxy


def test_addresses_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        async def two(host: str, port: int, pool: web.Threads) -> list[str]:
            return ["127.255.255.254", "127.0.0.1"]

        monkeypatch.setattr(web, "addresses", two)
        reply = await ask(Request(f"http://somewhere.example:{server.port}/"), FakePool())
        assert reply.status == 200

    run(test)


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_name_that_no_host_can_have_is_an_error(host: str) -> None:
    assert f"{host} can't be a host's name" in asyncio.run(refused(Request(f"http://{host}/")))


@pytest.mark.parametrize("proxy", ["http://[x", "http://x:port", "http://", "socks5://127.0.0.1:1080"])
def test_what_the_environment_says_may_be_no_proxy(proxy: str) -> None:
    assert "the proxy is none of the form" in asyncio.run(refused(Request("http://127.0.0.1:1/", proxy=proxy)))
