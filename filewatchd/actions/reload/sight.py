"""Who sees what is in a set's files: who may act on the daemon, and who could read the file itself.

The daemon reads everything; who may ask it, doesn't. So the modes and owners that a version has decide, as the kernel
would by them: the file's own, and the right to pass of each directory on its way. Directories above the roots aren't in
the set, and count as they are now. An ACL may take from somebody what the mode gives: where there is one, only the
owner counts. Blocking, for the directories above.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from filewatchd.actions.base import Caller
from filewatchd.actions.reload.entries import OUTSIDE, Entry, Set, path_of

_READ, _PASS = 4, 1  # of a mode's three bits
_ACL = "system.posix_acl_access"


class Viewer(NamedTuple):
    """Who looks. ``everything``: whatever modes say."""

    uid: int = 0
    groups: frozenset[int] = frozenset()
    everything: bool = False


EVERYTHING = Viewer(everything=True)


def viewer_of(caller: Caller) -> Viewer:
    """Who asks over the control socket."""
    return Viewer(caller.uid, caller.groups, caller.acts)


class Sight:
    """What one viewer may see of sets below these roots."""

    def __init__(self, viewer: Viewer, roots: Sequence[str]) -> None:
        self._viewer = viewer
        self._roots = roots
        self._above: dict[str, bool] = {}  # directories on the disk: whether the viewer may pass

    def sees(self, entries: Set, key: str) -> bool:
        """Whether the content of this name of a set may be seen. What isn't there has none."""
        entry = entries.get(key)
        if self._viewer.everything or entry is None:
            return True
        return self._may(entry, _READ) and self._may_come(entries, key)

    def _may_come(self, entries: Set, key: str) -> bool:
        if key.startswith(OUTSIDE):
            return self._may_pass_to(key[1:])
        root, *names = key.split("/")
        inside = ["/".join((root, *names[:count])) for count in range(len(names))]
        on_the_way = [entries.get(directory) for directory in inside]
        may = all(entry is not None and self._may(entry, _PASS) for entry in on_the_way)
        try:
            return may and self._may_pass_to(os.path.realpath(path_of(root, self._roots), strict=True))
        except OSError:
            return False

    def _may_pass_to(self, path: str) -> bool:
        """Whether the directories above a path let the viewer through."""
        above = os.path.dirname(path)
        if above not in self._above:
            self._above[above] = self._passes(above) and (above == path or self._may_pass_to(above))
        return self._above[above]

    def _passes(self, directory: str) -> bool:
        try:
            found, names = os.stat(directory), os.listxattr(directory)
        except OSError:
            return False
        return self._permits(found.st_mode, found.st_uid, found.st_gid, _ACL in names, _PASS)

    def _may(self, entry: Entry, wanted: int) -> bool:
        has_acl = any(name == _ACL for name, _ in entry.xattrs)
        return self._permits(entry.mode, entry.uid, entry.gid, has_acl, wanted)

    def _permits(self, mode: int, uid: int, gid: int, has_acl: bool, wanted: int) -> bool:
        if self._viewer.uid == uid:
            return bool(mode >> 6 & wanted)
        if has_acl:
            return False
        return bool(mode >> (3 if gid in self._viewer.groups else 0) & wanted)
