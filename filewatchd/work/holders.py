"""Who has a file: descriptors with their flags and positions, and mappings, of every process that can be looked into.

/proc/PID/fdinfo says how a descriptor was opened (``flags``, O_APPEND among them) and where it is (``pos``);
/proc/PID/maps names mappings, which outlive their descriptors. What can't be seen this way: processes of pid
namespaces that aren't below ours, descriptors that travel in sockets, processes we may not look into (counted in
``hidden``).

A process may open the file just after it was looked at. `Hold` keeps new openers out meanwhile: a fanotify mark with
FAN_OPEN_PERM makes open(2) of this inode wait for our word. Closing the descriptor lets all of them go, so nobody
hangs if we die. It needs CAP_SYS_ADMIN, and a kernel that has it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from filewatchd.capabilities import held
from filewatchd.work.files import program_of

_INITIAL = "pid:[4026531836]"  # PROC_PID_INIT_INO of linux/proc_ns.h
_FAN_CLASS_CONTENT, _FAN_CLOEXEC, _FAN_NONBLOCK = 0x04, 0x01, 0x02
_FAN_MARK_ADD = 0x01
_FAN_OPEN_PERM = 0x10000
_libc = ctypes.CDLL(None, use_errno=True)


class Holder(NamedTuple):
    """A descriptor or mapping. ``flags`` are those of open(2); a mapping has no position and counts as written."""

    pid: int
    program: str
    flags: int
    position: int
    mapped: bool = False

    @property
    def writes(self) -> bool:
        """Whether it may change the file."""
        return self.mapped or self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def appends(self) -> bool:
        """Whether whatever it writes goes to the file's end."""
        return not self.mapped and bool(self.flags & os.O_APPEND)


class Holders(NamedTuple):
    """All that was seen. ``hidden``: processes that couldn't be looked into. ``initial``: no namespace is above us."""

    found: tuple[Holder, ...]
    hidden: int
    initial: bool

    @property
    def writers(self) -> tuple[Holder, ...]:
        """Those that may change the file."""
        return tuple(holder for holder in self.found if holder.writes)

    @property
    def readers(self) -> tuple[Holder, ...]:
        """Those that only read it."""
        return tuple(holder for holder in self.found if not holder.writes)


class _Wanted(NamedTuple):
    """A file that is looked for, and who was found to have it."""

    number: tuple[int, int]  # device and inode
    name: str
    found: list[Holder]


def holders_of(fd: int) -> Holders:
    """Who has the file behind a descriptor of ours; our own process doesn't count. Some milliseconds."""
    (found,) = holders_of_each([fd])
    return found


def holders_of_each(fds: Sequence[int]) -> list[Holders]:
    """The same for several descriptors, in one look through /proc."""
    wanted = [_wanted(fd) for fd in fds]
    hidden = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            _look_into(pid, wanted)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except OSError:
            hidden += 1
    hidden, initial = hidden + hides(), in_initial_namespace()
    return [Holders(tuple(each.found), hidden, initial) for each in wanted]


def _wanted(fd: int) -> _Wanted:
    found = os.fstat(fd)
    return _Wanted((found.st_dev, found.st_ino), os.readlink(f"/proc/self/fd/{fd}"), [])


def hides() -> int:
    """1 if this /proc may leave out whole processes (hidepid=, as systemd's ProtectProc= sets it), else 0."""
    if held("CAP_SYS_PTRACE"):
        return 0
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            return int(any(" /proc " in line and "hidepid=" in line for line in mounts))
    except OSError:
        return 1


def in_initial_namespace() -> bool:
    """Whether every process of this system is visible here."""
    try:
        return os.readlink("/proc/self/ns/pid") == _INITIAL
    except OSError:
        return False


def _look_into(pid: str, wanted: Sequence[_Wanted]) -> None:
    by_number: dict[tuple[int, int], list[_Wanted]] = {}
    for each in wanted:
        by_number.setdefault(each.number, []).append(each)
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            held = os.stat(f"{folder}/{fd}")
            for each in by_number.get((held.st_dev, held.st_ino), ()):
                each.found.append(Holder(int(pid), program_of(pid), *_info(pid, fd)))
    with open(f"/proc/{pid}/maps", "rb") as file:
        maps = file.read()
    for each in wanted:
        if _maps(maps, each.number[1], each.name):
            each.found.append(Holder(int(pid), program_of(pid), 0, 0, mapped=True))


def _info(pid: str, fd: str) -> tuple[int, int]:
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as info:
        fields = dict(line.split(":", 1) for line in info if line.startswith(("flags:", "pos:")))
    return int(fields["flags"], 8), int(fields["pos"])


def _maps(maps: bytes, ino: int, name: str) -> bool:
    """Whether these mappings have the inode: by its number (btrfs and overlay show another device)."""
    number = f" {ino} ".encode("ascii")
    if number not in maps:
        return False
    tail = os.fsencode(os.path.basename(name)).replace(b"\n", b"\\012")
    return any(number in line and (tail in line or line.endswith(b"(deleted)")) for line in maps.splitlines())


class Hold:
    """A context in which nobody can open the file behind a descriptor: they wait. ``held``: whether it works."""

    def __init__(self, fd: int) -> None:
        self._file = fd
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether openers wait."""
        return self._fd >= 0

    def __enter__(self) -> Self:
        flags = _FAN_CLASS_CONTENT | _FAN_CLOEXEC | _FAN_NONBLOCK
        fd = _libc.fanotify_init(ctypes.c_uint(flags), ctypes.c_uint(os.O_RDONLY | os.O_LARGEFILE))
        if fd >= 0:
            path = f"/proc/self/fd/{self._file}".encode("ascii")
            mask = ctypes.c_uint64(_FAN_OPEN_PERM)
            if _libc.fanotify_mark(fd, ctypes.c_uint(_FAN_MARK_ADD), mask, ctypes.c_int(-100), path) == 0:
                self._fd = fd
            else:
                os.close(fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
