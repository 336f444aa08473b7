"""What is in a live directory that no version can have, and that would go when another takes its name. Blocking.

A directory that was exchanged is removed once its files are kept. But version control's own directories are never of a
set, devices, pipes and sockets can't be kept, and what is mounted below would be emptied, since a mount goes where its
directory goes. So such a directory isn't exchanged; and should any of it come in at the last moment, the old tree
isn't removed but gets a name that can be seen.
"""

from __future__ import annotations

import os

from filewatchd.actions.reload.looking import is_left_out
from filewatchd.errors import ActionError
from filewatchd.work.cgroup import unescape


def refuse(tree: str) -> None:
    """Whether a live directory may be exchanged.

    Raises:
        ActionError: it may not; says why and what helps. Not retryable.
        OSError: it can't be looked at.
    """
    if os.path.realpath(tree) in mount_points():
        text = f"{tree} is a mount point (a volume, or a unit's ReadWritePaths=) and can't be exchanged:"
        raise ActionError(f"{text} publish to a directory below, or have the one above it mounted", retryable=False)
    if found := foreign(tree):
        text = f"{found}, and no version can keep it when {tree} is exchanged: move it out of there"
        raise ActionError(text, retryable=False)


def foreign(tree: str) -> str:
    """What of it no version can have; "" for nothing."""
    real = os.path.realpath(tree)
    below = [place for place in mount_points() if place.startswith(f"{real}/")]
    return f"{below[0]} is mounted there" if below else _foreign_below(real)


def mount_points() -> list[str]:
    """Where something is mounted, as this process sees it; none where there is no /proc."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            return [unescape(line.split()[4]) for line in table]
    except FileNotFoundError:
        return []


def _foreign_below(tree: str) -> str:
    waiting = [tree]
    while waiting:
        try:
            listing = os.scandir(waiting.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with listing:
            for entry in listing:
                if is_left_out(entry.name):
                    return f"{entry.path} is there"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_symlink() and not entry.is_file(follow_symlinks=False):
                    return f"{entry.path} is a device, a pipe or a socket"
    return ""
