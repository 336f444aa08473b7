"""A program that keeps a copy of a tree, by nothing but the daemon's changes: `python replaying.py SOCKET TREE COPY`.

It takes away what a change says is gone, and copies what one says is there, as it is by now; then it remembers the
change's cursor in a file. So it may be killed at any moment, and goes on from there. With `once` behind its arguments
it ends when all is told, else it follows. Where the daemon can't go on without a gap it ends with status 3.

It never looks at what was deleted: a file that is there again by now may go before anybody sees it, and no change
would tell of that.

It knows of filewatchd only what docs/how-to/follow-changes.md tells: it could be anybody's.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def changes(path: str, **asked: str) -> Iterator[dict[str, Any]]:
    """The lines of the stream."""
    connection = _Connection(path)
    connection.request("GET", "/v1/changes?" + urllib.parse.urlencode(asked))
    response = connection.getresponse()
    if response.status == 410:
        print(response.read().decode(), file=sys.stderr)
        sys.exit(3)
    if response.status != 200:
        raise OSError(response.read().decode())
    for line in response:
        yield json.loads(line)


def named(change: Mapping[str, Any], name: str) -> str | None:
    """A path of a change, whatever bytes are in it."""
    encoded = change.get(f"{name}_b64")
    return os.fsdecode(base64.b64decode(encoded)) if encoded else change.get(name)


class Copy:
    """The copy, and how far it has come."""

    def __init__(self, tree: str, copy: str) -> None:
        self._tree, self._copy = tree, copy
        self._cursor = copy + ".cursor"

    def cursor(self) -> str:
        """Where to go on."""
        with suppress(FileNotFoundError), open(self._cursor, encoding="ascii") as file:
            return file.read()
        return "0"

    def replay(self, change: Mapping[str, Any]) -> None:
        """Follow one change."""
        path, old = named(change, "path") or "", named(change, "old_path")
        if old is not None:
            self._remove(self._there(old))
        if change["kind"] == "deleted":
            self._remove(self._there(path))
        else:
            self._renew(path, self._there(path))
        with open(self._cursor + ".new", "w", encoding="ascii") as file:
            file.write(change["cursor"])
        os.replace(self._cursor + ".new", self._cursor)

    def _there(self, path: str) -> str:
        return self._copy + path.removeprefix(self._tree)

    def _renew(self, source: str, target: str) -> None:
        try:
            with open(source, "rb") as old:
                self._make_room(target)
                with open(self._copy + ".file", "wb") as new:
                    shutil.copyfileobj(old, new)
                status = os.fstat(old.fileno())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._remove(target)
        else:
            os.utime(self._copy + ".file", ns=(status.st_atime_ns, status.st_mtime_ns))
            os.replace(self._copy + ".file", target)

    def _make_room(self, target: str) -> None:
        """A directory for it, where there may have been files before, and no directory in its own place."""
        if os.path.isdir(target):
            shutil.rmtree(target)
        above = os.path.dirname(target)
        while above != self._copy:
            if os.path.isfile(above):
                os.unlink(above)
            above = os.path.dirname(above)
        os.makedirs(os.path.dirname(target), exist_ok=True)

    def _remove(self, target: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            os.unlink(target)
        with suppress(OSError):  # not empty
            while (target := os.path.dirname(target)) != self._copy:
                os.rmdir(target)


def main(path: str, tree: str, copy: str, once: bool) -> None:
    """Replay; wait for the daemon where it doesn't run."""
    os.makedirs(copy, exist_ok=True)
    kept = Copy(tree, copy)
    while True:
        try:
            for change in changes(path, since=kept.cursor(), follow=str(not once).lower()):
                if "missed" in change:
                    sys.exit(3)
                kept.replay(change)
            if once:
                return
        except (OSError, http.client.HTTPException, ValueError):  # no daemon, or it went away in the middle of a line
            if once:
                raise
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:] == ["once"])
