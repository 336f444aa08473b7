"""The daemon's end of the socket to the spawner: starts it, sends requests, hands on what it reports.

Nothing here blocks: what the socket doesn't take at once waits in a list until it does, in order. A packet carries at
most `PIECE` bytes, because the kernel refuses one that is larger than the socket's buffer and a command's arguments
may have two megabytes.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import marshal
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filewatchd.work.child import PIECE

log = logging.getLogger(__name__)

_LAST_WAIT = 10.0  # seconds
_HOME = str(Path(__file__).parents[2])
# At the end of the path: nothing that lies beside us may stand in for a module of Python's.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from filewatchd.work.spawner import main; "
    "main(int(sys.argv[2]), *sys.argv[3:])"
)


class Link:
    """One spawner process and the socket to it. Its messages go to ``deliver``; ``lost`` is called once if it dies."""

    def __init__(
        self, token: str, groups: str, deliver: Callable[[tuple[Any, ...]], None], lost: Callable[[], None]
    ) -> None:
        """Start a spawner.

        Raises:
            OSError: it can't be started.
        """
        self._deliver = deliver
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._packets: deque[tuple[bytes, Sequence[int]]] = deque()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        try:
            self._process = start(theirs, token, groups)
        except OSError:
            self._sock.close()
            raise
        finally:
            theirs.close()
        self._loop.add_reader(self._sock, self._receive)

    @property
    def pid(self) -> int:
        """The spawner's process id."""
        return self._process.pid

    def run(self, number: int, request: tuple[Any, ...], descriptors: Sequence[int]) -> None:
        """Ask for a command; the descriptors (output, perhaps input) are closed here once they are on their way."""
        data, name = marshal.dumps(request), number.to_bytes(8, "little")
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        for piece in pieces[:-1]:
            self._send(b"m" + name + piece)
        self._send(b"r" + name + pieces[-1], descriptors)

    def signal(self, number: int, sent: int) -> None:
        """Have a signal sent to a command's process group."""
        self._send(b"s" + number.to_bytes(8, "little") + bytes([sent]))

    def end(self, number: int) -> None:
        """Have a command killed with all that belongs to it."""
        self._send(b"k" + number.to_bytes(8, "little"))

    def kill(self) -> None:
        """Kill the spawner; `lost` follows."""
        self._process.kill()

    def close(self) -> None:
        """Hang up: the spawner kills what it has started, and ends. Blocks until it has, but not for ever."""
        self._hang_up()
        try:
            self._process.wait(_LAST_WAIT)
        except subprocess.TimeoutExpired:
            log.error("something that was started can't be killed (it waits inside the kernel); it is left behind")

    def _send(self, packet: bytes, descriptors: Sequence[int] = ()) -> None:
        self._packets.append((packet, descriptors))
        if len(self._packets) == 1:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._packets:
                packet, descriptors = self._packets[0]
                self._transmit(packet, descriptors)
                self._packets.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
        except OSError:
            self._receive_end()
        else:
            self._loop.remove_writer(self._sock)

    def _transmit(self, packet: bytes, descriptors: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._sock.sendmsg([packet], rights)
        for fd in descriptors:
            os.close(fd)

    def _receive(self) -> None:
        try:
            while packet := self._sock.recv(PIECE):
                self._deliver(marshal.loads(packet))
                if self._sock.fileno() < 0:  # whoever was told has closed us
                    return
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        self._receive_end()

    def _receive_end(self) -> None:
        """The spawner has died, or is as good as dead."""
        if self._sock.fileno() >= 0:
            self._hang_up()
            self._process.kill()
            self._process.wait()
            self._lost()

    def _hang_up(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
        for _, descriptors in self._packets:
            for fd in descriptors:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._packets.clear()


def start(sock: socket.socket, token: str, groups: str) -> subprocess.Popen[bytes]:
    """Start a spawner that serves the socket; it shares the daemon's standard error, for what nobody expects."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, _HOME, str(sock.fileno()), token, groups],
        pass_fds=[sock.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={},
        cwd="/",
    )
