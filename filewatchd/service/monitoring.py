"""What tells others whether the daemon is well: metrics and health, over the socket, a port of the loopback, a file."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from filewatchd.config.schema import Control
from filewatchd.control import arguments, documents, http
from filewatchd.control.api import METRICS, Handler, Peer, RequestError, Text, Told
from filewatchd.control.encoding import encoded
from filewatchd.control.loopback import LoopbackServer, address_of
from filewatchd.extras import lacks
from filewatchd.jobs.engine import Engine
from filewatchd.service.exposition import exposition
from filewatchd.service.health import health
from filewatchd.service.metrics import View
from filewatchd.service.textfile import Textfile
from filewatchd.work.pool import Pool


class Monitoring:
    """Handlers of `control.api.ROUTES`: metrics and health; and the same where the configuration puts them besides."""

    def __init__(
        self, pool: Pool, engine: Engine, status: Callable[[], documents.Status], label: Callable[[], Mapping[str, str]]
    ) -> None:
        """``status``: all that can be told of the daemon. ``label``: host and instance."""
        self._pool = pool
        self._engine = engine
        self._status = status
        self._label = label
        self._server: LoopbackServer | None = None
        self._textfile = Textfile(pool, self._text)
        self._pages = {"/metrics": self._metrics_page, "/healthz": self._health_page}

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"metrics": self.metrics, "health": self.health}

    async def metrics(self, _: arguments.Arguments, peer: Peer) -> Text:
        """All metrics."""
        if lack := lacks("metrics"):
            raise RequestError(501, f"{lack[0]}; {lack[1]}")
        return Text(await self._text())

    async def health(self, _: arguments.Arguments, peer: Peer) -> Told:
        """Whether it is well."""
        return health(self._status())

    async def _text(self) -> str:
        """The values are taken here, at one moment; written down they are beside the loop."""
        timings = {name: pipeline.timings for name, pipeline in self._engine.rules.items()}
        return await self._pool.run("control", exposition, View(self._status(), timings))

    # ---- the port and the file

    @contextlib.asynccontextmanager
    async def taking(self, control: Control) -> AsyncIterator[None]:
        """Take over what a configuration says once all else has; a port is taken before, and given back if that fails.

        Raises:
            FatalError: the port can't be had; nothing has changed.
        """
        old, new = self._server, self._bound(control.listen)
        try:
            yield
        except BaseException:
            if new is not None and new is not old:
                await new.stop()
            raise
        self._server = new
        if new is not old:
            if old is not None:
                await old.stop()
            if new is not None:
                await new.start()
        await self._textfile.configure(control.textfile, control.textfile_every)

    def _bound(self, listen: str | None) -> LoopbackServer | None:
        if listen is None:
            return None
        if self._server is not None and self._server.address == address_of(listen):
            return self._server
        return LoopbackServer(listen, self._pages)

    async def stop(self) -> None:
        """Listen no more, and leave in the file that the daemon has ended."""
        if self._server is not None:
            await self._server.stop()
        await self._textfile.stop()

    async def _metrics_page(self) -> http.Reply:
        return http.Reply(200, METRICS, (await self._text()).encode())

    async def _health_page(self) -> http.Reply:
        status, document = health(self._status())
        body = encoded({**self._label(), **msgspec.to_builtins(document)}) + b"\n"
        return http.Reply(status, "application/json", body)
