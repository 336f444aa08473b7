"""The kernel's limits on inotify, and how much of them is taken, for `filewatchd doctor`.

What the kernel does: inotify(7) counts watches and instances for each user, over all processes. A directory costs one
watch in each instance that watches it, however many rules want it. The limit stands twice: ``fs.inotify.max_user_*``
is the first user namespace's, ``user.max_inotify_*`` the one we are in (namespaces(7)); the smaller one holds. What is
taken isn't told anywhere, but /proc/PID/fdinfo lists the watches of each instance of a process, proc(5).
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from typing import NamedTuple

WATCHES, INSTANCES, QUEUE = "max_user_watches", "max_user_instances", "max_queued_events"
_IN_NAMESPACE = {WATCHES: "max_inotify_watches", INSTANCES: "max_inotify_instances"}


class Limit(NamedTuple):
    """One limit. ``used``: what other processes of this user take. None: unknown, or no such number."""

    kind: str  # WATCHES, INSTANCES or QUEUE
    name: str  # the sysctl that sets it
    limit: int
    needed: int | None = None
    used: int | None = None

    @property
    def share(self) -> float | None:
        """The share of the limit that is taken once the daemon has what it needs."""
        if self.needed is None:
            return None
        return (self.needed + (self.used or 0)) / self.limit if self.limit else float("inf")


class Usage(NamedTuple):
    """What a user's processes take."""

    watches: int
    instances: int


def limits(watches: int | None, instances: int, used: Usage) -> tuple[Limit, ...]:
    """The limits against what the daemon needs (``watches`` None: not counted); those the system doesn't have left out.

    The instances are one more than the backends': what waits for a single file's next write has its own.
    """
    needs = {WATCHES: (watches, used.watches), INSTANCES: (instances + 1, used.instances), QUEUE: (None, None)}
    found = []
    for kind, (needed, taken) in needs.items():
        setting = _setting(kind)
        if setting is not None:
            found.append(Limit(kind, *setting, needed, taken))
    return tuple(found)


def _setting(kind: str) -> tuple[str, int] | None:
    """The sysctl that holds, and its value."""
    names = [f"fs.inotify.{kind}"]
    if kind in _IN_NAMESPACE:
        names.append(f"user.{_IN_NAMESPACE[kind]}")
    values = [(value, name) for name in names if (value := _read(name)) is not None]
    if not values:
        return None
    value, name = min(values, key=lambda found: found[0])  # the first one where both are the same
    return name, value


def _read(name: str) -> int | None:
    try:
        with open(f"/proc/sys/{name.replace('.', '/')}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def usage(but: int | None = None) -> Usage:
    """What the processes of this user take, but for one: a daemon that runs already doesn't count twice."""
    counts = [_watches(pid, fd) for pid in _processes(but) for fd in _instances(pid)]
    return Usage(sum(counts), len(counts))


def _processes(but: int | None) -> Iterator[int]:
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            if name.isdecimal() and int(name) != but and os.stat(f"/proc/{name}").st_uid == os.geteuid():
                yield int(name)
        except OSError:
            continue  # it has ended


def _instances(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") == "anon_inode:inotify":
                yield name
        except OSError:
            continue


def _watches(pid: int, fd: str) -> int:
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
            return sum(line.startswith(b"inotify ") for line in file)
    except OSError:
        return 0


def raise_descriptor_limit() -> None:
    """A walk holds a descriptor a level, commands a few each: take all that is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def collect_seldom() -> None:
    """Let cycles lie for longer.

    A burst makes values without any, and the collector looks at every 700 of them, and at all again and again: 7 % of
    the processor time of an overflow.
    """
    gc.set_threshold(10_000, 20, 20)
