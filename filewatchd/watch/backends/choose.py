"""Which backend serves a root, and why.

``auto`` takes inotify on Linux, but polls where the kernel can't tell of all changes: other hosts write to network
filesystems, and what is behind FUSE may change without the kernel; /proc, /sys and their like tell of nothing. Which
filesystem that is says /proc/self/mountinfo. On other systems watchdog knows the native way.

fanotify has its place here once it is built: one more name, and a reason to prefer it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import NamedTuple

from filewatchd.clock import Clock
from filewatchd.errors import FatalError
from filewatchd.extras import backend_lacks
from filewatchd.watch.backends.base import Backend, Forgetful, Keeper
from filewatchd.work.pool import Pool

#: Others write to these: Linux tells only of what this host does.
# fmt: off
SHARED = frozenset({
    "9p", "afs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})
#: The kernel makes these files up as they are read.
MADE_UP = frozenset({
    "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "proc", "pstore", "securityfs",
    "selinuxfs", "sysfs", "tracefs",
})
# fmt: on


class Choice(NamedTuple):
    """A backend's name, and the reason in words."""

    name: str
    reason: str


def choose(wanted: str, filesystem: str, platform: str = sys.platform) -> Choice:
    """Choose for a root on a filesystem of this type ("" if that is unknown). ``wanted``: as configured."""
    if wanted != "auto":
        return Choice(wanted, "the rule asks for it")
    if platform != "linux":
        return Choice("watchdog", f"the native way on {platform}")
    if filesystem in SHARED:
        return Choice("poll", f"other hosts write to {filesystem} unseen")
    if filesystem in ("fuse", "fuseblk") or filesystem.startswith("fuse."):
        return Choice("poll", f"what is behind {filesystem} may change unseen")
    if filesystem in MADE_UP:
        return Choice("poll", f"{filesystem} tells of no changes")
    return Choice("inotify", f"{filesystem or 'its filesystem'} is local")


def make(name: str, pool: Pool, clock: Clock, keeper: Keeper | None = None) -> Backend:
    """A backend by name; its module is imported only now. ``keeper``: of descriptors, from one process to the next.

    Raises:
        FatalError: it can't be used here, or the system gives it no descriptor.
    """
    lack = backend_lacks(name)
    if lack is not None:
        raise FatalError(f"{lack[0]}; {lack[1]}", exit_code=78)
    module = importlib.import_module(f"filewatchd.watch.backends.{name}")
    build: Callable[[Pool, Clock, Keeper], Backend] = module.build
    return build(pool, clock, keeper or Forgetful())
