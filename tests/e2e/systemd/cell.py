"""A place for a container that ends with its test: its mounts and its processes live in namespaces of their own.

The kernel does the cleaning. The namespaces' first process is killed when this process dies, however it dies (prctl(2),
PR_SET_PDEATHSIG); with it die all processes of its PID namespace (pid_namespaces(7)), and with the last of them go the
mounts, as nobody else is in their namespace. What a killed run does leave, an empty cgroup and an empty directory, goes
when the next run starts: a cell holds a lock as long as somebody lives who uses it.

systemd-nspawn alone would not do: the kernel spares its container when nspawn itself is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from filewatchd.work import cgroup, processes
from tests.e2e.running import eventually

CACHE = Path(os.environ.get("FILEWATCHD_CACHE", "/var/cache/filewatchd-test"))

#: Arguments: the mount point, the lower directories (the topmost first), and the upper directory or nothing.
_MOUNT = """
place=$1 lower=$2 upper=$3
if [ -z "$upper" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$place"
    upper=$place/upper
    mkdir "$place/upper" "$place/work" "$place/root"
    mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$place/work" overlay "$place/root"
else
    mkdir -p "$place/root"
    mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$upper/../work" overlay "$place/root"
fi
echo mounted
exec cat
"""
_numbers = itertools.count(1)


class Cell:
    """An overlay over some directories, and systemd-nspawn in it. Use ``with contextlib.closing(...)``."""

    def __init__(self, lower: Sequence[Path], upper: Path | None = None) -> None:
        """``lower``: what is only read, the lowest first. What is written goes to ``upper``, or into memory.

        Raises:
            CalledProcessError: something can't be mounted; mount(8) has said why.
        """
        self.name = f"filewatchd-{os.getpid()}-{next(_numbers)}"
        self._place = CACHE / "cells" / self.name
        self._place.mkdir(parents=True)
        self._lock = self._place.with_suffix(".new").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(self._lock.name, self._place.with_suffix(".lock"))  # nobody sees it who could lock it first
        self._group = f"{cgroup.own()}/{self.name}"
        os.mkdir(self._group)
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
        words += ["--kill-child=KILL", "--mount-proc", "sh", "-euc", _MOUNT, "cell", str(self._place)]
        words += [":".join(str(each) for each in reversed(lower)), str(upper or "")]
        self._holder = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            self.close()
            raise subprocess.CalledProcessError(self._holder.returncode, words)
        (self._init,) = processes.children(self._holder.pid)

    @property
    def root(self) -> Path:
        """The overlay, as seen from here: there as long as the cell is, whether anything runs in it or not."""
        return Path(f"/proc/{self._init}/root{self._place}/root")

    def nspawn(self, *arguments: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Run systemd-nspawn on the overlay. The container has a unified cgroup tree, as Debian has had since 11.

        It isn't registered with machined, which may not be there, and has the cell's cgroup: two containers in one
        cgroup would take each other's.
        """
        enter = f'echo $$ >{self._group}/cgroup.procs; exec nsenter --target {self._init} --mount --pid -- "$@"'
        words = ["systemd-nspawn", "--quiet", "--directory", f"{self._place}/root", "--machine", self.name]
        words += ["--register=no", "--keep-unit", "--console=pipe", "--link-journal=no", *arguments]
        return subprocess.Popen(
            ["sh", "-c", enter, "cell", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )

    def close(self) -> None:
        """Kill what runs in it; nothing stays, not even when called twice."""
        self._holder.kill()
        self._holder.communicate()
        _forget(self._place, self._group)
        self._lock.close()


def sweep() -> None:
    """Remove what is left of cells whose process was killed."""
    for lock in (CACHE / "cells").glob("*.lock"):
        with contextlib.suppress(OSError), lock.open("w") as file:  # held: somebody works there
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _forget(lock.with_suffix(""), f"{cgroup.own()}/{lock.stem}")


def _forget(place: Path, group: str) -> None:
    eventually(lambda: _removed(group), f"all is dead in {group}")
    place.with_suffix(".lock").unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)


def _removed(group: str) -> bool:
    processes.kill_group(group)
    processes.remove_group(group)  # what is empty by now
    return not os.path.exists(group)


def leader(nspawn: int) -> int | None:
    """The pid, here, of the systemd that a systemd-nspawn has booted; None: it hasn't yet."""
    for pid in processes.children(nspawn):
        with contextlib.suppress(OSError):
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            if status["Name"] == "systemd" and status["NSpid"].split()[-1] == "1":
                return pid
        if found := leader(pid):
            return found
    return None


def kill(pid: int) -> None:
    """Kill a process that may just have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
