"""What strangers may do to the control socket: thousands of bad requests, and more connections than have room."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import resource
import socket
import subprocess
import sys

import pytest

from filewatchd.control.api import socket_in
from tests.e2e.running import RUN, Daemon, eventually
from tests.e2e.steps import ask

_SEEDS = (
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/status?limit=%00&rule=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b'POST /v1/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{"rule": "\\u00"}',
    b"POST /v1/flush HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[[[[[\r\n0\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"\x16\x03\x01" + b"x" * 20_000,
)


def place(daemon: Daemon) -> str:
    return socket_in(str(daemon.directory / "run"))


def mutated(source: random.Random, data: bytes) -> bytes:
    """The bytes with some of them changed, left out or said again."""
    found = bytearray(data)
    for _ in range(source.randrange(4)):
        at = source.randrange(len(found))
        how = source.randrange(3)
        found[at : at + how] = source.randbytes(source.randrange(4)) if how else found[at : at + 40] * 2
    return bytes(found)


def spoil(daemon: Daemon, source: random.Random, number: int) -> None:
    for data in itertools.islice(itertools.cycle(_SEEDS), number):
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(20)
            client.connect(place(daemon))
            client.sendall(mutated(source, data))
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass


def test_thousands_of_bad_requests_leave_memory_and_descriptors_as_they_were(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    source = random.Random(5)
    spoil(daemon, source, 1000)  # by now it has all the memory that requests take
    before = ask(daemon, "status")["process"]
    spoil(daemon, source, 4000)
    after = ask(daemon, "status")["process"]
    assert after["memory"] - before["memory"] < 2_000_000
    assert after["descriptors"] <= before["descriptors"] + 2
    assert "bug" not in daemon.log()
    assert "Traceback" not in daemon.log()


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4000, reason="not so many descriptors are allowed")
def test_a_thousand_connections_and_one_more(daemon: Daemon) -> None:
    """All of them busy: the next one is told so. One that asks nothing makes room."""
    daemon.configure(daemon.rule())
    daemon.start()
    with contextlib.ExitStack() as stack:

        def connected(begun: bytes) -> socket.socket:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(place(daemon))
            client.settimeout(20)
            client.sendall(begun)
            return client

        asking = b"POST /v1/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        busy = [connected(asking) for _ in range(999)]
        with contextlib.closing(http.client.HTTPConnection("localhost")) as idle:
            idle.sock = connected(b"")
            idle.request("GET", "/v1/status")
            assert idle.getresponse().read()
            connected(asking)
            assert idle.sock.recv(1) == b""
        last = connected(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = bytearray()
        with contextlib.suppress(ConnectionResetError):  # its request was never read
            while piece := last.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"there are 1000 connections already; try again later" in answer
        busy.pop().close()
        eventually(lambda: _answered(daemon), "there is room again", 20)
    assert ask(daemon, "status")["control"]["turned_away"] > 0


def _answered(daemon: Daemon) -> bool:
    with contextlib.suppress(Exception):
        return bool(ask(daemon, "status"))
    return False


def test_a_live_daemons_socket_is_left_to_it(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    other = Daemon(daemon.directory / "other")
    other.configure(other.rule())
    shared = f"daemon: {{runtime_dir: {daemon.directory}/run, "
    other.config.write_text(other.config.read_text().replace("daemon: {", shared))
    command = [sys.executable, "-c", RUN, "run", "--config", str(other.config), "--state-dir", str(other.state_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 75
    assert "a daemon answers on" in ended.stderr
    assert ask(daemon, "status")["pid"] == daemon.pid
