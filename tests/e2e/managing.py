"""A service manager in a few lines: it hears the daemon (sd_notify(3)), keeps its descriptors and hands them over."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.running import RUN, Daemon, eventually

# Becomes the program that is left of its arguments, with the descriptors that it names as 3, 4, ... (sd_listen_fds(3)).
_HAND_OVER = """
import fcntl, json, os, sys
given = json.loads(sys.argv[1])
count = len(given["fds"])
for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 3 + count) for fd in given["fds"]]):
    os.dup2(fd, 3 + number)
if count:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=":".join(given["names"]))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """Hears one daemon, and starts it as systemd would."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.told: list[tuple[str, str]] = []
        self.stored: dict[str, int] = {}
        self.sockets: list[socket.socket] = []

    def close(self) -> None:
        """Let go of everything."""
        for fd in self.stored.values():
            os.close(fd)
        for kept in (self._socket, *self.sockets):
            kept.close()

    def hear(self) -> list[tuple[str, str]]:
        """Everything told so far, in order."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(64))
            except BlockingIOError:
                return self.told
            news = [(name, value) for name, _, value in (line.partition("=") for line in data.decode().splitlines())]
            self.told += news
            for _, _, rights in ancillary:
                (fd,) = array.array("i", rights)
                name = dict(news)["FDNAME"]
                if name in self.stored:  # each life tells of the one that it has taken over
                    os.close(self.stored[name])
                self.stored[name] = fd

    def heard(self, name: str, value: str | None = None) -> int:
        """How often something was told."""
        return sum(told == name and value in (None, what) for told, what in self.hear())

    def waits(self, name: str, value: str | None = None, times: int = 1) -> None:
        """Wait until something was told so often."""
        eventually(lambda: self.heard(name, value) >= times, f"{name}={value or ''} is told {times} times: {self.told}")

    def launcher(self, daemon: Daemon, **environ: str) -> Callable[[], subprocess.Popen[bytes]]:
        """What `Daemon.launch` shall do: the daemon with all that is kept, and these variables."""

        def launch() -> subprocess.Popen[bytes]:
            self.hear()
            fds = [*self.stored.values(), *(each.fileno() for each in self.sockets)]
            names = [*self.stored, *("control" for _ in self.sockets)]
            given = json.dumps({"fds": fds, "names": names})
            command = [sys.executable, "-c", _HAND_OVER, given, *daemon.through, sys.executable, "-c", RUN, "run"]
            command += ["--config", str(daemon.config), "--state-dir", str(daemon.state_dir)]
            command += ["--runtime-dir", str(daemon.directory / "run")]
            with daemon.log_path.open("ab") as log:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=daemon.directory, pass_fds=fds,
                    env={**os.environ, "NOTIFY_SOCKET": str(self.path), **environ},
                )  # fmt: skip

        return launch
