"""Who a command runs as: user and group names to the numbers the kernel takes."""

from __future__ import annotations

import grp
import os
import pwd
import time

from filewatchd.errors import ActionError
from filewatchd.work.pool import Pool

_FRESH = 60.0  # seconds a looked-up user is believed
Rights = tuple[int, int, tuple[int, ...]]  # uid, gid, supplementary groups


class Users:
    """Looks users up in the pool and keeps them for a while: a directory service may take its time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[tuple[str | None, str | None], tuple[float, Rights | None]] = {}

    async def rights(self, user: str | None, group: str | None) -> Rights | None:
        """As `rights_of`."""
        if user is None and group is None:
            return None
        now = time.monotonic()
        when, rights = self._known.get((user, group), (now - _FRESH, None))
        if now - when >= _FRESH:
            rights = await self._pool.run("users", rights_of, user, group)
            self._known[user, group] = now, rights
        return rights


def rights_of(user: str | None, group: str | None) -> Rights | None:
    """The user's uid, gid and own groups, or None where that is what we are already. Blocks: names may be in LDAP.

    ``group`` replaces the user's primary group; alone, it goes with the daemon's own user.

    Raises:
        ActionError: there is no such user or group, or we aren't root. Not retryable.
    """
    if user is None and group is None:
        return None
    entry = find_user(user if user is not None else own_name())
    gid = find_group(group) if group is not None else entry.pw_gid
    if os.geteuid() != 0:
        if (entry.pw_uid, gid) == (os.geteuid(), os.getegid()):
            return None
        raise ActionError(
            f"can't run as {user or entry.pw_name}{f', group {group}' if group else ''}: filewatchd isn't root; "
            "run it as root, or remove user and group from the rule",
            retryable=False,
        )
    return entry.pw_uid, gid, tuple(sorted({gid, *os.getgrouplist(entry.pw_name, gid)}))


def own_name() -> str:
    """The name of the daemon's own user; its number where it has none, for messages."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def find_user(name: str) -> pwd.struct_passwd:
    """A user by name.

    Raises:
        ActionError: there is none.
    """
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ActionError(
            f"there is no user {name!r}; create it (useradd --system) or name another", retryable=False
        ) from None


def find_group(name: str) -> int:
    """A group's number.

    Raises:
        ActionError: there is none.
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ActionError(
            f"there is no group {name!r}; create it (groupadd --system) or name another", retryable=False
        ) from None
