"""Who did what, and who was refused: a line in the log for each act, and for refusals so few that nobody floods it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from filewatchd.control.access import name_of
from filewatchd.control.api import Peer, Route

log = logging.getLogger("filewatchd.control")

_LOGGED = 200  # characters of a request's arguments
_QUIET = 60.0  # seconds after a line about a user's refusal, in which more of them are only counted
_MOST = 1000  # users remembered


class Account:
    """Keeps the account. Names are asked for beside the loop, because a directory of users may take its time."""

    def __init__(
        self,
        blocking: Callable[..., Awaitable[Any]],
        now: Callable[[], float] = time.monotonic,
        patience: float = 2.0,
    ) -> None:
        """``blocking(function, *arguments)``: run it in a thread. ``now``: seconds.

        ``patience``: seconds for a directory of users to answer; then a user is told of by number.
        """
        self._blocking = blocking
        self._patience = patience
        self._now = now
        self._names: dict[int, tuple[str, float]] = {}  # by uid, with the time of asking
        self._refusals: dict[int, tuple[float, int]] = {}  # by uid: when a line was logged, how many came since

    async def acted(self, peer: Peer, route: Route, arguments: Any) -> None:
        """Log what somebody is about to do."""
        said = {name: value for name, value in msgspec.to_builtins(arguments).items() if value not in (None, (), [])}
        log.info("%s, pid %d: %s %s", await self._name(peer.uid), peer.pid, route.name, str(said)[:_LOGGED])

    async def refused(self, peer: Peer, route: Route, key: str) -> str:
        """Log that somebody was refused, if that isn't said all the time; why, and what would help.

        Args:
            peer: who.
            route: what was asked.
            key: of the configuration that would let it.
        """
        name = await self._name(peer.uid)
        logged, more = self._refusals.get(peer.uid, (-_QUIET, 0))
        now = self._now()
        if now - logged < _QUIET:
            self._refusals[peer.uid] = logged, more + 1
        else:
            since = f"; {more} more since the last such line" if more else ""
            log.warning("%s, pid %d was refused: %s needs %s%s", name, peer.pid, route.name, key, since)
            self._remember(self._refusals, peer.uid, (now, 0))
        what = "act on" if route.acts else "ask"
        return f"{name} may not {what} this daemon: name the user, or a @group of theirs, under {key}"

    async def _name(self, uid: int) -> str:
        name, asked = self._names.get(uid, ("", -_QUIET))
        if self._now() - asked >= _QUIET:
            try:
                async with asyncio.timeout(self._patience):
                    name = await self._blocking(name_of, uid)
            except TimeoutError:
                name = f"uid {uid}"
            self._remember(self._names, uid, (name, self._now()))
        return name

    def _remember(self, where: dict[int, Any], uid: int, value: Any) -> None:
        where.pop(uid, None)
        where[uid] = value
        if len(where) > _MOST:
            del where[next(iter(where))]
