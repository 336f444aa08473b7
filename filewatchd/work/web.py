"""One HTTP request: h11 on asyncio streams, so that it can be cancelled and holds no thread, with bounds on all of it.

Nothing here trusts the other end: the answer's head and body are bounded, and the whole of it has one time-out, from
looking up the name to the last byte. A redirect is an answer like any other and never followed: what was meant for one
host, secrets too, is not for another to ask for. Certificates are always verified, by the system's authorities or by
those of a file.

Names are looked up, and authorities read, in the pool: both block. A proxy is asked to connect (CONNECT) for https, so
that it sees the host's name and no more; for http it gets the whole request.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

import h11

from filewatchd.errors import ActionError

if TYPE_CHECKING:
    import ssl

MOST = 64 * 1024  # bytes of an answer that are kept
_HEAD = 16 * 1024  # bytes of an answer's head
_READ = 16 * 1024
_SHORTEST = 4  # characters of a secret that would be missed in an answer
_PATIENCE = 3.0  # seconds for one address of a host that has several
_PORTS = {"http": 80, "https": 443}
_AGENT = b"filewatchd"


class Threads(Protocol):
    """`filewatchd.work.pool.Pool`, or a fake of it."""

    def run(self, lane: str, work: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...


class Request(NamedTuple):
    """What to ask. ``proxy``: a URL, None for none. ``ca``: a file of authorities, None for the system's."""

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    timeout: float = 10.0
    ca: str | None = None
    proxy: str | None = None
    most: int = MOST


class Reply(NamedTuple):
    """What came. ``headers``: names in small letters; ``body``: the first bytes of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body's first line that isn't blank, as it may be shown to people."""
        for line in self.body[:4096].decode("utf-8", "replace").splitlines():
            if line.strip():
                return "".join(character if character.isprintable() else "?" for character in line.strip())[:200]
        return ""

    def without(self, secrets: Iterable[str]) -> Reply:
        """The same answer without words that it may have repeated: as they are, in a URL, and in JSON."""
        body = self.body
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                for form in {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]}:
                    body = body.replace(form.encode("utf-8", "replace"), b"***")
        return self._replace(body=body)


async def ask(request: Request, pool: Threads) -> Reply:
    """Send a request and return the answer, whatever its status.

    Raises:
        ActionError: no answer came in time, or none that can be read; may be tried again.
    """
    parts = urlsplit(request.url)
    try:
        async with asyncio.timeout(request.timeout), _connected(request, parts, pool) as (reader, writer):
            return await _exchange(request, parts, reader, writer)
    except TimeoutError as error:
        raise ActionError(f"{shown(request.url)}: no answer within {request.timeout:.3g} s") from error
    except (OSError, EOFError) as error:  # ssl's errors are OSErrors
        raise ActionError(f"{shown(request.url)}: {reason(error)}") from error
    except h11.ProtocolError as error:
        raise ActionError(f"{shown(request.url)}: the answer is no HTTP that can be read: {error}") from error


def retry_after(reply: Reply, now: float) -> float:
    """Seconds until it may be asked again, if the answer says so: a number of them, or a time (RFC 9110, 10.2.3)."""
    said = reply.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def shown(url: str) -> str:
    """A URL as it may be shown: webhooks' paths and queries are secrets as often as not. It may be a server's word."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{_netloc(parts)}/{'...' if parts.path.strip('/') or parts.query else ''}"
    except ValueError:
        return "what is no URL"


def proxy_of(url: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The proxy that the environment names for a URL; none for this host itself, and for those in NO_PROXY."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host):
        return None
    for entry in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(","):
        name = entry.strip().lower().removeprefix("*").removeprefix(".")
        if entry.strip() == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return None
    # HTTP_PROXY in capitals is what a CGI's client may set (httpoxy), so only small letters count there.
    variables = ("https_proxy", "HTTPS_PROXY") if parts.scheme == "https" else ("http_proxy",)
    found = next((environ[name] for name in variables if environ.get(name)), None)
    return f"http://{found}" if found and "://" not in found else found


# ---- connecting


@contextlib.asynccontextmanager
async def _connected(
    request: Request, parts: SplitResult, pool: Threads
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = await pool.run("", _context, request.ca) if parts.scheme == "https" else None
    host, port = _place(parts)
    if request.proxy is None:
        reader, writer = await connect(host, port, pool, context)
    else:
        reader, writer = await connect(*_place(_proxy(request.proxy)), pool, None)
    try:
        if request.proxy is not None and context is not None:
            await _tunnel(reader, writer, f"{_netloc(parts, port)}", urlsplit(request.proxy))
            await writer.start_tls(context, server_hostname=host)
        yield reader, writer
    finally:
        writer.transport.abort()  # nothing is left to be said; a close would wait for the other end


def _proxy(url: str) -> SplitResult:
    """The environment may say anything."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and (parts.port or 1) > 0:
            return parts
    except ValueError:
        pass
    raise OSError("the proxy is none of the form http://HOST:PORT; see http_proxy and https_proxy")


