"""Giving one file another's owner, mode, times and extended attributes (ACLs and the SELinux label are such).

The mode comes last: until then nobody but us may open the file. The owner comes before it, since chown(2) takes
set-user-ID bits away; an ACL's mask is the group part of the mode, so setting the mode keeps both in step.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from errno import ENODATA, ENOTSUP, EPERM

from filewatchd.errors import ActionError

_OURS = 0o777  # a log is no program


def take_over(
    source: int, target: int, *, owner: int = -1, group: int = -1, mode: int | None = None, times: bool = True
) -> None:
    """Make the target look like the source, but for what is said. Both are descriptors.

    Raises:
        OSError: the target's filesystem fails. What we may not set, or it can't hold, is left out.
    """
    found = os.fstat(source)
    _own(target, found.st_uid if owner < 0 else owner, found.st_gid if group < 0 else group)
    for name in os.listxattr(source):
        with tolerated():
            os.setxattr(target, name, os.getxattr(source, name))
    if times:
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.fchmod(target, (found.st_mode if mode is None else mode) & _OURS)


def _own(fd: int, owner: int, group: int) -> None:
    found = os.fstat(fd)
    if (found.st_uid, found.st_gid) != (owner, group):
        with tolerated():
            os.fchown(fd, owner, group)


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
