"""A wait that can be had beforehand: the one of the kernel before a process may change its cgroup.

The kernel lets a process into another cgroup only when every processor has been seen not to be in the middle of a
fork (an RCU grace period: 8 to 16 ms were measured at 250 ticks a second). Who comes while that is being waited for, or
soon after, waits for the rest or not at all. systemd has each process of a unit change, from outside (252) or by itself
even if it was born in its place (257), some 10 ms after it was asked for the unit. So who is about to ask goes first: a
process that is put into the cgroup where it is already takes the same wait, and nothing changes.
"""

from __future__ import annotations

import contextlib
import os

from filewatchd.errors import FilewatchdError
from filewatchd.work import cgroup


def pass_grace() -> None:
    """Take that wait, where we may. Blocks for some milliseconds."""
    with contextlib.suppress(OSError, FilewatchdError):
        fd = os.open(f"{cgroup.own()}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % os.getpid())
        finally:
            os.close(fd)
