"""The control socket itself: made for everybody, in the place of one that a dead daemon left."""

from __future__ import annotations

import errno
import os
import socket
import stat

from filewatchd.control.api import SOCKET
from filewatchd.errors import FatalError


def listening_socket(directory: str) -> socket.socket:
    """A socket for everybody in the runtime directory, in the place of one that a dead daemon left.

    Its address is relative to a descriptor, because an address has at most 107 bytes, unix(7).

    Raises:
        FatalError: a daemon answers there, something else than a socket stands there, or it can't be made.
    """
    path = os.path.join(directory, SOCKET)
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    address = f"/proc/self/fd/{place}/{SOCKET}"
    try:
        _clear(address, path)
        sock.bind(address)
        os.chmod(address, 0o666)  # who may do what is decided for each request
        sock.listen()
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise FatalError(f"the control socket {path} can't be made: {error.strerror}; mend runtime_dir") from error
    except FatalError:
        sock.close()
        raise
    finally:
        os.close(place)
    return sock


def _clear(address: str, path: str) -> None:
    try:
        found = os.lstat(address)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FatalError(f"{path} is no socket; move it away, or set runtime_dir")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(address)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise
        else:
            raise FatalError(f"a daemon answers on {path} already; stop it, or set runtime_dir", exit_code=75)
    os.unlink(address)
