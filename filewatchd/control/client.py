"""A client of the control socket: http.client over a Unix socket, which costs little to import."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any

from filewatchd.control.api import ROUTES, RequestError
from filewatchd.errors import FatalError

_ROUTES = {route.name: route for route in ROUTES}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect by a descriptor of the directory: an address has at most 107 bytes, unix(7)."""
        directory, name = os.path.split(os.path.abspath(self._path))
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{place}/{name}")
        except OSError:
            self.sock.close()
            raise
        finally:
            os.close(place)


def ask(path: str, name: str, arguments: dict[str, Any] | None = None, *, timeout: float = 60.0) -> dict[str, Any]:
    """Ask the daemon whose socket is at ``path`` by a route's name, and return its document.

    Raises:
        FatalError: no daemon answers (exit code 69).
        RequestError: it refuses or can't.
    """
    route = _ROUTES[name]
    connection = _UnixConnection(path, timeout)
    try:
        body = json.dumps(arguments) if arguments else None
        connection.request(route.method, route.path, body)
        response = connection.getresponse()
        document: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FatalError(f"no daemon answers on {path}: {error}; is it running?", exit_code=69) from error
    finally:
        connection.close()
    if response.status != 200:
        raise RequestError(response.status, document.get("error", "it gave no reason"))
    return document
