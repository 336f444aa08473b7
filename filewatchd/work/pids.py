"""Processes named by a pid file, signalled only if they are what the file meant.

A pid is a number that the kernel gives to somebody else once its process has gone, and a pid file outlives what wrote
it: after a crash it may name anybody. So the process is held first, by a pidfd (pidfd_open(2), Linux 5.3), and looked
at then. While the pidfd says that it lives, its number can't have been given to another, so what /proc shows of that
number is about the process held; the signal goes through the pidfd (pidfd_send_signal(2)) and reaches it or nobody.

What is looked at:

- the file: regular, reached by no link at its last step, and small; only the first line counts (PostgreSQL's has more).
- whose word it is. A file that only root and we may write is believed whatever process it names. Otherwise somebody
  could have us signal any process: the process must be theirs who own the file and its directory, whom the kernel would
  let signal it anyway (kill(2): their uid is its real or its saved one).
- the program, if one is named: by the whole path of its executable, or by the name of that, or of the process itself,
  which for a script is the script's.
- its age. A process writes its pid file after it was started, so one that is younger than the file's last write is
  another. The kernel tells the start in ticks since the boot, and a pid file's time is the wall clock's: set forward
  since, it makes the process look too young, and the error says how to go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from errno import EINVAL, ELOOP, ENOSYS, EPERM, ESRCH
from typing import NamedTuple

from filewatchd.errors import ActionError
from filewatchd.security import others_may_write

_MOST = 4096  # bytes of a pid file that are read
_SLACK = 1.5  # seconds: btime is a whole second, and the clock is slewed
_TICKS = os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of include/linux/sched.h
_FLAGS, _STARTED = 6, 19  # fields of /proc/PID/stat after the name in brackets, see proc_pid_stat(5)


class PidFile(NamedTuple):
    """What a pid file says. ``masters``: whose processes it may name; None: anybody's."""

    pid: int
    written: float  # seconds since the epoch
    masters: frozenset[int] | None


class Held(NamedTuple):
    """A verified process. Its descriptor is closed by `held`."""

    pid: int
    fd: int

    def send(self, number: int) -> None:
        """Signal it.

        Raises:
            ActionError: it has gone (may be tried again), or we may not.
        """
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError as error:
            raise ActionError(f"process {self.pid} has just ended") from error
        except PermissionError as error:
            raise ActionError(
                f"process {self.pid} may not be signalled by us: run as root with CAP_KILL, or as its user",
                retryable=False,
            ) from error

    @property
    def lives(self) -> bool:
        """Whether it is still there; a pidfd becomes readable when its process ends."""
        return not select.select([self.fd], [], [], 0)[0]


def signal_pidfile(path: str, number: int, program: str | None = None) -> int:
    """Signal the process that a pid file names. Blocks. Returns its pid.

    Raises:
        ActionError: there is none that may be meant; retryable where a restart of the service may come between.
    """
    with held(path, program) as process:
        process.send(number)
        return process.pid


@contextlib.contextmanager
def held(path: str, program: str | None = None) -> Iterator[Held]:
    """The verified process of a pid file, held for as long as the block runs. Blocks.

    Raises:
        ActionError: there is none that may be meant.
    """
    said = read_pidfile(path)
    fd = _hold(said.pid, path)
    try:
        process = Held(said.pid, fd)
        why = _doubt(said, path, program)
        if not process.lives or read_pidfile(path).pid != said.pid:  # what was looked at was about somebody else, maybe
            raise ActionError(f"{path}: process {said.pid} has just ended")
        if why:
            raise ActionError(f"{path}: process {said.pid} isn't signalled: {why}", retryable=False)
        yield process
    finally:
        os.close(fd)


# ---- the file


