"""What the control socket's operators do: retry, resume."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.steering import Steering
from filewatchd.service.asking import rules_of


class Operating:
    """Handlers of `control.api.ROUTES` that act on rules and jobs."""

    def __init__(self, engine: Engine, configured: asyncio.Event) -> None:
        """``configured``: the rules have their roots."""
        self._engine = engine
        self._configured = configured
        self._steering = Steering(engine)

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"resume": self.resume, "retry": self.retry}

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

    async def retry(self, asked: arguments.Chosen, peer: Peer) -> documents.Retried:
        """How many paths are tried again; those of held rules wait."""
        await self._configured.wait()
        rules = self._chosen(asked, "retry")
        retried = self._steering.retry(rules, asked.id)
        held = dict(self._steering.held(retried))
        return documents.Retried(paths=sum(retried.values()), rules=dict(retried), held=held)

    def _chosen(self, asked: arguments.Chosen, what: str) -> Sequence[str]:
        """The rules it is about; exactly one of a job, a rule and all has to be said."""
        if sum((asked.id is not None, asked.rule is not None, asked.all)) != 1:
            raise RequestError(400, f"say what to {what}: one of id (a job's number), rule, and all: true")
        if asked.id is not None and not self._engine.store.journal.has(asked.id):
            raise RequestError(404, f"there is no job {asked.id}, or it is forgotten")
        return rules_of(self._engine, asked.rule)
