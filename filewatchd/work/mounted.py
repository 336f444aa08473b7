"""Through which mount a file is reached, and whether that shows other files than are there without it.

A filesystem that is mounted tells itself by its device. A bind mount has that of the filesystem it is taken from, which
may be the one around it; statx(2) has a number for each mount since Linux 5.8. But not every mount hides something:
systemd binds what `ReadWritePaths=` names onto itself. The directory beneath is the same one then, and nothing is
missing when a unit's next life does without. /proc/self/mountinfo, proc(5), tells the two apart: which directory of its
filesystem a mount shows.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from filewatchd.work.cgroup import unescape
from filewatchd.work.inodes import statx

_STATX_MNT_ID = 0x1000
_FIELDS = struct.Struct("=I132xIIQ")  # of struct statx: stx_mask, stx_dev, stx_mnt_id


class Mounted(NamedTuple):
    """``number``: of the mount, 0 where the kernel doesn't tell."""

    device: tuple[int, int]
    number: int


class _Line(NamedTuple):
    """Of the mount table. ``root``: the directory of its filesystem that stands at ``place``."""

    root: str
    place: str


def mounted(target: int | str) -> Mounted:
    """What a file, or a name, is reached through; symlinks are followed.

    Raises:
        OSError: there is none.
    """
    mask, major, minor, number = _FIELDS.unpack_from(statx(target, _STATX_MNT_ID))
    return Mounted((major, minor), number if mask & _STATX_MNT_ID else 0)


def is_apart(inner: Mounted, outer: Mounted) -> bool:
    """Whether a mount within another one shows other files than the outer one has there."""
    if inner.device != outer.device:
        return True
    return 0 != inner.number != outer.number != 0 and not _shows_the_same(inner.number, outer.number)


def _shows_the_same(inner: int, outer: int) -> bool:
    """Where the table can't be read nothing is known of binds. What isn't in it any more is used by us alone."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            lines = [line.split(b" ", 5) for line in table]
    except OSError:
        return True
    both = (line for line in lines if int(line[0]) in (inner, outer))
    found = {int(line[0]): _Line(unescape(line[3]), unescape(line[4])) for line in both}
    if inner not in found or outer not in found:
        return False
    inside = os.path.relpath(found[inner].place, found[outer].place)
    return found[inner].root == os.path.normpath(os.path.join(found[outer].root, inside))
