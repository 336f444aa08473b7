"""The spawner: a small process of its own that starts commands, and ends them whole.

Why not fork from the daemon: forking a process of 40 MB with threads costs more than the rest of a job, and when the
daemon is killed nobody is left to end what it started. The spawner has one thread and some 10 MB, so any Python may
run between fork and exec (`filewatchd.work.child`). It imports as little as it can. The daemon starts it with `main`
as its whole program and talks to it by `filewatchd.work.link`.

A fork and the page faults after it cost half a millisecond, so a child is bred in advance: the *spare* waits in its
own session and cgroup, and when a request comes it has only to exec. The next one is bred when the command is on its
way, so as not to compete with it, or has ended.

What the kernel does, and so what we do:

- Orphans go to their nearest living ancestor that is a *subreaper*. We are one, so a process that forks away twice
  and calls setsid becomes our child: it can't hide. We kill only children that we have not waited for yet, and
  their process groups, so no pid can have been given to somebody else meanwhile. Each generation killed brings the
  next one to us, until there is none.
- Where a cgroup is delegated, each command is born in a group of its own (clone3 with CLONE_INTO_CGROUP; moving a
  process afterwards waits for all processors). ``cgroup.kill`` ends a group whole, however it forks.
- The socket reaches its end when the daemon dies, however it dies. Then we kill all we have started, and end.
- All signals but SIGCHLD are blocked here. A signal for a command that has not reached its exec stays pending, and is
  delivered when the child unblocks it, the moment before exec. So no stop signal is lost, and a service manager's
  TERM to the whole service doesn't take the spawner away while the daemon drains.
- A command that can't be started says so itself, on our socket (a packet is whole or not there): its reason is
  always sent before its end.

A packet to us is a letter, the command's id in eight bytes, and: ``m`` a piece of a request, ``r`` its last piece, with
the descriptors of output and perhaps input; ``s`` a signal's number in one byte; ``k`` nothing: kill it. A request is
a marshalled ``(argv, env, cwd, (uid, gid, groups) | None, [(source, target)])``; the last are bind
mounts. From us come marshalled ``("failed", id, errno, stage)`` and ``("ended", id, status, leftover, stuck)``; the
status is as in `subprocess`.
"""

from __future__ import annotations

import _socket  # the class alone: what the module socket adds costs memory in a process that stays
import contextlib
import errno
import gc
import marshal
import os
import select
import signal
import time

from filewatchd.work.child import HEADER, PIECE, Parent, become_subreaper, fork_into, live
from filewatchd.work.processes import (
    children,
    first_dead,
    kill_group,
    kill_whole,
    members,
    remove_group,
    session_of,
    signal_group,
    token_of,
)

_BREED_AFTER = 3  # ms after a request
PATIENCE = 5.0  # seconds until a process that SIGKILL doesn't end (it is inside the kernel) is given up


class Spare:
    """A child that waits for its request."""

    __slots__ = ("group", "pid", "sock")

    def __init__(self, pid: int, sock: _socket.socket, group: str) -> None:
        self.pid = pid
        self.sock = sock
        self.group = group


class Job:
    """A command from its request until nothing of it is left."""

    __slots__ = ("deadline", "group", "id", "left", "pid", "status")

    def __init__(self, number: int, spare: Spare) -> None:
        self.id = number
        self.pid = spare.pid
        self.group = spare.group
        self.left: set[int] = set()  # what outlived the command itself
        self.status = 0
        self.deadline = 0.0


