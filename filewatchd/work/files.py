"""Looking at files and opening them, in a way that hostile directories and racy clocks can't turn against us.

Looking. Only a regular file has an identity. A FIFO, socket, device or directory counts as absent and is never
opened: opening a FIFO waits for a writer, opening a device may do anything. A symlink counts as absent unless links
are followed, and then only if it leads to a regular file. Below a root no directory is reached through a symlink:
where one has taken a directory's place, the files known beneath are gone, whatever lies behind it has such names.
That is asked *before* the look: what changes later is an event, which brings the path up again.

Racy. The kernel stamps a write with a clock that stands still for some milliseconds (a tick; whole seconds on some
filesystems). A write just after our look may so get the very stamp we have just read, with an equal size, and be
invisible for ever. Let t be that clock just *before* the look. A later write is stamped with at least t rounded down
to the granularity; so a stamp older than t - granularity can't come again, and a stamp from there on may: such a look
is racy, and is repeated later. A stamp beyond the present is harmless: a write would put it back to now. Since Linux
6.13 some filesystems give the first write after each look a fresh fine stamp; there nothing is racy (granularity 0).

Writers. A read lease (fcntl F_SETLEASE) is refused with EAGAIN while any process has the file open for writing, also
through a mapping or a descriptor in flight. Whoever opens the file for writing while we hold the lease waits until we
let go, and a signal is sent to us whose default would kill this process: so it is set to SIGURG first, which is
ignored by default, and the lease is dropped in the same breath. That is meant literally: the calls are run by ``map``,
in C, with the interpreter's lock kept (`ctypes.PyDLL`), so that no other thread can come between.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Sequence
from errno import EAGAIN, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from functools import partial
from operator import call

from filewatchd.model import FileIdentity, Look
from filewatchd.work.granularity import COARSE_CLOCK, TICK
from filewatchd.work.granularity import probe_granularity as probe_granularity
from filewatchd.work.opening import safe_open as safe_open

_libc = ctypes.PyDLL(None, use_errno=True)
_Statfs = ctypes.c_long * 32  # struct statfs: f_type is its first field
_libc.fcntl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long)
_F_SETSIG = 10
_ASK = (_F_SETSIG, fcntl.F_SETLEASE, fcntl.F_SETLEASE)
_WITH = (int(signal.SIGURG), fcntl.F_RDLCK, fcntl.F_UNLCK)
_ABSENT = Look(None)
_GONE = frozenset({ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG})  # the last: no command could be given such a path, either

# Where a lease sees every writer: not over networks and FUSE, where others write unseen; nor on overlay, where a
# writer through another layer isn't seen. f_type of statfs(2), from linux/magic.h.
_LEASES_BY_MAGIC = {
    0xEF53: "ext4",  # ext2 and ext3 as well
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x3434: "nilfs2",
    0x3153464A: "jfs",
}
_OVERLAY_MAGIC = 0x794C7630


# ---- looking


def look_many(
    paths: Sequence[str],
    want_writers: Sequence[bool] | None,
    granularity_ns: int,
    follow: Sequence[bool],
    tops: Sequence[int],
) -> list[Look]:
    """Look at each path, in order; ``want_writers`` tells for which to ask whether somebody has it open for writing.

    ``granularity_ns`` is that of the filesystem (`filewatchd.work.granularity`); ``follow``: for which a symlink
    stands for the file it leads to; ``tops``: how many characters of each path are its root, which may be reached
    through links. Blocks as long as the filesystem does; raises nothing, errors are in the looks.
    """
    real: set[str] = set()
    looks = [
        _ABSENT if behind_link(path, top, real) else look_at(path, granularity_ns, links)
        for path, links, top in zip(paths, follow, tops, strict=True)
    ]
    if want_writers is None:
        return looks
    types: dict[int, int] = {}
    return [
        Look(found.identity, found.nlink, has_writers(path, follow=links, types=types), found.racy)
        if wanted and found.identity
        else found
        for path, found, wanted, links in zip(paths, looks, want_writers, follow, strict=True)
    ]


def behind_link(path: str, top: int, real: set[str]) -> bool:
    """Whether a directory on the way from the root, the first ``top`` characters, is a symlink.

    ``real`` remembers directories that aren't, for as long as the looks of one batch take.
    """
    if path.rpartition("/")[0] in real:
        return False
    end = path.find("/", top + 1)
    while end >= 0:
        directory = path[:end]
        if directory not in real:
            if os.path.islink(directory):
                return True
            real.add(directory)
        end = path.find("/", end + 1)
    return False


def look_at(path: str, granularity_ns: int, follow: bool) -> Look:
    """One look at one path."""
    began = time.clock_gettime_ns(COARSE_CLOCK) if granularity_ns else 0
    try:
        found = os.lstat(path)
        if follow and stat.S_ISLNK(found.st_mode):
            found = os.stat(path)
    except OSError as error:
        return _ABSENT if error.errno in _GONE else Look(None, error=error.errno or 0)
    if found.st_mode & 0o170000 != 0o100000:
        return _ABSENT
    mtime, ctime = found.st_mtime_ns, found.st_ctime_ns
    identity = FileIdentity(found.st_ino, found.st_size, mtime, ctime)
    since = began - granularity_ns
    racy = granularity_ns > 0 and (mtime >= since or ctime >= since) and is_racy(mtime, ctime, since, granularity_ns)
    return Look(identity, found.st_nlink, False, racy)


def is_racy(mtime: int, ctime: int, since: int, granularity_ns: int) -> bool:
    """Whether a stamp may come again: not before ``since``, and not beyond what a write could be given until now."""
    until = time.clock_gettime_ns(time.CLOCK_REALTIME) + granularity_ns + TICK
    return since <= mtime <= until or since <= ctime <= until


# ---- writers


def has_writers(path: str, *, follow: bool = False, types: dict[int, int] | None = None) -> bool | None:
    """Whether any process has this regular file open for writing; None where that can't be told.

    It needs the file's owner or CAP_LEASE. It may break a lease of a file server on this host (Samba's oplocks).
    ``types`` remembers filesystems by device for as long as the looks of one batch take.
    """
    try:
        fd, device = open_regular(path, follow)
    except OSError:  # also somebody else's lease, which O_NONBLOCK doesn't wait for
        return None
    try:
        known = types.get(device) if types is not None else None
        magic = filesystem_magic(fd) if known is None else known
        if types is not None:
            types[device] = magic
        return is_written_to(fd, magic)
    finally:
        os.close(fd)


def is_written_to(fd: int, magic: int | None = None) -> bool | None:
    """The same of a regular file that is open for reading only. ``magic``: its filesystem's, if it is known."""
    if magic is None:
        magic = filesystem_magic(fd)
    if magic not in _LEASES_BY_MAGIC and magic != _OVERLAY_MAGIC:
        return None
    taken, error = take_and_drop_lease(fd)
    if not taken:
        return True if error == EAGAIN else None
    return None if magic == _OVERLAY_MAGIC else False


