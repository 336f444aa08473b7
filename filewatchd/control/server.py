"""The control socket's server: who may ask what, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from filewatchd.control import access, http, sockets
from filewatchd.control.account import Account
from filewatchd.control.api import (
    ACTIONS,
    ROUTES,
    SOCKET,
    Answer,
    Handler,
    Peer,
    RequestError,
    Route,
    Stream,
    Text,
    Told,
)
from filewatchd.control.arguments import Arguments
from filewatchd.control.clients import GUESTS, READERS, Clients
from filewatchd.control.encoding import encoded
from filewatchd.control.openapi import openapi
from filewatchd.control.routing import Routing, arguments_of
from filewatchd.errors import StateError

log = logging.getLogger("filewatchd.control")

_JSON = "application/json"


class ControlServer:
    """Serves routes on a socket in the runtime directory."""

    def __init__(
        self,
        directory: str,
        label: Callable[[], Mapping[str, str]],
        rights: Callable[[], access.Access] = access.Access,
        more: Callable[[], Mapping[Route, Handler]] = dict,
        *,
        blocking: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        bounds: http.Bounds = http.BOUNDS,
        given: socket.socket | None = None,
    ) -> None:
        """``label``: host and instance. ``rights``: who may do what, now. ``more``: routes that actions bring now.

        ``given``: a socket that listens already, which is not ours to take away; else one is made in ``directory``.

        ``blocking(function, *arguments)`` runs what may wait for a directory of users.
        """
        self._directory = directory
        self._given = given
        self._handlers: Mapping[str, Handler] = {}
        self.label = label
        self._rights = rights
        self._more = more
        self._routes: list[Route] = []
        self._routing = Routing(self._routes)
        self._blocking = blocking
        self._account = Account(blocking)
        self._counts = {"requests": 0, "refused": 0}
        self._clients = Clients(self._answerer, self.refusal, bounds=bounds)
        self._server: asyncio.Server | None = None

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """Listen. ``handlers``: by the routes' names; a route without one isn't there.

        Raises:
            FatalError: the socket can't be made, or something else stands in its place.
        """
        self.answer_by(handlers)
        self._server = await self._clients.listen(self._given or sockets.listening_socket(self._directory))

    def answer_by(self, handlers: Mapping[str, Handler]) -> None:
        """Who answers from now on."""
        self._handlers = {"openapi": self._describe, **handlers}
        self._routes = [route for route in ROUTES if route.name in self._handlers]
        self._routing = Routing(self._routes)

    async def stop(self) -> None:
        """Take the socket away and end all connections."""
        if self._server is None:
            return
        with contextlib.suppress(OSError):
            if self._given is None:
                os.unlink(os.path.join(self._directory, SOCKET))
        self._server.close()
        await self._clients.stop()

    def statistics(self) -> dict[str, int]:
        """How much was asked, and how many connections are open."""
        return {**self._counts, **self._clients.statistics()}

    def _answerer(self, sock: socket.socket) -> http.Answerer:
        peer, groups = access.peer_of(sock), access.groups_of(sock)

        async def answer(request: http.Request) -> http.Reply:
            return await self.answer(peer, groups, request)

        def body() -> int:
            """Only who may act has something to say there: strangers don't fill memory."""
            return http.BODY if self._rights().may_act(peer, groups) else 0

        rights = self._rights()
        share = 1.0 if rights.may_act(peer, groups) else READERS if rights.may_ask(peer, groups) else GUESTS
        return http.Answerer(answer, body, share)

    async def answer(self, peer: Peer, groups: frozenset[int], request: http.Request) -> http.Reply:
        """What a request gets."""
        self._counts["requests"] += 1
        path, _, query = request.target.partition("?")
        try:
            more = self._more() if path.startswith(ACTIONS) else {}
            routing = Routing([*self._routes, *more]) if more else self._routing
            route, parameters = routing.find(request.method, path)
            await self._admit(peer, groups, route)
            arguments = arguments_of(route, parameters, query, request.body)
            if route.acts:
                await self._account.acted(peer, route, arguments)
            known = peer._replace(groups=groups, acts=self._rights().may_act(peer, groups))
            return self._reply(route, await (more.get(route) or self._handlers[route.name])(arguments, known))
        except RequestError as error:
            return self.refusal(error.status, str(error), **error.more)
        except StateError as error:
            return self.refusal(503, str(error))
        except Exception:
            log.exception("%s %s failed by a bug", request.method, path)
            return self.refusal(500, "internal error; the log has more")

    async def _describe(self, _: Arguments, peer: Peer) -> Text:
        """This API, with the routes that actions bring now. Made beside the loop: it takes a while."""
        document = await self._blocking(openapi, [*self._routes, *self._more()])
        return Text(encoded(document).decode() + "\n")

    async def _admit(self, peer: Peer, groups: frozenset[int], route: Route) -> None:
        key = self._rights().lacking(peer, groups, route)
        if key is not None:
            self._counts["refused"] += 1
            raise RequestError(403, await self._account.refused(peer, route, key))

    def _reply(self, route: Route, answer: Answer) -> http.Reply:
        if isinstance(answer, Stream):
            return http.Reply(200, route.media, answer.pieces)
        if isinstance(answer, Text):
            return http.Reply(200, route.media, answer.text.encode())
        status, document = answer if isinstance(answer, Told) else (200, answer)
        return self._document(status, msgspec.to_builtins(document))

    def refusal(self, status: int, reason: str, **more: Any) -> http.Reply:
        """Why there is no better answer, as `documents.Problem`. ``allow`` is a header, RFC 9110, 15.5.6."""
        allowed = more.pop("allow", None)
        reply = self._document(status, {"error": reason, **more})
        return reply if allowed is None else reply._replace(headers=(("Allow", allowed),))

    def _document(self, status: int, document: Mapping[str, Any]) -> http.Reply:
        return http.Reply(status, _JSON, encoded({**self.label(), **document}) + b"\n")
