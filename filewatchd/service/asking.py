"""What the control socket's readers ask: the answers, made of the parts that the daemon is put together from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError, listed
from filewatchd.jobs.engine import Engine
from filewatchd.service.rooting import Rooting


class Asking:
    """Handlers of `control.api.ROUTES`: status and flush."""

    def __init__(
        self, engine: Engine, rooting: Rooting, status: Callable[[], documents.Status], configured: asyncio.Event
    ) -> None:
        """``status``: everything that can be told of the daemon. ``configured``: its rules have their roots."""
        self._engine = engine
        self._rooting = rooting
        self._status = status
        self._configured = configured

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"status": self.status, "flush": self.flush}

    async def status(self, _: arguments.Arguments, peer: Peer) -> documents.Status:
        """Everything countable, part by part."""
        return self._status()

    async def flush(self, asked: arguments.Flush, peer: Peer) -> documents.Flushed:
        """Wait for what happened before, of one rule or of all; say what wasn't waited for."""
        done = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(asked.timeout):
                await self._configured.wait()
                rules = rules_of(self._engine, asked.rule)
                await self._rooting.flush()
                await self._engine.flush(rules)
                done = True
        left = self._engine.left(rules_of(self._engine, asked.rule))
        return documents.Flushed(
            done=done,
            held=_told(left.held),
            backoff=_told(left.backoff),
            failed=_told(left.failed),
            skipped=_told(left.skipped),
            paused=list(left.paused),
            stalled=_told(self._rooting.stalled()),
        )


def rules_of(engine: Engine, wanted: str | None) -> Sequence[str]:
    """The rule of this name, or all that run.

    Raises:
        RequestError: there is none.
    """
    if wanted is None:
        return list(engine.rules)
    if wanted not in engine.pipelines:
        rule, _, event = wanted.partition(":")
        if event and rule in engine.rules:
            others = ", ".join(sorted(name for name in engine.pipelines if name.startswith(f"{rule}:"))) or "none"
            raise RequestError(404, f"rule {rule} has no notification {event}; there are {others}")
        if engine.generations.digest(wanted):
            raise RequestError(404, f"rule {wanted} is disabled; set `enabled: true` to put it to work")
        known = ", ".join(engine.rules) or "none"
        raise RequestError(404, f"there is no rule {wanted}; there are {known}")
    return [wanted]


def _told(paths: Sequence[str]) -> list[documents.PathTold]:
    return [documents.PathTold(**listed(path)) for path in paths]
