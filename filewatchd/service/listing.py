"""What the control socket's readers ask of rules and jobs: the rules as they are configured, jobs, a job's story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from filewatchd.config.configuration import Configuration
from filewatchd.config.origins import UNKNOWN
from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError, time_text, words
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.queue import JobState
from filewatchd.jobs.records import History, JobRecord
from filewatchd.jobs.runner import in_words
from filewatchd.model import Kind, RuleSettings
from filewatchd.notation import MalformedError, parse_moment
from filewatchd.service import story
from filewatchd.service.report import Life, paused, rule_state
from filewatchd.state.background import Background

T = TypeVar("T")
Reached = tuple[int, int, str]  # done, total, unit
_LANE = "history"  # of the pool: reading takes a moment where much is kept


class Listing:
    """Handlers of `control.api.ROUTES`: rules, jobs, job."""

    def __init__(self, engine: Engine, life: Callable[[], Life]) -> None:
        self._engine = engine
        self._life = life

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"rules": self.rules, "jobs": self.jobs, "job": self.job}

    async def rules(self, _: arguments.Arguments, peer: Peer) -> documents.Rules:
        """Every configured rule, disabled ones too."""
        configuration = self._life().configuration
        return documents.Rules(rules=[self._rule(rule, configuration) for rule in configuration.rules])

    def _rule(self, rule: RuleSettings, configuration: Configuration) -> documents.RuleInfo:
        pipeline = self._engine.pipelines.get(rule.name)
        state: dict[str, Any] = {"state": "disabled", "paused": None}
        if pipeline is not None:
            state = {"state": rule_state(pipeline), "paused": paused(pipeline)}
        told = {
            **_settings(rule),
            **state,
            "roots": [words(root) for root in rule.roots],
            "changes": [kind.value for kind in Kind if kind in rule.changes],
            "actions": [action.name for action in rule.actions],
            "origin": configuration.origins.get(rule.name, UNKNOWN).rule or None,
        }
        return msgspec.convert(told, documents.RuleInfo)

    async def jobs(self, asked: arguments.Jobs, peer: Peer) -> documents.Jobs:
        """The newest jobs of those asked for, and where the next page begins."""
        since_ns = None if asked.since is None else _nanoseconds(asked.since)

        def read(history: History) -> list[JobRecord]:
            return history.recent(
                rule=asked.rule, state=asked.state, since_ns=since_ns, before=asked.before, limit=asked.limit + 1
            )

        found = await self._read(read)
        shown = found[: asked.limit]
        more = shown[-1].id if len(found) > len(shown) else None
        running = self._progress()
        return documents.Jobs(jobs=[row(job, running) for job in shown], next_before=more)

    async def job(self, asked: arguments.Job, peer: Peer) -> documents.Job:
        """All that is known of one job."""
        kept = await self._read(lambda history: story.read(history, asked.id))
        if kept is None:
            raise RequestError(404, f"there is no job {asked.id}, or it is forgotten")
        return story.told(kept, row(kept.job, self._progress()), self._engine.clock.wall_ns())

    async def _read(self, question: Callable[[History], T]) -> T:
        """Ask the journal, in the pool."""
        path = self._engine.store.database.path

        def read() -> T:
            with Background(path) as connection:
                return question(History(connection))

        return await self._engine.pool.run(_LANE, read)

    def _progress(self) -> Mapping[int, Reached | None]:
        """How far the running jobs are, by their numbers."""
        return {record.id: record.reached for p in self._engine.pipelines.values() for record in p.batches.jobs()}


def _settings(rule: RuleSettings) -> dict[str, Any]:
    """What is told of a rule just as it is configured."""
    names = (
        "name", "description", "enabled", "include", "exclude", "presets", "ready", "settle", "max_wait", "batch",
        "on_busy", "concurrency", "user",
    )  # fmt: skip
    return {name: msgspec.to_builtins(getattr(rule, name)) for name in names}


def row(job: JobRecord, running: Mapping[int, Reached | None]) -> documents.JobRow:
    """A job in a list. ``running``: how far those are that run now, by their numbers."""
    done, total, unit = running.get(job.id) or (None, None, None)
    ended = job.state in (JobState.OK, JobState.FAILED, JobState.CANCELLED)
    finished_ns = job.finished_ns if ended else None
    return documents.JobRow(
        id=job.id,
        rule=job.rule,
        trigger=job.trigger,
        state=job.state,
        attempt=job.attempt,
        generation=job.generation,
        created=time_text(job.created_ns),
        started=time_text(job.started_ns),
        finished=None if finished_ns is None else time_text(finished_ns),
        until=None if job.until_ns is None else time_text(job.until_ns),
        seconds=None if finished_ns is None else max(0, finished_ns - job.started_ns) / 1e9,
        paths=job.total,
        outcomes=story.outcomes(job),
        open=job.open,
        message=words(job.message),
        progress=words(in_words(running[job.id]) if job.id in running else job.progress),
        done=done,
        total=total,
        unit=unit,
    )


def _nanoseconds(text: str) -> int:
    """A time of an argument.

    Raises:
        RequestError: it is none.
    """
    try:
        return parse_moment(text)
    except MalformedError as error:
        raise RequestError(400, f"since: {error}; {error.hint}") from None
