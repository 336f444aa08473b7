"""Who else may write a path: the file, and every directory through which its name leads.

Whoever may write a directory may put something else under the names in it, so a safe file in an unsafe directory is
unsafe. A symbolic link leads into other directories, so the way is walked as the kernel walks it, hop by hop, and each
directory on it is looked at. A directory of root's with the sticky bit, such as /tmp, doesn't count: nobody can
replace another's file there. A filesystem mounted read-only doesn't count either (a container's configuration volume
is often mode 0777 on one). An ACL shows up in the group bits.

Nobody but root and the given user is trusted. For root a group that may write is always somebody else, unless it is
root's own; for other users a group of their own, as many systems make one for each user, is not.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

_MAX_LINKS = 40  # the kernel's own limit


def others_may_write(path: str, *, user: int | None = None) -> str | None:
    """Why somebody other than root and the user (an id; by default ours) may write the path or replace what it names.

    What doesn't exist is left out: only the parents that do exist count.

    Args:
        path: absolute.
        user: whom to trust besides root.

    Returns:
        A reason for people, or None.
    """
    trusted = os.geteuid() if user is None else user
    links = 0
    steps = [part for part in path.split("/") if part][::-1]
    here = "/"
    while True:
        try:
            found = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"{here} can't be looked at: {os.strerror(error.errno or 0)}"
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MAX_LINKS:
                return f"{here}: {os.strerror(errno.ELOOP)}"
            target = os.readlink(here)
            steps.extend(part for part in reversed(target.split("/")) if part)
            here = "/" if target.startswith("/") else os.path.dirname(here)
        elif reason := _reason(here, found, trusted):
            return reason
        step = steps.pop() if steps else None
        if step is None:
            return None
        here = os.path.normpath(os.path.join(here, step))


def _reason(path: str, found: os.stat_result, trusted: int) -> str | None:
    mode = found.st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and found.st_uid == 0:
        return None
    reason = None
    if found.st_uid not in (0, trusted):
        reason = f"{path} belongs to {_user_name(found.st_uid)}"
    elif mode & stat.S_IWOTH:
        reason = f"everybody may write {path} (mode {stat.S_IMODE(mode):04o})"
    elif mode & stat.S_IWGRP and not _own_group(found.st_gid, trusted):
        reason = f"group {_group_name(found.st_gid)} may write {path} (mode {stat.S_IMODE(mode):04o})"
    return reason if reason and not _read_only(path) else None


def _own_group(group: int, user: int) -> bool:
    """True if only root and the user are in the group: root's own, or one that bears the user's name."""
    if group == 0:
        return True
    if user == 0:
        return False
    try:
        name, known = pwd.getpwuid(user).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return known.gr_name == name and set(known.gr_mem) <= {name, "root"}


def _read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
