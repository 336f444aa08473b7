"""What jobs saw between two passes of polling, to be compared with what the next pass sees.

A pass compares with the pass before, and jobs look in between. So a file may be one thing for a pass, another for the
job that it started, and the first one again for the next pass, as when two directories change places and change back:
the passes agree, and the job's look would be believed for ever. So a look is kept until its directory is looked at
again, and told as a change if the two differ.
"""

from __future__ import annotations

import struct

from filewatchd.model import FileIdentity
from filewatchd.watch.backends.snapshot import CONTENT, WRAP, Snapshot
from filewatchd.watch.dirty import HINTS, IN_MODIFY

_MOST = 100_000  # looks kept; beyond it those of the directory go that waits longest: it is there no more


class Believed:
    """Looks by directory and name."""

    def __init__(self) -> None:
        self._looks: dict[str, dict[str, FileIdentity | None]] = {}
        self._count = 0

    def looked(self, path: str, identity: FileIdentity | None) -> None:
        """A job saw this at a path; None: nothing."""
        directory, _, name = path.rpartition("/")
        if self._count >= _MOST:
            self._count -= len(self._looks.pop(next(iter(self._looks))))
        looks = self._looks.setdefault(directory, {})
        self._count += name not in looks
        looks[name] = identity

    def differing(self, path: str, now: Snapshot) -> dict[str, int]:
        """The names in a directory that are not what was looked at since it was last asked for, with hints."""
        looks = self._looks.pop(path, None)
        if looks is None:
            return {}
        self._count -= len(looks)
        seen = now.files.by_name()
        differ = (name for name, identity in looks.items() if _mark(identity) != seen.get(name, b"")[:CONTENT])
        return dict.fromkeys(differ, HINTS[IN_MODIFY])


def _mark(identity: FileIdentity | None) -> bytes:
    return b"" if identity is None else struct.pack("=QQQ", identity.ino, identity.size, identity.mtime_ns & WRAP)
