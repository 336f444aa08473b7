"""A client of the control socket: http.client over a Unix socket, which costs little to import.

It works from the same table of places as the server. Documents come as plain dicts, so that an older client passes on
what a newer daemon says.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from filewatchd.control.places import PLACES, Place, RequestError
from filewatchd.errors import FatalError

_PAUSE = 0.02  # seconds until a connection is tried again


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect by a descriptor of the directory: an address has at most 107 bytes, unix(7)."""
        directory, name = os.path.split(os.path.abspath(self._path))
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self._reach(f"/proc/self/fd/{place}/{name}")
        except OSError:
            self.sock.close()
            raise
        finally:
            os.close(place)

    def _reach(self, address: str) -> None:
        """With a time-out a full queue is no wait but EAGAIN at once, whoever has filled it: it is tried again."""
        until = time.monotonic() + (self.timeout or 0.0)
        while True:
            try:
                self.sock.connect(address)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError from None
                time.sleep(_PAUSE)
            else:
                return


class NoDaemonError(FatalError):
    """Nobody answers at the socket."""

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(f"no daemon answers on {path}: {_reason(path, error)}", exit_code=69)


_PIECE = 64 * 1024  # bytes
_START = "start one, or name the socket of one that runs"


def _reason(path: str, error: Exception) -> str:
    """Why not, and what to do."""
    if isinstance(error, ConnectionRefusedError) and not _is_socket(path):
        return "that is no socket; name one, such as /run/filewatchd/control.sock"
    if isinstance(error, FileNotFoundError):
        return f"there is no such socket; {_START}"
    if isinstance(error, ConnectionRefusedError):
        return f"its daemon has died; {_START}"
    if isinstance(error, PermissionError):
        return "the directories above it don't let you through"
    if isinstance(error, (http.client.IncompleteRead, ConnectionResetError, http.client.RemoteDisconnected)):
        return "it went away"
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return str(error) or type(error).__name__


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:  # it went just now
        return True


def ask(
    path: str, name: str | Place, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = 60.0
) -> dict[str, Any]:
    """Ask the daemon whose socket is at ``path`` by a route's name, or its place, and return its document.

    Raises:
        NoDaemonError: no daemon answers (exit code 69).
        RequestError: it refuses or can't; what else its answer says is in ``more``.
    """
    connection = _UnixConnection(path, timeout)
    try:
        response = _request(connection, PLACES[name] if isinstance(name, str) else name, arguments or {})
        return _document(response, response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoDaemonError(path, error) from error
    finally:
        connection.close()


def text(path: str, name: str, *, timeout: float | None = 60.0) -> str:
    """As `ask`, of a route whose answer isn't JSON."""
    connection = _UnixConnection(path, timeout)
    try:
        response = _request(connection, PLACES[name], {})
        body = response.read()
        if response.status != 200:
            _document(response, body)
        return body.decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoDaemonError(path, error) from error
    finally:
        connection.close()


def lines(path: str, name: str, arguments: Mapping[str, Any] | None = None) -> Iterator[bytes]:
    """The lines of a stream, as they come. It ends where the daemon ends it.

    Raises:
        NoDaemonError: no daemon answers, or it went away.
        RequestError: it refuses or can't.
    """
    connection = _UnixConnection(path, None)
    try:
        response = _request(connection, PLACES[name], arguments or {})
        if response.status != 200:
            _document(response, response.read())
        yield from _lines(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoDaemonError(path, error) from error
    finally:
        connection.close()


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Not by its own iterator, which takes a connection that was cut off for the end."""
    rest = b""
    while piece := response.read1(_PIECE):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)


def _request(
    connection: http.client.HTTPConnection, place: Place, arguments: Mapping[str, Any]
) -> http.client.HTTPResponse:
    left = {name: value for name, value in arguments.items() if value is not None}
    target = re.sub(r"{(\w+)}", lambda found: urllib.parse.quote(str(left.pop(found[1])), safe=""), place.path)
    if place.method == "GET":
        said = {name: _in_query(value) for name, value in left.items()}
        query = urllib.parse.urlencode(said, errors="surrogateescape")
        connection.request("GET", f"{target}?{query}" if query else target)
    else:
        connection.request(place.method, target, json.dumps(left) if left else None)
    return connection.getresponse()


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(response: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    if response.status != 200:
        more = {name: value for name, value in document.items() if name != "error"}
        raise RequestError(response.status, document.get("error", "it gave no reason"), **more)
    return document
