"""What the control socket's operators do to jobs and their paths: retry, cancel, drop, trigger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.control import arguments, documents
from filewatchd.control.access import user_of
from filewatchd.control.api import Handler, Peer, RequestError, decoded, listed
from filewatchd.errors import StalledError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.steering import Steering
from filewatchd.service.asking import rules_of
from filewatchd.service.planning import planned


class Operating:
    """Handlers of `control.api.ROUTES` that act on jobs and paths."""

    def __init__(self, engine: Engine, configured: asyncio.Event) -> None:
        """``configured``: the rules have their roots."""
        self._engine = engine
        self._configured = configured
        self._steering = Steering(engine)

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"retry": self.retry, "cancel": self.cancel, "drop": self.drop, "trigger": self.trigger}

    async def retry(self, asked: arguments.Chosen, peer: Peer) -> documents.Retried:
        """How many paths are tried again; those of held rules wait."""
        await self._configured.wait()
        rules = self._chosen(asked, "retry")
        repeated = self._steering.repeat(asked.id) if asked.id is not None else None
        retried = self._steering.retry(rules, asked.id) if repeated is None else {}
        held = dict(self._steering.held([*retried, *filter(None, [repeated])]))
        jobs = int(repeated is not None)
        return documents.Retried(paths=sum(retried.values()), jobs=jobs, rules=dict(retried), held=held)

    async def cancel(self, asked: arguments.Job, peer: Peer) -> documents.Cancelled:
        """End a job. The answer doesn't wait for its commands, which get their grace."""
        await self._configured.wait()
        by = await self._name(peer)
        self._must_have(asked.id)
        found = self._steering.cancel(asked.id, by)
        if found is None:
            raise RequestError(409, f"job {asked.id} has ended")
        state, paths = found
        return documents.Cancelled(id=asked.id, was=state, paths=paths)

    async def drop(self, asked: arguments.Chosen, peer: Peer) -> documents.Dropped:
        """Give paths up. A later change of one is a change again."""
        await self._configured.wait()
        rules, by = self._chosen(asked, "drop"), await self._name(peer)
        try:
            dropped = await self._steering.drop(rules, by, asked.id)
        except StalledError as error:
            raise RequestError(503, str(error)) from None
        return documents.Dropped(paths=sum(dropped.values()), rules=dict(dropped))

    async def trigger(self, asked: arguments.Trigger, peer: Peer) -> documents.Triggered:
        """Ask for a job, or for what it would do."""
        await self._configured.wait()
        (rule,) = rules_of(self._engine, asked.rule)
        paths = _paths(asked)
        matched = await self._steering.matched(rule, paths)
        refused = [documents.PathTold(**listed(path)) for path in dict.fromkeys(paths) if path not in set(matched)]
        asks = bool(matched) or not paths  # of nothing but refused paths, no job is to be made
        plans: Mapping[str, Any] = {}
        if asked.dry_run and asks:
            plans = await self._plans(rule, matched)
        elif asks:
            self._steering.trigger(rule, matched)
        held = self._steering.held([rule]).get(rule)
        return documents.Triggered(
            rule=rule, dry_run=asked.dry_run, paths=len(matched), refused=refused, held=held, **plans
        )

    async def _plans(self, rule: str, paths: Sequence[str]) -> Mapping[str, Any]:
        try:
            return planned(await self._steering.plan(rule, paths))
        except StalledError as error:
            raise RequestError(503, str(error)) from None

    async def _name(self, peer: Peer) -> str:
        return await self._engine.pool.run("users", user_of, peer.uid)

    def _must_have(self, job: int) -> None:
        if not self._engine.store.journal.has(job):
            raise RequestError(404, f"there is no job {job}, or it is forgotten")

    def _chosen(self, asked: arguments.Chosen, what: str) -> Sequence[str]:
        """The rules it is about; exactly one of a job, a rule and all has to be said."""
        if sum((asked.id is not None, asked.rule is not None, asked.all)) != 1:
            raise RequestError(400, f"say what to {what}: one of id (a job's number), rule, and all: true")
        if asked.id is not None:
            self._must_have(asked.id)
        return rules_of(self._engine, asked.rule)


def _paths(asked: arguments.Trigger) -> list[str]:
    """The paths that are meant, without ``.`` and ``..``, each once.

    Raises:
        RequestError: one isn't absolute, or no base64.
    """
    paths = [*asked.paths, *(decoded(text, "paths_b64") for text in asked.paths_b64)]
    for path in paths:
        if not path.startswith("/") or "\0" in path:
            raise RequestError(400, f"paths: {path!r} isn't an absolute path")
    return list(dict.fromkeys(map(os.path.normpath, paths)))
