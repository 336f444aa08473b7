"""What the control socket's routes do: the answers, made of the parts that the daemon is put together from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.control.api import Handler, RequestError, listed
from filewatchd.jobs.engine import Engine
from filewatchd.service.rooting import Rooting

_FLUSH_FOR = 60.0  # seconds, unless the request says otherwise
_LONGEST = 86400.0


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

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"status": self.status, "flush": self.flush}

    async def status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Everything countable, part by part."""
        return self._status()

    async def flush(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``{rule, timeout}``: wait for what happened before, of one rule or of all; say what wasn't waited for."""
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

    def _rules(self, wanted: object) -> Sequence[str]:
        if wanted is None:
            return list(self._engine.pipelines)
        if wanted not in self._engine.pipelines:
            raise RequestError(
                404, f"there is no rule {wanted}; there are {', '.join(self._engine.pipelines) or 'none'}"
            )
        return [str(wanted)]


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST:
        raise RequestError(400, f"timeout is a number of seconds, at most {_LONGEST:.0f}")
    return float(value)
