"""What the control socket's routes do: the answers, made of the parts that the daemon is put together from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.control.api import Handler, RequestError, listed, time_text
from filewatchd.errors import StateError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.findings import Finding
from filewatchd.jobs.steering import Steering
from filewatchd.service.rooting import Rooting

_FLUSH_FOR = 60.0  # seconds, unless the request says otherwise
_LONGEST = 86400.0
_MOST_ID = 1 << 63


class Asking:
    """The handlers of `control.api.ROUTES`."""

    def __init__(
        self, engine: Engine, rooting: Rooting, status: Callable[[], dict[str, Any]], configured: asyncio.Event
    ) -> None:
        """``status``: everything that can be told of the daemon. ``configured``: its rules have their roots."""
        self._engine = engine
        self._rooting = rooting
        self._status = status
        self._configured = configured
        self._steering = Steering(engine)

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"status": self.status, "flush": self.flush, "resume": self.resume, "retry": self.retry}

    async def status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Everything countable, part by part."""
        return self._status()

    async def flush(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``{rule, timeout}``: wait for what happened before, of one rule or of all; say what wasn't waited for."""
        _only(arguments, "rule", "timeout")
        wanted, done = arguments.get("rule"), False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_seconds(arguments.get("timeout", _FLUSH_FOR))):
                await self._configured.wait()
                rules = self._rules(wanted)
                await self._rooting.flush()
                await self._engine.flush(rules)
                done = True
        rules = self._rules(wanted)
        left = self._engine.left(rules)
        paths = {name: [listed(path) for path in found] for name, found in left._asdict().items() if name != "paused"}
        return {"done": done, **paths, "paused": left.paused, "stalled": list(map(listed, self._rooting.stalled()))}

    async def resume(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``{rule}``: let it go on, or all that are held; which went on, and which are held still, and why.

        Without a rule it also acknowledges that state was lost.
        """
        _only(arguments, "rule")
        await self._configured.wait()
        rules = self._rules(arguments.get("rule"))
        try:
            resumed = await self._steering.resume(rules)
            acknowledged = "rule" not in arguments and self._acknowledge()
        except StateError as error:
            raise RequestError(503, str(error)) from error
        return {"resumed": resumed, "held": self._steering.held(rules), "acknowledged": acknowledged}

    def _acknowledge(self) -> bool:
        database = self._engine.store.database
        if database.promise_broken_since is None:
            return False
        database.mend_promise()
        return True

    async def retry(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``{id}``, ``{rule}`` or ``{all: true}``: how many paths are tried again; those of held rules wait."""
        _only(arguments, "id", "rule", "all")
        if len(arguments) != 1 or None in arguments.values() or arguments.get("all", True) is not True:
            raise RequestError(400, "say what to retry: one of id (a job's number), rule, and all: true")
        await self._configured.wait()
        rules = self._rules(arguments.get("rule"))
        retried = self._steering.retry(rules, self._job(arguments["id"]) if "id" in arguments else None)
        return {"paths": sum(retried.values()), "rules": retried, "held": self._steering.held(retried)}

    def _job(self, wanted: object) -> int:
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 < wanted < _MOST_ID:
            raise RequestError(400, "id is a job's number")
        if not self._engine.store.journal.has(wanted):
            raise RequestError(404, f"there is no job {wanted}, or it is forgotten")
        return wanted

    def _rules(self, wanted: object) -> Sequence[str]:
        if wanted is None:
            return list(self._engine.pipelines)
        if not isinstance(wanted, str) or wanted not in self._engine.pipelines:
            raise RequestError(
                404, f"there is no rule {wanted}; there are {', '.join(self._engine.pipelines) or 'none'}"
            )
        return [wanted]


def listed_finding(finding: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    where = {} if finding.path is None else listed(finding.path)
    times = {"first": time_text(finding.first_ns), "last": time_text(finding.last_ns), "times": finding.times}
    return {"rule": finding.rule, "key": finding.key, "message": finding.message, **where, **times}


def _only(arguments: Mapping[str, Any], *known: str) -> None:
    """A misspelt argument must not stand for all."""
    for name in arguments:
        if name not in known:
            raise RequestError(400, f"there is no argument {name}; there are {', '.join(known)}")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST:
        raise RequestError(400, f"timeout is a number of seconds, at most {_LONGEST:.0f}")
    return float(value)
