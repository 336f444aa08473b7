"""What the control socket's operators do to the daemon itself: how much it logs, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from filewatchd.clock import Clock
from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, time_text
from filewatchd.jobs.engine import Engine
from filewatchd.service.logging import level, set_level

log = logging.getLogger("filewatchd.service")


class Living:
    """Handlers of `control.api.ROUTES`: level and shutdown."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        configured_level: Callable[[], str],
        grace: Callable[[], float],
        end: Callable[[str], None],
    ) -> None:
        """``grace``: seconds that running jobs get. ``end``: as SIGTERM does; is told what asks for it."""
        self._engine = engine
        self._clock = clock
        self._configured_level = configured_level
        self._grace = grace
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"level": self.level, "shutdown": self.shutdown}

    async def level(self, asked: arguments.Level, peer: Peer) -> documents.Level:
        """Log so much from now on: for a time, or until a reload."""
        was, until = level(), None
        self.forget()
        set_level(asked.level)
        if asked.seconds is not None:
            until = time_text(self._clock.wall_ns() + int(asked.seconds * 1e9))
            self._timer = asyncio.get_running_loop().call_later(asked.seconds, self._go_back)
        return documents.Level(level=asked.level, was=was, until=until)

    def forget(self) -> None:
        """A reload has set the level of the configuration, or somebody sets another."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_back(self) -> None:
        self._timer = None
        set_level(self._configured_level())
        log.info("the log level is %s again", level())

    async def shutdown(self, asked: arguments.Arguments, peer: Peer) -> documents.Ending:
        """Finish what runs, and end: once this is answered, since the socket goes first."""
        running = sum(pipeline.statistics()["running"] for pipeline in self._engine.at_work())
        asyncio.get_running_loop().call_soon(self._end, "shutdown")  # the answer is written before that
        return documents.Ending(running=running, grace=self._grace())
