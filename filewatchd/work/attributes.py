"""Giving one file another's owner, mode, times and extended attributes (ACLs and the SELinux label are such).

The mode comes last: until then nobody but us may open the file. The owner comes before it, since chown(2) takes
set-user-ID bits away; an ACL's mask is the group part of the mode, so setting the mode keeps both in step.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Callable, Sequence
from errno import ENODATA, ENOTSUP, EPERM
from typing import Any

from filewatchd.errors import ActionError

_OURS = 0o777  # a log is no program
_ACL = "system.posix_acl_access"


def take_over(
    source: int, target: int, *, owner: int = -1, group: int = -1, mode: int | None = None, times: bool = True
) -> str:
    """Make the target look like the source, but for what is said. Both are descriptors.

    What we may not set, or the target's filesystem can't hold, is left out. Returns which of owner and group was, in
    words, if they could do more than everybody. Another group than the source's may then do no more than that.

    Raises:
        OSError: the target's filesystem fails.
        ActionError: what is said can't be set.
    """
    found = os.fstat(source)
    left = _own(target, found, owner, group)
    names = os.listxattr(source)
    for name in names:
        with tolerated():
            os.setxattr(target, name, os.getxattr(source, name))
    if times:
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    if mode is None:
        mode = found.st_mode
        if group < 0 and os.fstat(target).st_gid != found.st_gid and _ACL not in names:  # with one it is the ACL's mask
            mode &= ~0o070 | (mode & 0o007) << 3
    os.fchmod(target, mode & _OURS)
    return left


def _own(fd: int, like: os.stat_result, owner: int, group: int) -> str:
    found = os.fstat(fd)
    wanted = like.st_uid if owner < 0 else owner, like.st_gid if group < 0 else group
    if (found.st_uid, found.st_gid) == wanted:
        return ""
    with tolerated():
        os.fchown(fd, *wanted)
        return ""
    left = []
    if found.st_gid != wanted[1] and (to := _give(fd, -1, wanted[1], asked=group >= 0)):
        left += [to] if like.st_mode >> 3 & ~like.st_mode & 0o7 else []
    if found.st_uid != wanted[0] and (to := _give(fd, wanted[0], -1, asked=owner >= 0)):
        left += [to] if like.st_mode >> 6 & ~like.st_mode & 0o7 else []
    return " and ".join(left)


def _give(fd: int, owner: int, group: int, *, asked: bool) -> str:
    """One of both; returns what it would have been, if it can't be."""
    with tolerated():
        os.fchown(fd, owner, group)
        return ""
    to = f"the group {_named(grp.getgrgid, group)}" if owner < 0 else f"the user {_named(pwd.getpwuid, owner)}"
    if asked:
        us = _named(pwd.getpwuid, os.geteuid())
        remedy = f"make {us} a member of it" if owner < 0 else "only root may"
        raise ActionError(f"{us} can't give files to {to}: {remedy}, or leave it out of the rule", retryable=False)
    return to


def _named(find: Callable[[int], Sequence[Any]], number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


class tolerated(contextlib.AbstractContextManager[None]):  # noqa: N801 - a context like contextlib's own
    """What we may not set, or a filesystem can't hold, isn't set."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError) and error.errno in (ENOTSUP, EPERM, ENODATA)


def uid_of(user: str | None) -> int:
    """A user's number; -1: none was named.

    Raises:
        ActionError: there is no such user.
    """
    if user is None:
        return -1
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ActionError(f"there is no user {user}", retryable=False) from None


def gid_of(group: str | None) -> int:
    """A group's number; -1: none was named.

    Raises:
        ActionError: there is no such group.
    """
    if group is None:
        return -1
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ActionError(f"there is no group {group}", retryable=False) from None
