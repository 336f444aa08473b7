"""Who is at the other end of the control socket, and what they may do.

The kernel says who connected (SO_PEERCRED and SO_PEERGROUPS, unix(7)); nothing a client sends counts. Anybody may
connect: root and the daemon's own user may read and act, others as ``control: {read, act}`` says; a stranger gets
the reason why not.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from filewatchd.control.api import Peer, Route

_UCRED = struct.Struct("3i")  # pid, uid, gid
_SO_PEERGROUPS = 59  # Linux 4.13; the socket module has no name for it
_FEW_GROUPS = 64
_libc = ctypes.CDLL(None, use_errno=True)


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def groups_of(sock: socket.socket) -> frozenset[int]:
    """The supplementary groups of who connected, as they were then; none where the kernel can't tell.

    By C's own function: Python's takes 1,024 bytes of an answer at most, and a user may have 65,536 groups.
    """
    size = ctypes.c_uint32(_FEW_GROUPS * ctypes.sizeof(ctypes.c_uint32))
    for _ in range(2):
        found = (ctypes.c_uint32 * (size.value // ctypes.sizeof(ctypes.c_uint32)))()
        failed = _libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, found, ctypes.byref(size))
        if not failed:
            return frozenset(found[: size.value // ctypes.sizeof(ctypes.c_uint32)])
        if ctypes.get_errno() != errno.ERANGE:  # which says how large it has to be
            break
    return frozenset()


class Named(NamedTuple):
    """Users and groups by their numbers."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def has(self, peer: Peer, groups: frozenset[int]) -> bool:
        """Whether the peer is one of them."""
        return peer.uid in self.uids or peer.gid in self.gids or not self.gids.isdisjoint(groups)


class Access(NamedTuple):
    """Who else than root and the daemon's user may do what. Who may act may read."""

    read: Named = Named()
    act: Named = Named()

    def may_act(self, peer: Peer, groups: frozenset[int]) -> bool:
        """Whether this peer may use every route."""
        return peer.uid in (0, os.geteuid()) or self.act.has(peer, groups)

    def may_ask(self, peer: Peer, groups: frozenset[int]) -> bool:
        """Whether this peer may use any route."""
        return self.may_act(peer, groups) or self.read.has(peer, groups)

    def lacking(self, peer: Peer, groups: frozenset[int], route: Route) -> str | None:
        """The key of the configuration that would let this peer use a route; None if it may."""
        if self.may_act(peer, groups) if route.acts else self.may_ask(peer, groups):
            return None
        return "control.act" if route.acts else "control.read"


def named(names: Iterable[str]) -> Named:
    """Users, and groups written ``@group``, by their numbers. May ask LDAP, so it may block.

    Raises:
        KeyError: there is no such user or group.
    """
    names = list(names)
    uids = (pwd.getpwnam(name).pw_uid for name in names if not name.startswith("@"))
    gids = (grp.getgrnam(name[1:]).gr_gid for name in names if name.startswith("@"))
    return Named(frozenset(uids), frozenset(gids))


def name_of(uid: int) -> str:
    """A user, for people. May ask LDAP, so it may block."""
    number, name = f"uid {uid}", user_of(uid)
    return name if name == number else f"{name} ({number})"


def user_of(uid: int) -> str:
    """A user's name, or number where there is no name. May ask LDAP, so it may block."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
