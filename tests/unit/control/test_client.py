"""The client at a socket whose queue is full, as anybody may fill it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from filewatchd.control import client

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{"healthy":true}'


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A listening socket with as many connections as its queue takes."""
    path = str(tmp_path / "control.sock")
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(path)
        server.listen(1)
        while True:
            other = stack.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            try:
                other.connect(path)
            except BlockingIOError:
                break
        yield path, server


def test_a_full_queue_is_waited_for(crowded: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    path, server = crowded
    full = threading.Event()
    monkeypatch.setattr("filewatchd.control.client.time.sleep", lambda _: full.set())

    def serve() -> None:
        full.wait(10)
        for _ in range(50):
            taken, _ = server.accept()
            with taken:
                taken.settimeout(0.05)
                try:
                    asked = taken.recv(4096)
                except TimeoutError:
                    continue
                if asked:
                    taken.sendall(ANSWER)
                    break

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert client.ask(path, "health", timeout=20) == {"healthy": True}
    finally:
        full.set()
        thread.join()


def test_not_for_ever(crowded: tuple[str, socket.socket]) -> None:
    with pytest.raises(client.NoDaemonError, match="it takes too long") as caught:
        client.ask(crowded[0], "health", timeout=0.05)
    assert caught.value.exit_code == 69
