"""Extras: what pip installs only where it is asked for, as ``filewatchd[NAME]``; and which backends need one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import NamedTuple

#: extra -> the modules it brings
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "blake3": ("blake3",),
    "lz4": ("lz4",),
    "metrics": ("prometheus_client",),
    "tui": ("textual",),
    "systemd": ("systemd", "dbus_fast"),
    "seal": ("cryptography",),
    "zstd": ("zstandard",),
    "pyinotify": ("pyinotify", *(("asyncore",) if sys.version_info >= (3, 12) else ())),
}


class Demands(NamedTuple):
    """What a backend can't do without."""

    platform: str | None = None  # as in sys.platform
    extra: str | None = None


BACKENDS: Mapping[str, Demands] = {
    "inotify": Demands("linux"),
    "poll": Demands(),
    "pyinotify": Demands("linux", "pyinotify"),
    "watchdog": Demands(),
}


def lacks(extra: str) -> tuple[str, str] | None:
    """What is wrong with an extra that is needed, and the remedy; None if it is installed."""
    if extra not in EXTRAS:
        return f"filewatchd has no extra {extra}", "report it to the action's authors"
    missing = [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    return f"the extra {extra} is not installed ({', '.join(missing)})", f"pip install 'filewatchd[{extra}]'"


def backend_lacks(name: str, platform: str = sys.platform) -> tuple[str, str] | None:
    """Why a backend can't be used here, and the remedy; None if it can (also ``auto``)."""
    demands = BACKENDS.get(name, Demands())
    if demands.platform not in (None, platform):
        return f"the backend {name} needs {demands.platform}", "write `backend: auto`"
    lack = lacks(demands.extra) if demands.extra is not None else None
    return (f"the backend {name} can't work: {lack[0]}", lack[1]) if lack else None
