"""A small real control server in a thread, which answers with the documents that a test made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from filewatchd.control.access import Access
from filewatchd.control.api import ROUTES, Answer, Handler, Peer, RequestError, Stream, Text, socket_in
from filewatchd.control.documents import Document
from filewatchd.control.server import ControlServer

LABEL = {"host": "testhost", "instance": "main"}


class Served:
    """What is answered, and what was asked: ``(route, arguments that aren't their defaults)``."""

    def __init__(self, directory: Path) -> None:
        self.socket = socket_in(str(directory))
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.endless = False  # whether streams go on when their lines are told
        self._answers: dict[str, Any] = {}

    def answer(self, name: str, answer: Document | str | list[msgspec.Struct] | Exception) -> None:
        """Answer a route with a document, a text, a stream's lines, or an error."""
        self._answers[name] = answer

    def handlers(self) -> Mapping[str, Handler]:
        return {route.name: self._handler(route.name) for route in ROUTES}

    def _handler(self, name: str) -> Handler:
        async def handle(arguments: Any, peer: Peer) -> Answer:
            said = msgspec.json.decode(msgspec.json.encode(arguments))
            defaults = {field.name: field.default for field in msgspec.structs.fields(arguments)}
            self.asked.append((name, {key: value for key, value in said.items() if value not in (defaults[key], [])}))
            found = self._answers.get(name, RequestError(500, f"the test has no answer to {name}"))
            if isinstance(found, Exception):
                raise found
            if isinstance(found, str):
                return Text(found)
            return Stream(_lines(found, self.endless)) if isinstance(found, list) else found

        return handle


async def _lines(items: list[msgspec.Struct], endless: bool) -> AsyncIterator[bytes]:
    for item in items:
        yield msgspec.json.encode(item) + b"\n"
    if endless:
        await asyncio.Event().wait()


@contextmanager
def serving(directory: Path, rights: Access = Access()) -> Iterator[Served]:  # noqa: B008 - it is frozen
    """Serve on a socket in the directory."""
    served, loop, ready = Served(directory), asyncio.new_event_loop(), threading.Event()
    server = ControlServer(str(directory), lambda: LABEL, lambda: rights)

    async def start() -> None:
        await server.start(served.handlers())
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
