"""Ending units that nobody waits for any more: those of an earlier life, or of a connection that was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from filewatchd.errors import FilewatchdError

if TYPE_CHECKING:
    from filewatchd.work.manager import Manager

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.05  # seconds between two looks at units that are being ended


def leftovers(prefix: str) -> list[str]:
    """The unit files of an earlier life: systemd keeps those of transient units below /run while it has the units."""
    runtime = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    try:
        return [name for name in os.listdir(f"{runtime}/systemd/transient") if name.startswith(prefix)]
    except OSError:
        return []


async def end_all(manager: Manager, prefix: str, patience: float) -> None:
    """End every unit whose name begins so. What still runs after ``patience`` seconds has been killed, and is told.

    Raises:
        FilewatchdError: systemd can't be asked.
    """
    names = await manager.loaded(f"{prefix}*")
    if names:
        log.warning("ending %d units that were left running: %s", len(names), ", ".join(names[:10]))
    deadline = time.monotonic() + patience
    while names:
        if time.monotonic() > deadline:
            tell_stuck(names)
            break
        for name in names:
            await quietly(manager.kill(name))
            await quietly(manager.stop(name))
            await quietly(manager.reset_failed(name))
        await asyncio.sleep(_LOOK_AGAIN)
        names = await manager.loaded(f"{prefix}*")


def tell_stuck(names: Sequence[str]) -> None:
    """Log that something was killed and doesn't die."""
    shown = ", ".join(names[:10])
    log.error("processes of %s can't be killed (they wait inside the kernel); systemctl status has them", shown)


async def quietly(work: Coroutine[Any, Any, None]) -> None:
    """Ask for something that may have come about already."""
    with contextlib.suppress(FilewatchdError):
        await work
