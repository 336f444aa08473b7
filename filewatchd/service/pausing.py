"""What the control socket's operators do to whole rules: pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from filewatchd.control import arguments, documents
from filewatchd.control.access import user_of
from filewatchd.control.api import Handler, Peer
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.steering import Steering
from filewatchd.service.asking import rules_of
from filewatchd.service.report import paused


class Pausing:
    """Handlers of `control.api.ROUTES` that hold rules and let them go."""

    def __init__(self, engine: Engine, configured: asyncio.Event) -> None:
        """``configured``: the rules have their roots."""
        self._engine = engine
        self._configured = configured
        self._steering = Steering(engine)

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"pause": self.pause, "resume": self.resume}

    async def pause(self, asked: arguments.Pause, peer: Peer) -> documents.Paused:
        """Hold a rule; a pause that it has is changed."""
        await self._configured.wait()
        by = await self._engine.pool.run("users", user_of, peer.uid)
        (rule,) = rules_of(self._engine, asked.rule)
        self._steering.pause(rule, asked.reason, asked.seconds, by, discard=asked.discard)
        return documents.Paused(rule=rule, paused=documents.Pause(**paused(self._engine.pipelines[rule]) or {}))

    async def resume(self, asked: arguments.OneRule, peer: Peer) -> documents.Resumed:
        """Let a rule go on, or all that are held; which went on, and which are held still, and why.

        Without a rule it also acknowledges that state was lost.
        """
        await self._configured.wait()
        rules = rules_of(self._engine, asked.rule)
        resumed = await self._steering.resume(rules)
        acknowledged = asked.rule is None and self._acknowledge()
        held = dict(self._steering.held(rules))
        return documents.Resumed(resumed=resumed, held=held, acknowledged=acknowledged)

    def _acknowledge(self) -> bool:
        database = self._engine.store.database
        if database.promise_broken_since is None:
            return False
        database.mend_promise()
        return True