async def connect(
    host: str, port: int, pool: Threads, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first of a host's addresses that answers.

    Raises:
        OSError: there is none.
    """
    found = await addresses(host, port, pool)
    last: OSError = OSError(f"{host} has no address")
    name = host if context is not None else None
    for number, address in enumerate(found, 1):
        try:
            async with asyncio.timeout(_PATIENCE if number < len(found) else None):
                return await asyncio.open_connection(address, port, ssl=context, server_hostname=name, limit=_HEAD)
        except OSError as error:  # a time-out, too
            last = error
    raise last


async def addresses(host: str, port: int, pool: Threads) -> list[str]:
    """The addresses of a host, looked up in the pool unless it is one."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        found = await pool.run("names", socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of it is empty, or longer than 63 characters
        raise OSError(f"{host} can't be a host's name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, proxy: SplitResult) -> None:
    """Have a proxy connect to a host."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *map(": ".join, _credentials(proxy)), "", ""]
    writer.write("\r\n".join(lines).encode("ascii"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise OSError("the proxy's answer is too long") from error
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise OSError(f"the proxy {_netloc(proxy)} won't connect: {status}")


def _credentials(proxy: SplitResult) -> list[tuple[str, str]]:
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return [("proxy-authorization", f"Basic {base64.b64encode(pair).decode('ascii')}")]


def _context(ca: str | None) -> ssl.SSLContext:
    import ssl  # takes memory that a daemon without https doesn't need

    return ssl.create_default_context(cafile=ca)


# ---- asking


async def _exchange(
    request: Request, parts: SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Reply:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
    for event in _said_to(request, parts):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    status, headers, body = 0, dict[str, str](), bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) >= request.most:
                break
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    return Reply(status, headers, bytes(body[: request.most]))


def _said_to(request: Request, parts: SplitResult) -> list[Any]:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = {"host": _netloc(parts), "connection": "close", "accept": "*/*", "content-length": str(len(request.body))}
    if request.proxy is not None and parts.scheme == "http":
        target = f"http://{_netloc(parts)}{target}"
        own |= dict(_credentials(urlsplit(request.proxy)))
    given = [(name.lower(), value) for name, value in request.headers]
    if not any(name == "user-agent" for name, _ in given):
        own["user-agent"] = _AGENT.decode("ascii")
    if not request.body and request.method in ("GET", "HEAD"):
        del own["content-length"]
    head = [(name.encode("ascii"), value.encode("utf-8")) for name, value in (*own.items(), *given)]
    body = [h11.Data(data=request.body)] if request.body else []
    return [h11.Request(method=request.method, target=target, headers=head), *body, h11.EndOfMessage()]


# ---- names


def _place(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def _netloc(parts: SplitResult, port: int | None = None) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = port if port is not None else parts.port
    return shown if port is None else f"{shown}:{port}"


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def reason(error: Exception) -> str:
    """What went wrong, in the system's words; asyncio's own name the address, which isn't always fit to be shown."""
    if isinstance(error, OSError) and error.strerror:
        return os.strerror(error.errno or 0) if error.strerror.startswith("Connect call") else str(error.strerror)
    return str(error) or type(error).__name__
