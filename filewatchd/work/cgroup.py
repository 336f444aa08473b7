"""The cgroups in which commands run, so that they can be ended whole.

A cgroup below which we may make groups of our own must have been *delegated*: the service manager owns the tree, and
tells by an extended attribute (``user.delegate`` or ``trusted.delegate``, set by ``Delegate=yes`` in a unit) that it
keeps its hands off what is below. Where no systemd runs (containers, other init systems), a writable directory of our
own is as good. On hosts with cgroup v1 the v2 tree is mounted elsewhere, often at /sys/fs/cgroup/unified; it has no
controllers there, but killing needs none.

The groups live in ``<own cgroup>/filewatchd-<key>/``, the key being a digest of the state directory. Whatever is found
there at start was left by an earlier life that was killed, and is killed too; so is every process with our token in
its environment. Without a delegated cgroup that token is all there is to go by; normally nothing is left, as the
spawner ended everything when its daemon died.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from hashlib import sha256
from typing import NamedTuple

from filewatchd.errors import FilewatchdError
from filewatchd.work.processes import kill_group, members, read, remove_group, stat_of, token_of

VARIABLE = "FILEWATCHD_CGROUP"  # names the directory to use instead of the own cgroup, or is "off"
_SYSTEMD = "/run/systemd/system"


class Groups(NamedTuple):
    """Where commands' cgroups go. ``directory`` is empty where there are none, and ``why`` says why not."""

    key: str
    directory: str
    why: str

    def describe(self) -> tuple[str, str]:
        """For status: ``cgroup`` or ``best effort``, and what that means here."""
        if self.directory:
            return "cgroup", f"commands run in cgroups of their own below {self.directory} and are ended whole"
        return "best effort", f"commands are ended by their process groups and parents: {self.why}"

    def sweep(self, patience: float = 5.0) -> int:
        """Kill and remove what an earlier life left; returns how many processes that were. Blocks.

        Raises:
            FilewatchdError: something can't be killed within ``patience`` seconds.
        """
        deadline = time.monotonic() + patience
        killed: set[int] = set()
        while left := self._left():
            killed |= left
            kill_group(self.directory)
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise FilewatchdError(f"processes {shown(left)} of an earlier life can't be killed; end them by hand")
            time.sleep(0.002)
        if self.directory:
            remove_group(self.directory)
            os.makedirs(self.directory, 0o755, exist_ok=True)
        return len(killed)

    def remove(self) -> None:
        """Remove the empty directory at the end of the daemon's life."""
        remove_group(self.directory)

    def _left(self) -> set[int]:
        ours = f"{self.key}-".encode()
        spared = ancestors()
        marked = {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and token_of(pid).startswith(ours)}
        return (marked | members(self.directory)) - spared


def find(state_dir: str) -> Groups:
    """Where the commands of the daemon with this state directory may have their cgroups."""
    key = sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:16]
    asked = os.environ.get(VARIABLE, "")
    if asked == "off":
        return Groups(key, "", f"{VARIABLE}=off")
    try:
        parent = asked or delegated(own())
        directory = f"{parent}/filewatchd-{key}"
        os.makedirs(directory, 0o755, exist_ok=True)
    except FilewatchdError as error:
        return Groups(key, "", str(error))
    except OSError as error:
        return Groups(key, "", f"no cgroup can be made: {error}")
    return Groups(key, directory, "")


def own() -> str:
    """The directory of this process's cgroup v2.

    Raises:
        FilewatchdError: there is none to be seen.
        OSError: /proc can't be read.
    """
    lines = read("/proc/self/cgroup").splitlines()
    path = next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), None)
    if path is None:
        raise FilewatchdError("this kernel or container has no cgroup v2")
    for line in read("/proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(b" - ")
        root, point = (unescape(field) for field in mount.split()[3:5])
        if filesystem.startswith(b"cgroup2 ") and (path + "/").startswith(root.rstrip("/") + "/"):
            return os.path.normpath(f"{point}/{path[len(root.rstrip('/')) :]}")
    raise FilewatchdError("cgroup v2 isn't mounted here, or not with our own group in it")


def delegated(directory: str) -> str:
    """The cgroup below which we may make groups: the given one, or the one above it (DelegateSubgroup=).

    Raises:
        FilewatchdError: neither is ours; says what to do.
    """
    for candidate in (directory, os.path.dirname(directory)):
        if is_marked(candidate):
            return candidate
    if os.path.isdir(_SYSTEMD):
        raise FilewatchdError("the cgroup isn't delegated; set Delegate=yes in filewatchd's systemd unit")
    if not os.access(directory, os.W_OK):
        raise FilewatchdError(f"{directory} isn't writable; give the container a writable cgroup, or run as root")
    return directory


def is_marked(directory: str) -> bool:
    """Whether the service manager marked a cgroup as delegated."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False


def ancestors() -> set[int]:
    """This process and those above it, which a sweep must never kill though a command of ours may have started them."""
    pids, pid = set[int](), os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        pid = int((stat_of(pid) or [b"", b"0"])[1])
    return pids


def unescape(field: bytes) -> str:
    """A path of mountinfo, where blanks, tabs, newlines and backslashes are written in octal."""
    for code in (b"040", b"011", b"012", b"134"):
        field = field.replace(b"\\" + code, bytes([int(code, 8)]))
    return os.fsdecode(field)


def shown(pids: set[int]) -> str:
    """A few of many pids."""
    return ", ".join(map(str, sorted(pids)[:10])) + (", ..." if len(pids) > 10 else "")
