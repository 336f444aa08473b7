"""Daemons that are born quickly, for tests that start hundreds: forked from a process that has imported all they need.

Half of what a short script costs is importing the daemon's modules. A nursery is one process of one thread; each
daemon is its child and runs the program's `main` with arguments, environment, directory and output of its own.
"""

from __future__ import annotations

import array
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_PROGRAM = "from tests.e2e.nursery import serve; serve()"
_PACKET = 1 << 16


class Born:
    """A child of a nursery, with what the tests use of `subprocess.Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        return self._nursery.status(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        """The same, when it has ended. Raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(f"daemon {self.pid}", timeout or 0)
            time.sleep(0.002)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The tests' end."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).parents[2])
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=theirs.fileno(), env=environ)
        self._ended: dict[int, int] = {}
        self._born = 0
        self._lock = threading.Lock()  # the oracle tries two seeds at a time, in threads

    def bear(self, argv: list[str], directory: Path, output: int, first: str = "") -> Born:
        """Start a daemon; ``output`` is a descriptor for both of its streams, ``first`` code that it runs first."""
        told = {"argv": argv, "cwd": str(directory), "environ": dict(os.environ), "first": first}
        asked = json.dumps(told).encode()
        with self._lock:
            self._born = 0
            self._sock.sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))])
            while not self._born:
                self._hear()
            return Born(self, self._born)

    def status(self, pid: int) -> int | None:
        """How a child ended, if it has."""
        with self._lock:
            while select.select([self._sock], [], [], 0)[0]:
                self._hear()
            return self._ended.get(pid)

    def _hear(self) -> None:
        data = self._sock.recv(_PACKET)
        if not data:
            raise RuntimeError(f"the nursery has ended with status {self._process.wait()}")
        told = json.loads(data)
        if "status" in told:
            self._ended[told["pid"]] = told["status"]
        else:
            self._born = told["pid"]


@functools.cache
def _nursery(mounts: str, process: int) -> Nursery:
    return Nursery()


def bear(argv: list[str], directory: Path, output: int, first: str = "") -> Born:
    """Start a daemon from a nursery in this process' mounts."""
    return _nursery(os.readlink("/proc/self/ns/mnt"), os.getpid()).bear(argv, directory, output, first)


# ---- the nursery itself


def serve() -> None:
    """Bear a daemon for each request, and tell how it ended."""
    import filewatchd.cli.daemon
    import filewatchd.service.daemon  # noqa: F401 - what `run` loads

    sock = socket.socket(fileno=os.dup(0))
    poll, children = select.poll(), dict[int, int]()  # by pidfd
    poll.register(sock, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == sock.fileno():
                data, descriptors, _, _ = socket.recv_fds(sock, _PACKET, 1)
                if not data:
                    return
                pid = os.fork()
                if pid == 0:
                    sock.close()
                    _live(json.loads(data), descriptors[0])
                os.close(descriptors[0])
                pidfd = os.pidfd_open(pid)
                children[pidfd] = pid
                poll.register(pidfd, select.POLLIN)
                sock.send(json.dumps({"pid": pid}).encode())
            else:
                poll.unregister(ready)
                os.close(ready)
                pid = children.pop(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                sock.send(json.dumps({"pid": pid, "status": status}).encode())


def _live(asked: dict[str, Any], output: int) -> None:
    """Become the daemon."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 64)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environ"])
        sys.argv = ["filewatchd", *asked["argv"]]
        exec(asked["first"], {})
        from filewatchd.cli.daemon import main

        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is a process of its own
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
