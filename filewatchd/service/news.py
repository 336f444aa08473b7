"""What of the daemon's life systemd is told, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from filewatchd.jobs.engine import Engine
from filewatchd.service.report import Life
from filewatchd.service.rooting import Rooting
from filewatchd.service.systemd import ServiceManager


class News:
    """Tells the service manager that the daemon lives, how things stand, and what it is about."""

    def __init__(self, manager: ServiceManager, engine: Engine, rooting: Rooting, life: Callable[[], Life]) -> None:
        self._manager = manager
        self._engine = engine
        self._rooting = rooting
        self._life = life
        self._beats = asyncio.get_running_loop().create_task(manager.beat(self._text, self._is_busy))

    def ready(self) -> None:
        """Every root has been looked at: nobody will ask for what is left of an earlier life."""
        self._rooting.give_up_retained()
        self._manager.leave_rest()
        self._manager.ready(self._text())

    def reload_begins(self) -> None:
        """A configuration is read. Until the daemon is ready, systemd waits for that alone."""
        if self._life().ready:
            self._manager.reloading()

    def reload_over(self) -> None:
        """It is in force, or refused."""
        if self._life().ready:
            self._manager.ready(self._text())

    def stopping(self) -> None:
        """The end has begun."""
        self._manager.stopping()

    def stop(self) -> None:
        """Tell no more."""
        self._beats.cancel()

    def _is_busy(self) -> bool:
        life = self._life()
        return life.draining or not life.ready

    def _text(self) -> str:
        """One line for `systemctl status`."""
        life, pipelines = self._life(), self._engine.at_work()
        state = "draining" if life.draining else "running" if life.ready else "starting"
        dirty, running = sum(len(p.window) for p in pipelines), sum(len(p.batches) for p in pipelines)
        text = f"{state}: {self._rooting.described()}"
        paused = sum(p.holding.why is not None for p in pipelines)
        more = [
            f"{number:,} {word}"
            for number, word in ((dirty, "dirty"), (running, "running"), (paused, "paused"))
            if number
        ]
        error = ["the configuration on disk is refused"] if life.config_error else []
        return "; ".join([text, *([", ".join(more)] if more else []), *error])
