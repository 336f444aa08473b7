"""Showing a command other files in the place of those that are there: read-only bind mounts that only it can see.

A program that checks its configuration reads what that names by absolute paths, so a candidate has to stand in the live
place. A mount namespace of the command's own does that: it begins as a copy of ours, is made private, so that nothing
mounted in it is seen outside or comes back from there, and ends with the command's last process. Root needs
CAP_SYS_ADMIN for it; anybody else gets it in a user namespace, where only the own uid and gid have names, and loses it
again at exec.

A bind mount takes no flags of its own when it is made; a second call makes it read-only. In a user namespace the flags
that its filesystem is mounted with are locked and have to be said again (mount_namespaces(7)).

Runs between fork and exec (`filewatchd.work.child`), so it imports as little as possible.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # the module typing would be most of what this process imports
if TYPE_CHECKING:
    from collections.abc import Sequence

_CLONE_NEWNS, _CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x4_0000
# statvfs(3) to mount(2): nosuid, nodev, noexec, noatime, nodiratime, relatime
_LOCKED = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 0x20_0000))

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: see `filewatchd.work.child`


def show(binds: Sequence[tuple[bytes, bytes]]) -> None:
    """Put each first path read-only in the place of the second, for this process and those it starts.

    Raises:
        OSError: it may not (EPERM), or a path isn't there.
    """
    isolate()
    for source, target in binds:
        mount(source, target, _MS_BIND | _MS_REC)
        flags = os.statvfs(target).f_flag
        kept = sum(flag for known, flag in _LOCKED if flags & known)
        mount(None, target, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def isolate() -> None:
    """Enter a mount namespace of one's own. Only a process of one thread may, without being root."""
    uid, gid = os.geteuid(), os.getegid()
    call(_libc.unshare(_CLONE_NEWNS if uid == 0 else _CLONE_NEWNS | _CLONE_NEWUSER), "unshare")
    if uid != 0:
        write("/proc/self/setgroups", b"deny")
        write("/proc/self/uid_map", b"%d %d 1" % (uid, uid))
        write("/proc/self/gid_map", b"%d %d 1" % (gid, gid))
    mount(None, b"/", _MS_REC | _MS_PRIVATE)


def mount(source: bytes | None, target: bytes, flags: int) -> None:
    """The system call, without a filesystem or data."""
    call(_libc.mount(source, target, None, ctypes.c_ulong(flags), None), os.fsdecode(target))


def call(result: int, what: str) -> None:
    """Raise what a system call that failed left behind."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def write(path: str, text: bytes) -> None:
    """Write a small file of the kernel's."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)