def open_regular(path: str, follow: bool) -> tuple[int, int]:
    """Open a file for reading only after it is known to be one: to open a device or FIFO may have effects.

    Returns the descriptor and the device it is on.

    Raises:
        OSError: it isn't a regular file, or the system's own refusal.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), found.st_dev
    finally:
        os.close(handle)


def take_and_drop_lease(fd: int) -> tuple[bool, int]:
    """Whether a read lease was granted, or the errno why not. It is gone when this returns."""
    prepared, granted, _ = map(_libc.fcntl, (fd, fd, fd), _ASK, _WITH)
    if prepared == 0 and granted == 0:
        return True, 0
    asks: tuple[Callable[[], int], ...] = (  # once more, to learn why not
        partial(_libc.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
        ctypes.get_errno,
        partial(_libc.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_UNLCK),
    )
    granted, error, _ = map(call, asks)
    return prepared == 0 and granted == 0, error


def filesystem_magic(fd: int) -> int:
    """The type of the filesystem an open file is on, as a number of linux/magic.h."""
    room = _Statfs()
    if _libc.fstatfs(fd, room) < 0:
        raise OSError(ctypes.get_errno(), "fstatfs")
    return int(room[0]) & 0xFFFFFFFF


def writers_of(path: str) -> list[tuple[int, str]]:
    """(pid, program) of the processes seen to have this file open for writing, for people to read.

    A hint and no proof: mappings, other pid namespaces and processes we may not inspect are not seen. Only the
    kernel's own tables are read, so a hung filesystem elsewhere can't hold this up.
    """
    try:
        wanted = os.lstat(path)
    except OSError:
        return []
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or is hidden from us
            if any(is_writing(pid, fd, wanted) for fd in os.listdir(f"/proc/{pid}/fd")):
                found.append((int(pid), program_of(pid)))
    return found


def is_writing(pid: str, fd: str, wanted: os.stat_result) -> bool:
    """Whether a process's descriptor is this file, open for writing."""
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as info:
            fields = dict(line.split(":", 1) for line in info if line.startswith(("flags:", "ino:")))
        if int(fields["flags"], 8) & os.O_ACCMODE == os.O_RDONLY:
            return False
        if int(fields.get("ino", wanted.st_ino)) != wanted.st_ino:  # there since Linux 5.14
            return False
        held = os.stat(f"/proc/{pid}/fd/{fd}")
    except (OSError, ValueError, KeyError):
        return False
    return (held.st_dev, held.st_ino) == (wanted.st_dev, wanted.st_ino)


def program_of(pid: str) -> str:
    """A process's program as ps shows it."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
        return comm.read().rstrip("\n")
    return "?"
