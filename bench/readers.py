"""Many followers of a rule's changes in one process: `python readers.py SOCKET RULE READERS IDLERS`.

Says "ready" when all are connected. The readers read as fast as they can; the idlers ask and never read. A number on
the standard input says how many lines there are in all: when each reader has them, or nothing has come for a minute,
it ends with one line of JSON: how many lines the readers got, at least and at most, and whether all got the same ones
in the same order. Knows nothing of filewatchd but its socket.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import zlib

_PATIENCE = 60.0  # seconds


class Reader:
    """One connection, and what came of it: HTTP's chunks taken off, lines counted and summed up."""

    def __init__(self, path: str, rule: str) -> None:
        self.socket = connect(path, rule)
        self.lines = self.sum = 0
        self._left = 0  # bytes of the chunk that is under way
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.socket.recv(1)
        if b" 200 " not in self._rest:
            raise RuntimeError(self._rest.decode())
        self._rest = b""
        self.socket.setblocking(False)

    def read(self) -> None:
        """Take what has come."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RuntimeError(f"cut off after {self.lines} lines")
        data, at = self._rest + data, 0
        while True:
            if not self._left:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                self._left, at = int(data[at:end], 16) + 2, end + 2
            take = min(self._left, len(data) - at)
            if not take:
                break
            payload = data[at : at + take - max(0, take + 2 - self._left)]
            self.lines += payload.count(b"\n")
            self.sum = zlib.crc32(payload, self.sum)
            at, self._left = at + take, self._left - take
        self._rest = data[at:]


def connect(path: str, rule: str) -> socket.socket:
    """A connection that has asked."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(f"GET /v1/changes?follow=true&rule={rule} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock


def read_all(readers: list[Reader]) -> None:
    """Read until each reader has all lines."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    wanted = None
    while wanted is None or min(reader.lines for reader in readers) < wanted:
        ready = selector.select(None if wanted is None else _PATIENCE)
        if not ready:
            return
        for key, _ in ready:
            if key.data is None:
                wanted = int(sys.stdin.readline())
                selector.unregister(sys.stdin)
            else:
                key.data.read()


def main(path: str, rule: str, readers: int, idlers: int) -> None:
    """Connect, read, tell."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    idle = [connect(path, rule) for _ in range(idlers)]
    reading = [Reader(path, rule) for _ in range(readers)]
    print("ready", flush=True)
    read_all(reading)
    counts = [reader.lines for reader in reading]
    same = len({reader.sum for reader in reading}) <= 1
    print(json.dumps({"least": min(counts), "most": max(counts), "same": same, "idle": len(idle)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]))
