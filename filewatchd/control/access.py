"""Who is at the other end of the control socket, and what they may do.

The kernel says who connected (SO_PEERCRED, unix(7)); nothing a client sends counts. Anybody may connect: root and the
daemon's own user may read and act, all others get the reason why not.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

from filewatchd.control.api import Route

_UCRED = struct.Struct("3i")  # pid, uid, gid


class Peer(NamedTuple):
    """The process that connected, as it was when it did."""

    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def refusal(peer: Peer, route: Route) -> str | None:
    """Why this peer may not use a route; None if it may."""
    if peer.uid in (0, os.geteuid()):
        return None
    what = "act on" if route.acts else "ask"
    return f"uid {peer.uid} may not {what} this daemon: only root and uid {os.geteuid()} may"