class Spawner:
    """Starts, signals and ends commands as the daemon asks, until the daemon is gone."""

    def __init__(self, sock: _socket.socket, token: bytes, groups: str) -> None:
        self._sock = sock
        self._token = token + b"-"
        self._groups = groups  # directory of the commands' cgroups, "" where none is delegated
        self._me = os.getpid()
        self._bred = 0
        self._spare: Spare | None = None
        self._spares: dict[int, Spare] = {}  # by pid; also one that failed and has not been waited for
        self._barren = False  # no spare could be bred; tried again, and reported, with the next request
        self._refusal = 0  # errno of the request whose pieces are just coming
        self._running: dict[int, Job] = {}  # by id
        self._mains: dict[int, Job] = {}  # the same, by pid
        self._ending: dict[int, Job] = {}  # by id: the command has ended, something of it may be left
        self._suspects: dict[int, set[int]] = {}  # an orphan of unknown origin -> the jobs it may belong to

    # ---- the loop

    def serve(self, deaths: int) -> None:
        """Wait for requests and for children's ends; returns when the daemon has gone."""
        self._breed_ahead()
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        poll.register(deaths, select.POLLIN)
        while True:
            happened = poll.poll(self._waits())
            for ready, _ in happened:
                if ready == deaths:
                    os.read(deaths, 4096)
                elif not self._receive():
                    return
            if self._reap() or not happened:
                self._breed_ahead()

    def _waits(self) -> int | None:
        """Milliseconds until there is something to do unasked."""
        if self._spare is None and not self._barren:
            return _BREED_AFTER
        return 10 if self._ending else None

    def end_all(self) -> None:
        """Kill everything that was started here, and return when it is gone."""
        groups = {spare.group for spare in self._spares.values()}
        groups.update(job.group for job in (*self._mains.values(), *self._ending.values()))
        patient_until = time.monotonic() + PATIENCE
        while True:
            for group in groups:
                kill_group(group)
            for pid in children(self._me):
                kill_whole(pid)
            try:
                while os.waitpid(-1, os.WNOHANG if time.monotonic() < patient_until else 0)[0]:
                    pass
            except ChildProcessError:
                break
            time.sleep(0.002)
        for group in groups:
            remove_group(group)
        with contextlib.suppress(OSError):  # a later life's groups are there already
            os.rmdir(self._groups)

    # ---- requests

    def _receive(self) -> bool:
        """Take one packet and obey it; False when the daemon has gone."""
        packet, ancillary, _, _ = self._sock.recvmsg(HEADER + PIECE, 64, _socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return False
        number = int.from_bytes(packet[1:HEADER], "little")
        if packet[0] in b"mr":
            self._pass_on(packet, ancillary)
            if packet[0] == ord("r"):
                self._count_in(number)
        elif number in self._running:
            self._end(self._running[number], packet)
        return True

    def _pass_on(self, packet: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Give a piece of a request to the spare."""
        try:
            if not self._refusal:
                self._spare = self._spare or self._breed()
                self._spare.sock.sendmsg([packet], ancillary)
        except OSError as error:
            self._refusal = error.errno or errno.EAGAIN
            self._discard()
        for _, _, descriptors in ancillary:
            for fd in memoryview(descriptors).cast("i"):
                os.close(fd)

    def _count_in(self, number: int) -> None:
        """The spare has its whole request: it is a job now, and the next spare is bred."""
        if self._refusal or self._spare is None:
            self._send("failed", number, self._refusal, "fork")
            self._send("ended", number, 0, 0, 0)
            self._refusal = 0
            return
        spare, self._spare = self._spare, None
        spare.sock.close()
        del self._spares[spare.pid]
        self._running[number] = self._mains[spare.pid] = Job(number, spare)
        self._barren = False

    def _end(self, job: Job, packet: bytes) -> None:
        """Signal a running command, or kill it with all that belongs to it."""
        if packet[0] == ord("s"):
            signal_group(job.pid, packet[HEADER])
            signal_group(job.pid, signal.SIGCONT)  # a stopped process can't act on it
        else:
            kill_group(job.group)
            kill_whole(job.pid)

    def _send(self, *message: int | str) -> None:
        self._sock.sendall(marshal.dumps(message))

    # ---- spares

    def _breed_ahead(self) -> None:
        """Have a spare waiting, if that is possible."""
        if self._spare is None and not self._barren:
            try:
                self._spare = self._breed()
            except OSError:
                self._barren = True

    def _breed(self) -> Spare:
        """A new spare, born in its cgroup where the kernel can do that, else moving there by itself."""
        self._bred += 1
        # An earlier life's spawner may still be killing groups here, so our pid is in the name.
        group = f"{self._groups}/{self._me}-{self._bred}" if self._groups else ""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            pid = fork_into(group)
        except OSError:
            ours.close()
            theirs.close()
            remove_group(group)
            raise
        if pid == 0:
            ours.close()
            live(Parent(self._me, self._sock, self._token), theirs)
        theirs.close()
        spare = self._spares[pid] = Spare(pid, ours, group)
        return spare

    def _discard(self) -> None:
        """Give up a spare that doesn't take a request."""
        if self._spare is not None:
            self._spare.sock.close()
            kill_whole(self._spare.pid)
            self._spare = None

    # ---- ends

    def _reap(self) -> bool:
        """Take note of the children that ended; whether any did. A command is a zombie while its rest is killed."""
        busy = bool(self._ending)
        while (dead := first_dead()) is not None:
            busy = True
            self._suspects.pop(dead.si_pid, None)
            if (spare := self._spares.pop(dead.si_pid, None)) is not None:
                self._spare = None if spare is self._spare else self._spare
                remove_group(spare.group)
            if (job := self._mains.pop(dead.si_pid, None)) is not None:
                del self._running[job.id]
                job.status = dead.si_status if dead.si_code == os.CLD_EXITED else -dead.si_status
                job.deadline = time.monotonic() + PATIENCE
                self._ending[job.id] = job
                self._clean()
            os.waitpid(dead.si_pid, 0)
        if busy:
            self._clean()
        return busy

    def _clean(self) -> None:
        """Kill what ended commands left behind, and report those that left nothing (more)."""
        owners = self._orphans()
        for pid, owner in owners.items():
            if owner not in self._running:
                kill_whole(pid)
        for job in list(self._ending.values()):
            left = members(job.group) | {pid for pid, owner in owners.items() if owner == job.id}
            job.left |= left
            if left:
                kill_group(job.group)
            if not left or time.monotonic() > job.deadline:
                del self._ending[job.id]
                self._send("ended", job.id, job.status, len(job.left), len(left))
                remove_group(job.group)

    def _orphans(self) -> dict[int, int | None]:
        """The living processes that came to us because their parents died, and the id of the job each belongs to."""
        owners: dict[int, int | None] = {}
        for pid in children(self._me):
            if pid not in self._mains and pid not in self._spares and (session := session_of(pid)) is not None:
                owners[pid] = self._owner(pid, session)
        return owners

    def _owner(self, pid: int, session: int) -> int | None:
        """Told by the session, else by the token, else it is one of the jobs that ran when the orphan came."""
        for job in (*self._mains.values(), *self._ending.values()):
            if job.pid == session:
                return job.id
        number = token_of(pid).removeprefix(self._token)
        if number.isdigit():
            return int(number)
        suspects = self._suspects.setdefault(pid, {*self._running, *self._ending})
        suspects &= {*self._running, *self._ending}
        return min(suspects, key=lambda job: job in self._ending, default=None)


# ---- the process


def catch_deaths() -> int:
    """Block every signal but SIGCHLD, which makes the returned descriptor readable; leave no signal ignored.

    A disposition of "ignore" would be inherited by the commands; "default" and blocked is as good here.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGCHLD})
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def main(sock: int, token: str, groups: str) -> None:
    """Serve the daemon at the other end of the socket until it is gone, then end everything."""
    deaths = catch_deaths()
    with contextlib.suppress(OSError):  # it leads its process group already
        os.setsid()
    become_subreaper()
    os.set_inheritable(sock, False)
    spawner = Spawner(_socket.socket(fileno=sock), token.encode(), groups)
    gc.disable()  # the collector would copy pages in each child
    try:
        spawner.serve(deaths)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the daemon died in the middle of a report
    finally:
        spawner.end_all()
