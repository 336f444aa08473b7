"""What the control socket's operators do to jobs and their paths: retry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.steering import Steering
from filewatchd.service.asking import rules_of


class Operating:
    """Handlers of `control.api.ROUTES` that act on jobs and paths."""

    def __init__(self, engine: Engine, configured: asyncio.Event) -> None:
        """``configured``: the rules have their roots."""
        self._engine = engine
        self._configured = configured
        self._steering = Steering(engine)

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"retry": self.retry}

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