def read_pidfile(path: str) -> PidFile:
    """What a pid file says, and on whose word.

    Raises:
        ActionError: it can't be read, or isn't one.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ActionError(f"there is no {path}: its service doesn't run, or writes another file") from error
    except OSError as error:
        why = "it is a symlink" if error.errno == ELOOP else error.strerror
        raise ActionError(f"{path} can't be read: {why}", retryable=error.errno != ELOOP) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ActionError(f"{path} is no pid file: it is not a regular file", retryable=False)
        text = os.read(fd, _MOST)
    finally:
        os.close(fd)
    first = text.partition(b"\n")[0].strip()
    if not first:  # truncated and about to be written
        raise ActionError(f"{path} is empty: its service is starting, or ended badly")
    if not first.isdigit() or not 0 < int(first[:12]) < 2**31 or len(first) > 10:
        raise ActionError(f"{path} is no pid file: it begins with no number of a process", retryable=False)
    return PidFile(int(first), found.st_mtime, _masters(path, found))


def _masters(path: str, found: os.stat_result) -> frozenset[int] | None:
    """Whose processes the file may name; None: it is written by nobody but root and us.

    Raises:
        ActionError: anybody might have written it.
    """
    why = others_may_write(path)
    if why is None:
        return None
    above = os.path.dirname(path) or "/"
    try:
        owners = {found.st_uid, os.stat(above).st_uid}
    except OSError as error:  # a service that ends takes its directory in /run along
        raise ActionError(f"{above} can't be looked at: {error.strerror}") from error
    for owner in owners - {0}:
        if others_may_write(path, user=owner) is None:
            return frozenset({owner})
    raise ActionError(f"{path} isn't believed: {why}", retryable=False)


# ---- the process


def _hold(pid: int, path: str) -> int:
    if pid == os.getpid():
        raise ActionError(f"{path} names this very process", retryable=False)
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno == ESRCH:
            raise ActionError(f"{path}: there is no process {pid}: its service doesn't run") from error
        if error.errno == EINVAL:  # a thread's number
            raise ActionError(f"{path}: {pid} is no process's number", retryable=False) from error
        if error.errno in (ENOSYS, EPERM):
            text = "signalling by pid file needs Linux 5.3, and a filter that lets pidfd_open pass"
            raise ActionError(text, retryable=False) from error
        raise ActionError(f"{path}: process {pid} can't be held: {error.strerror}") from error


def _doubt(said: PidFile, path: str, program: str | None) -> str:
    """Why the process isn't the one that the file means; empty if it is."""
    try:
        owners, fields = _uids(said.pid), _stat(said.pid)
    except OSError as error:  # hidden: ProtectProc=, hidepid=
        return f"/proc doesn't show it to us ({error.strerror})"
    if int(fields[_FLAGS]) & _KERNEL_THREAD:
        return "it is one of the kernel's own"
    if said.masters is not None and not said.masters & owners:
        names = ", ".join(map(str, sorted(said.masters)))
        return f"the file can be written by uid {names}, and the process belongs to uid {min(owners)}"
    if program is not None and (other := _other_program(said.pid, program)):
        return other
    late = started_at(int(fields[_STARTED])) - said.written
    if late > _SLACK:
        return (
            f"it was started {late:.0f} s after the file was written, so its number has been given anew; "
            f"if the clock was set meanwhile, restart the service or touch {path}"
        )
    return ""


def started_at(ticks: int) -> float:
    """When something happened that the kernel counts from the boot, in seconds since the epoch."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS


def _uids(pid: int) -> frozenset[int]:
    """The real and the saved uid: whoever has one of them may signal the process."""
    with open(f"/proc/{pid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"Uid:"):
                real, _, saved, _ = line.split()[1:]
                return frozenset({int(real), int(saved)})
    raise ProcessLookupError(ESRCH, "it has no uid")


def _stat(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def _other_program(pid: int, program: str) -> str:
    """What the process runs if it isn't this program; empty if it is."""
    try:
        running = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # an upgrade replaced it
    except OSError:
        running = ""  # only a process of ours, or CAP_SYS_PTRACE, shows it
    if "/" in program:
        if not running:
            return f"its program can't be seen, to compare it with {program}: CAP_SYS_PTRACE would do it"
        return "" if running in (program, os.path.realpath(program)) else f"it runs {running}, not {program}"
    named = _name(pid)
    if program in (os.path.basename(running), named) or (len(named) == 15 and program.startswith(named)):
        return ""
    return f"it runs {running or named}, not {program}"


def _name(pid: int) -> str:
    """The process's own name, of which the kernel keeps 15 bytes."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
        return os.fsdecode(file.read().removesuffix(b"\n"))
    return ""
