"""What systemd is told of the daemon (sd_notify(3)) and what it hands over (sd_listen_fds(3)); systemd-python talks.

Handed over are the sockets of a socket unit, and what an earlier life put into the file-descriptor store, which
outlives kill -9 and a restart: inotify descriptors, whose queue goes on filling meanwhile (`inotify_retained`).

A start, a stop and a reload may take as long as they make progress: until READY=1, and again from STOPPING=1 on,
EXTEND_TIMEOUT_USEC= is sent with every beat. Beats come from the loop, and with them WATCHDOG=1: a filesystem that
hangs holds up threads of the pool, never the loop, so only a daemon that does nothing any more is killed.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.errors import FatalError
from filewatchd.extras import lacks

log = logging.getLogger("filewatchd.service")

_BEAT = 5.0  # seconds, unless the watchdog asks for less
_EXTENSION = 60.0  # seconds that a beat asks for
_OPENING = 600.0  # seconds until the first beat: roots may not answer, and journals are migrated, with a backup
_ASKED = ("NOTIFY_SOCKET", "WATCHDOG_USEC")
_INOTIFY = "anon_inode:inotify"  # what /proc/self/fd says of one


class ServiceManager:
    """systemd, as far as it asks for something. It is a `watch.backends.base.Keeper`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Take what was handed over. Called once in a life.

        Raises:
            FatalError: the environment says that systemd waits for news, and the extra is missing.
        """
        asked = [name for name in _ASKED if name in environ]
        if environ.get("LISTEN_PID") == str(os.getpid()):
            asked.append("LISTEN_FDS")
        self._daemon: Any = _library(asked) if asked else None  # None: nobody asks
        self._beat = _beat(environ) if asked else None
        self._kept: dict[str, int] = {}
        self.socket: socket.socket | None = None
        if self._daemon is not None:
            for fd, name in self._daemon.listen_fds_with_names(unset_environment=True).items():
                self._take_over(fd, name)

    def _take_over(self, fd: int, name: str) -> None:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            given = socket.socket(fileno=fd)
            fits = given.family == socket.AF_UNIX and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if fits and self.socket is None:
                given.setblocking(False)
                self.socket = given
                return
            given.close()
        elif os.readlink(f"/proc/self/fd/{fd}") == _INOTIFY and name not in self._kept:
            self._kept[name] = fd
            return
        else:
            os.close(fd)
        log.warning("systemd handed over %s, which isn't a socket to listen on or of use otherwise: closed", name)

    # ---- the file-descriptor store

    def take(self, name: str) -> int | None:
        """What an earlier life left under this name."""
        return self._kept.pop(name, None)

    def keep(self, name: str, fd: int) -> None:
        """Leave a descriptor to the next life. It isn't polled, which would have systemd drop it on the first error."""
        self._tell([fd], FDSTORE="1", FDNAME=name, FDPOLL="0")

    def leave_rest(self) -> None:
        """Give up what nobody has taken."""
        for name, fd in self._kept.items():
            os.close(fd)
            self._tell((), FDSTOREREMOVE="1", FDNAME=name)
            log.info("no rule asks for %s any more: what it had noticed is given up", name)
        self._kept.clear()

    # ---- news

    def opening(self) -> None:
        """Configuration and state are about to be opened: holding up the loop, and maybe for long."""
        self._tell((), EXTEND_TIMEOUT_USEC=_usec(_OPENING), STATUS="Opening configuration and state")

    def ready(self, text: str) -> None:
        """Every root has been looked at, or the configuration that was being reloaded is in force, or refused."""
        self._tell((), READY="1", STATUS=text)

    def reloading(self) -> None:
        """A configuration is being reloaded; `ready` says when it has been."""
        self._tell((), RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """What runs is finished, and no more begins."""
        self._tell((), STOPPING="1", STATUS="Finishing what runs", EXTEND_TIMEOUT_USEC=_usec(_EXTENSION))

    async def beat(self, text: Callable[[], str], busy: Callable[[], bool]) -> None:
        """Tell that the loop lives, and how things stand, until cancelled. ``busy``: it starts or ends just now."""
        while self._beat is not None:
            news = {"WATCHDOG": "1", "STATUS": text()}
            if busy():
                news["EXTEND_TIMEOUT_USEC"] = _usec(_EXTENSION)
            self._tell((), **news)
            await asyncio.sleep(self._beat)

    def _tell(self, fds: Sequence[int], **news: str) -> None:
        if self._daemon is None:
            return
        text = "\n".join(f"{name}={value}" for name, value in news.items())
        try:
            self._daemon.notify(text, fds=list(fds))
        except OSError as error:  # its socket may be full or gone: it will ask the watchdog
            log.debug("systemd wasn't told %s: %s", text, error)


def _library(asked: Sequence[str]) -> Any:
    lack = lacks("systemd")
    if lack is not None:
        why = f"systemd waits for news of this daemon ({', '.join(asked)}), but {lack[0]}"
        raise FatalError(f"{why}; {lack[1]}, or write Type=exec and no WatchdogSec= in its unit", exit_code=78)
    return importlib.import_module("systemd.daemon")  # it has no types


def _beat(environ: Mapping[str, str]) -> float:
    """Seconds between two beats: at most a third of the watchdog's time, sd_watchdog_enabled(3)."""
    ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    limit = environ.get("WATCHDOG_USEC", "") if ours else ""
    return min(_BEAT, int(limit) / 3e6) if limit.isdecimal() and int(limit) else _BEAT


def _usec(seconds: float) -> str:
    return str(int(seconds * 1e6))
