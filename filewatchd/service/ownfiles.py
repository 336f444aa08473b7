"""The daemon's own files as one more watched set (`daemon.reload_on_change`).

Every file that the configuration was read from is a root, as a rule's file would be: it follows the path over rename,
replacement and flipped links. So is every directory in which rule files are sought, for a new one to be found. What
happens there only says that it is time to look: once all is quiet, the files are read, and what they hold decides. The
same content is tried once, so a broken file is told of once, and whoever mends it is taken at their word.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from filewatchd.config.configuration import Configuration
from filewatchd.errors import FilewatchdError
from filewatchd.model import Region
from filewatchd.rules.match import Selection
from filewatchd.watch.roots import RootKey
from filewatchd.watch.scan import Entry
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.service")

_QUIET = 0.5  # seconds: whoever writes several files is done by then
_MOST = 16 * 1024 * 1024  # bytes read of a file; no configuration is as large


class _Nothing:
    """Compares a full scan with nothing: `watch.roots.Comparison`."""

    every = False

    def feed(self, directories: Sequence[tuple[str, Sequence[Entry]]]) -> None:
        """What is there doesn't matter."""

    def skip(self, directory: str) -> None:
        """Nor what can't be looked into."""

    def finish(self) -> None:
        """Nor what isn't there."""


class OwnFiles:
    """Reloads when own files have changed: a `watch.roots.Subscriber` of all of them."""

    unmounted = 0
    here = 1

    def __init__(self, pool: Pool, reload: Callable[[], Awaitable[object]]) -> None:
        """``reload`` logs what it raises."""
        self._pool = pool
        self._reload = reload
        self._sought: Configuration | None = None
        self._tried = b""  # the content that was last tried
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.selection = Selection((), ())

    def roots(self, configuration: Configuration) -> Mapping[RootKey, OwnFiles]:
        """What is to be watched for this configuration; nothing unless it says so."""
        if not configuration.daemon.reload_on_change:
            self._sought = None
            return {}
        self._sought = configuration
        files = [RootKey(path) for path in configuration.files]
        return dict.fromkeys([*files, *map(_directory_of, configuration.globs)], self)

    def stop(self) -> None:
        """Look no more."""
        self._sought = None
        for each in (self._timer, self._task):
            if each is not None:
                each.cancel()

    def _touched(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_QUIET, self._quiet)

    def _quiet(self) -> None:
        self._timer = None
        if self._task is not None:  # it looks just now: then once more
            self._touched()
        elif self._sought is not None:
            self._task = asyncio.get_running_loop().create_task(self._look(self._sought))
            self._task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._task = None

    async def _look(self, sought: Configuration) -> None:
        content = await self._pool.run("config", content_of, sought)
        if content != self._tried:
            self._tried = content
            with contextlib.suppress(FilewatchdError):
                await self._reload()

    # ---- as a subscriber

    def settle(self, regions: Sequence[Region]) -> None:
        """Mounts don't matter by themselves."""

    def mark(self, path: str, hint: int, now: float) -> None:
        """Something happened to a file."""
        self._touched()

    def pair(self, old: str, new: str) -> None:
        """Both sides of a rename are marked."""

    def beneath(self, directory: str, now: float) -> None:
        """A file or directory is gone, or another one."""
        self._touched()

    def other(self, directory: str, hint: int, now: float) -> None:
        """A directory's own mode and owner don't matter by themselves."""

    def found(self, directory: str, entries: Sequence[Entry], now: float) -> None:
        """A fresh directory."""
        self._touched()

    def comparison(self, *, appeared: bool, lost: bool, came_ns: int) -> _Nothing:
        """A full scan only says that something may have happened."""
        return _Nothing()

    def compared(self, result: Any, now: float) -> None:
        """Nothing was compared."""

    def scan_ended(self, *, whole: bool, now: float) -> None:
        """At the start, after an overflow, or because the path leads elsewhere now."""
        self._touched()


def _directory_of(pattern: str) -> RootKey:
    """The deepest directory that holds all that a glob can match."""
    parts = pattern.split("/")
    plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return RootKey("/".join(parts[:plain]) or "/", recursive=len(parts) - plain > 1)


def content_of(configuration: Configuration) -> bytes:
    """A digest of all that a reload would read, and of who may write it. Blocks."""
    found = (path for pattern in configuration.globs for path in sorted(glob.glob(pattern, recursive=True)))
    digest = hashlib.sha256()
    for path in dict.fromkeys([*configuration.files, *found]):
        digest.update(repr((path, *_facts(path))).encode("utf-8", "surrogateescape"))
    return digest.digest()


def _facts(path: str) -> tuple[object, ...]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            status = os.fstat(file.fileno())
            return status.st_mode, status.st_uid, status.st_gid, hashlib.sha256(file.read(_MOST)).digest()
    except OSError as error:
        return (error.errno,)
