"""`/metrics` and `/healthz` on a TCP port of the loopback, and nothing else: who connects can't be known there."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

from filewatchd.control import http
from filewatchd.control.clients import Clients
from filewatchd.control.encoding import encoded
from filewatchd.errors import FatalError, StateError

log = logging.getLogger("filewatchd.control")

Address = tuple[str, int]
Page = Callable[[], Awaitable[http.Reply]]


def address_of(listen: str) -> Address:
    """The address that `control.listen` names."""
    host, _, port = listen.rpartition(":")
    return ("127.0.0.1" if host == "localhost" else host.strip("[]")), int(port)


def bound_socket(listen: str) -> socket.socket:
    """A socket that listens there.

    Raises:
        FatalError: it can't.
    """
    host, port = address_of(listen)
    family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        hint = "choose another port for control.listen, or end what uses this one"
        raise FatalError(f"nothing can listen on {listen}: {error.strerror}; {hint}") from error
    return sock


class LoopbackServer:
    """Serves pages by their paths, on one socket."""

    def __init__(self, listen: str, pages: Mapping[str, Page]) -> None:
        """Take the address; nobody is answered before `start`.

        Raises:
            FatalError: it can't be had.
        """
        self.address = address_of(listen)
        self._pages = pages
        self._sock = bound_socket(listen)
        self._clients = Clients(self._answerer, _problem)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer from now on."""
        self._server = await self._clients.listen(self._sock)

    async def stop(self) -> None:
        """Give the address back."""
        if self._server is None:
            self._sock.close()
            return
        self._server.close()
        await self._clients.stop()

    def _answerer(self, _: socket.socket) -> http.Answerer:
        return http.Answerer(self.answer, lambda: 0)

    async def answer(self, request: http.Request) -> http.Reply:
        """What a request gets. Arguments are ignored: Prometheus may be told to send some."""
        page = self._pages.get(request.target.partition("?")[0])
        if page is None:
            return _problem(404, f"there are {' and '.join(self._pages)}")
        if request.method not in ("GET", "HEAD"):
            return _problem(405, "it can only be read")._replace(headers=(("Allow", "GET, HEAD"),))
        try:
            return await page()
        except StateError as error:
            log.warning("%s can't be told: %s", request.target, error)  # whose text has a path
            return _problem(503, "the job journal can't be read")
        except Exception:
            log.exception("%s failed by a bug", request.target)
            return _problem(500, "internal error; the log has more")


def _problem(status: int, reason: str) -> http.Reply:
    return http.Reply(status, "application/json", encoded({"error": reason}) + b"\n")
