"""A child of the spawner, from its birth to its exec.

It runs Python although it was forked by a raw system call: the spawner has one thread, so no lock can be held by a
thread that isn't there any more. It waits for its request in its own session and cgroup, with everything done that can
be done in advance, so that little is left between a request and exec.
"""

from __future__ import annotations

import _socket
import contextlib
import ctypes
import marshal
import os
import signal

from filewatchd.work.execute import execute
from filewatchd.work.mounting import show
from filewatchd.work.processes import TOKEN

TYPE_CHECKING = False  # the module typing would be most of what this process imports
if TYPE_CHECKING:
    from typing import Any, NoReturn

HEADER = 9  # bytes: a letter and the command's id
PIECE = 60_000  # bytes of a request in one packet; a socket buffer has 208 KiB by default

PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 36, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CLONE3, _CLONE_INTO_CGROUP = 435, 0x2_0000_0000  # call numbers above 424 are the same on all machines
_CAPABILITY_VERSION_3 = 0x20080522

_ALL_SIGNALS = frozenset(map(int, signal.valid_signals()))
_NO_SIGNALS = (ctypes.c_ulong * 16)()

# PyDLL keeps the interpreter's lock: a child forked while it was given away could never take it again.
_libc = ctypes.PyDLL(None, use_errno=True)


class Parent:
    """What a child knows of its spawner. ``report`` is the socket to the daemon."""

    __slots__ = ("pid", "report", "token")

    def __init__(self, pid: int, report: _socket.socket, token: bytes) -> None:
        self.pid = pid
        self.report = report
        self.token = token

    def fail(self, number: int, error: BaseException, stage: str) -> None:
        """Tell the daemon why a command can't be started."""
        self.report.sendall(marshal.dumps(("failed", number, getattr(error, "errno", None) or 0, stage)))


# ---- birth


def fork_into(group: str) -> int:
    """Fork into a cgroup ("": stay in this one). The kernel puts the child there, or the child goes by itself.

    Raises:
        OSError: the cgroup can't be made or entered, or no process.
    """
    if not group:
        return os.fork()
    os.makedirs(group, 0o755)  # an earlier life's spawner may just have removed the directory above
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return clone_into(fd)
    except OSError:  # a kernel older than 5.7, or a container that forbids the call
        return fork_and_move(fd)
    finally:
        os.close(fd)


def clone_into(group: int) -> int:
    """Fork into a cgroup, given by a descriptor of its directory. Safe only in a process of one thread."""
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0], arguments[4], arguments[10] = _CLONE_INTO_CGROUP, signal.SIGCHLD, group
    pid = int(_libc.syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_size_t(ctypes.sizeof(arguments))))
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    return pid


def fork_and_move(group: int) -> int:
    """Fork and move the child into a cgroup before it may go on."""
    procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=group)
    try:
        pid = os.fork()
        if pid:
            os.write(procs, b"%d" % pid)
        return pid
    finally:
        os.close(procs)


# ---- life


def live(parent: Parent, sock: _socket.socket) -> NoReturn:
    """Wait for the request and become the command. Whatever happens, this never returns into the spawner's loop."""
    number, stage = 0, "start"
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        die_with(parent)
        rehearse(parent)
        number, (argv, env, cwd, rights, binds), descriptors = await_request(sock)
        take_stdio(descriptors)
        if binds:
            stage = "place"
            show(binds)
            die_with(parent)  # a user namespace cleared it
        if rights is not None:
            stage = "user"
            drop_rights(*rights)
            die_with(parent)  # the change of user cleared it
        if cwd is not None:
            stage = "cwd"
            os.chdir(cwd)
        stage = "exec"
        env[TOKEN] = parent.token + b"%d" % number
        unblock_signals(parent)
        execute(argv, env)
    except BaseException as error:  # noqa: BLE001 - all of it is told, nothing may escape
        parent.fail(number, error, stage)
    finally:
        os._exit(127)


def rehearse(parent: Parent) -> None:
    """Do once, without effect, what follows a request: each memory page touched for the first time is copied."""
    argv, env, _, _, _ = marshal.loads(marshal.dumps(([b"/"], {b"PATH": b"/"}, None, None, [])))
    env[TOKEN] = parent.token + b"%d" % 0
    signal.sigtimedwait((), 0)  # of no signal: the request may be here already, and a signal for it
    _libc.sigprocmask(signal.SIG_BLOCK, _NO_SIGNALS, None)
    with contextlib.suppress(OSError):  # a directory can't be executed
        execute(argv, env)


def await_request(sock: _socket.socket) -> tuple[int, tuple[Any, ...], list[int]]:
    """The command's id, its request put together from its pieces, and the descriptors that came with the last one."""
    pieces = []
    while True:
        packet, ancillary, _, _ = sock.recvmsg(HEADER + PIECE, 64, _socket.MSG_CMSG_CLOEXEC)
        if not packet:  # the spawner has gone, or has no use for this child
            os._exit(0)
        pieces.append(packet[HEADER:])
        if packet[0] == ord("r"):
            descriptors = [fd for _, _, packed in ancillary for fd in memoryview(packed).cast("i")]
            return int.from_bytes(packet[1:HEADER], "little"), marshal.loads(b"".join(pieces)), descriptors


def take_stdio(descriptors: list[int]) -> None:
    """Output, and input where there is one. All other descriptors close on exec, as all of Python's do."""
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[0], 2)
    if len(descriptors) > 1:
        os.dup2(descriptors[1], 0)


def die_with(parent: Parent) -> None:
    """Have the kernel kill this process when the spawner dies; end it if that has happened."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:
        os._exit(127)


def unblock_signals(parent: Parent) -> None:
    """Let signals in. Those that came before were for this command only if the spawner sent them."""
    pending = []
    while (info := signal.sigtimedwait(_ALL_SIGNALS, 0)) is not None:
        pending.append(info)
    _libc.sigprocmask(signal.SIG_SETMASK, _NO_SIGNALS, None)  # signal.pthread_sigmask makes an enum of each old one
    for info in pending:
        if info.si_pid == parent.pid:
            os.kill(os.getpid(), info.si_signo)


def drop_rights(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """Become that user for good: no group, capability or set-user-ID program brings anything back."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid != 0:
        clear_capabilities()  # also what securebits or an inheritable set might have kept
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if (os.getresuid(), os.getresgid(), set(os.getgroups())) != ((uid,) * 3, (gid,) * 3, set(groups)):
        raise PermissionError(1, "the kernel kept rights that were to be dropped")


def clear_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)()) < 0:
        raise OSError(ctypes.get_errno(), "capset")


def prctl(option: int, value: int) -> None:
    """Set one of this process's attributes that only Linux has."""
    if _libc.prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def become_subreaper() -> None:
    """Take in the orphans among our descendants."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
