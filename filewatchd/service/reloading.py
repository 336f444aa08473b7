"""The configuration in force, and how another one takes its place: whole or not at all, one at a time.

Who asks (a route, HUP, the daemon's own files) makes no difference. What means the same as what is in force makes no
new generation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from filewatchd.config.configuration import Configuration
from filewatchd.config.generation import Differences, Generation, differences, until_restart
from filewatchd.errors import ConfigError, FilewatchdError
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.service")

_KEPT = 10  # generations whose values are remembered


class Reloaded(NamedTuple):
    """What a reload came to."""

    generation: Generation
    differences: Differences
    until_restart: list[str]


class Force(NamedTuple):
    """What makes a configuration the one in force; supplied by the daemon.

    Attributes:
        prepare: may raise FilewatchdError, and then nothing has changed. Its second argument, ``fresh``, says that this
            isn't what is in force in other words.
        take_over: it is in force.
        begun: the files are being read.
        ended: there is another generation or another error, or all is as it was.
    """

    prepare: Callable[[Generation, bool], Awaitable[None]]
    take_over: Callable[[Configuration, bool], None]
    begun: Callable[[], None]
    ended: Callable[[], None]


class Reloading:
    """The generations of one life. ``error``: why the last reload was refused."""

    def __init__(self, load: Callable[[], Configuration]) -> None:
        """``load`` blocks. Raises ConfigError with every mistake."""
        self._load = load
        self.generation = Generation(1, load())
        self.error: str | None = None
        self._kept = {1: self.settings}
        self._started_with = self.settings.daemon
        self._lock = asyncio.Lock()
        self._force: Force
        self._pool: Pool

    @property
    def settings(self) -> Configuration:
        """The configuration in force."""
        return self.generation.configuration

    async def begin(self, force: Force, pool: Pool) -> None:
        """Put the first generation into force. Raises FilewatchdError."""
        self._force, self._pool = force, pool
        async with self._lock:
            await force.prepare(self.generation, True)

    async def read(self) -> Configuration:
        """The configuration as it is on disk. Raises ConfigError."""
        return await self._pool.run("config", lambda: _sharing(self._load(), self.settings))

    def kept(self, number: int) -> Configuration | None:
        """One of the last ten generations."""
        return self._kept.get(number)

    @property
    def numbers(self) -> list[int]:
        """The generations that are kept."""
        return list(self._kept)

    async def reload(self) -> Reloaded:
        """Read the files, and let what they say be in force.

        Raises:
            FilewatchdError: it can't be, which is logged; the old generation goes on.
        """
        async with self._lock:
            self._force.begun()
            try:
                reloaded = await self._reload(await self.read())
            except FilewatchdError as error:
                self._refused(error)
                raise
            else:
                self.error = None
            finally:
                self._force.ended()
        return reloaded

    async def _reload(self, new: Configuration) -> Reloaded:
        number, old = self.generation
        found, fresh = differences(old, new), not new.means(old)
        generation = Generation(number + fresh, new)
        await self._force.prepare(generation, fresh)
        self.generation = generation
        self._keep()
        self._force.take_over(new, fresh)
        late = until_restart(self._started_with, new.daemon)
        _tell(generation, found, late, fresh=fresh)
        return Reloaded(generation, found, late)

    def _keep(self) -> None:
        self._kept[self.generation.number] = self.settings
        for number in list(self._kept)[:-_KEPT]:
            del self._kept[number]

    def _refused(self, error: FilewatchdError) -> None:
        self.error = str(error)
        if not isinstance(error, ConfigError):
            log.error("the configuration was not reloaded: %s", error)
            return
        log.error("the configuration was not reloaded, generation %d goes on", self.generation.number)
        for mistake in error.mistakes:  # a line each: a newline within a line of the log is escaped
            log.error("%s", mistake)


def _sharing(new: Configuration, old: Configuration) -> Configuration:
    """The same, with the old one's rows where they are equal: ten generations of a thousand rules would be 50 MB."""
    known = {row.key: row for row in old.rows}
    return new._replace(rows=tuple(same if (same := known.get(row.key)) == row else row for row in new.rows))


def _tell(generation: Generation, found: Differences, late: list[str], *, fresh: bool) -> None:
    if not fresh:
        log.info("the configuration says what it said before, generation %d goes on", generation.number)
        return
    told = [f"{len(names)} {what}" for what, names in zip(found._fields, found, strict=True) if names]
    log.info("generation %d: rules %s", generation.number, ", ".join(told) or "none")
    for warning in generation.configuration.warnings:
        log.warning("%s", warning)
    for key in late:
        log.warning("daemon.%s was changed: it holds from the next start on", key)
