"""Processes and cgroups, as the kernel shows them in /proc and in the cgroup filesystem.

The spawner uses this too, so it imports as little as possible.
"""

from __future__ import annotations

import contextlib
import os
import signal

TYPE_CHECKING = False  # the module typing is more than all the rest that the spawner imports
if TYPE_CHECKING:
    from typing import Any

TOKEN = b"FILEWATCHD_TOKEN"  # a command's name, in the environment of all its descendants


def first_dead() -> Any:
    """A child that ended and was not waited for, as waitid(2) describes it; it stays a zombie. None: there is none."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None


def children(parent: int) -> list[int]:
    """The pids of a single-threaded process's children."""
    try:
        return [int(pid) for pid in read(f"/proc/{parent}/task/{parent}/children").split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and stat_of(pid)[1:2] == [b"%d" % parent]]


def stat_of(pid: int | str) -> list[bytes]:
    """State, parent, process group, session and more of a process; empty if it is gone."""
    try:
        return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return []


def session_of(pid: int) -> int | None:
    """The session of a living process; None for a zombie, which needs no killing."""
    stat = stat_of(pid)
    return int(stat[3]) if stat and stat[0] not in (b"Z", b"X") else None


def token_of(pid: int | str) -> bytes:
    """The token in a process's environment; empty where there is none, or it is hidden from us."""
    try:
        variables = read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return b""
    return next((value.partition(b"=")[2] for value in variables if value.startswith(TOKEN + b"=")), b"")


def read(path: str) -> bytes:
    """A small file of /proc or of a cgroup, whole."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = piece = os.read(fd, 65536)
        while piece:
            piece = os.read(fd, 65536)
            data += piece
        return data
    finally:
        os.close(fd)


def signal_group(leader: int, number: int) -> None:
    """Signal a command's process group, or the command alone where it has not made its group yet."""
    try:
        os.killpg(leader, number)
    except OSError:
        with contextlib.suppress(OSError):
            os.kill(leader, number)


def kill_whole(pid: int) -> None:
    """Kill a child of ours and its process group; killing a group is one step, no fork escapes it."""
    with contextlib.suppress(OSError):
        if (group := os.getpgid(pid)) != os.getpgid(0):
            os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


# ---- cgroups; "" stands for none


def members(group: str) -> set[int]:
    """The living processes in a cgroup and the groups below it, but those of other PID namespaces, listed as 0."""
    try:
        if not group or b"populated 1" not in read(f"{group}/cgroup.events"):
            return set()
        pids = b" ".join(read(f"{folder}/cgroup.procs") for folder, _, _ in os.walk(group))
    except OSError:  # it is gone, and so are they
        return set()
    return {int(pid) for pid in pids.split()} - {0}  # to kill 0 would end our own process group


def kill_group(group: str) -> None:
    """Kill all that is in a cgroup, and below it."""
    if not group:
        return
    try:
        fd = os.open(f"{group}/cgroup.kill", os.O_WRONLY)
    except OSError:  # a kernel older than 5.14
        for pid in members(group):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return
    with contextlib.suppress(OSError):
        os.write(fd, b"1")
    os.close(fd)


def remove_group(group: str) -> None:
    """Remove an empty cgroup, and the empty ones that a command made below it."""
    if not group:
        return
    try:
        os.rmdir(group)
    except OSError:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
