"""Which directories polling knows, by (dev, ino): asked and added to in scan threads, so under a lock.

What a scan thread has armed waits here until the loop adopts it. It may never come (the walk found that another
directory stands there now), so it is forgotten after a while; whoever adopts it after all looks at it again.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import NamedTuple

from filewatchd.clock import Clock
from filewatchd.watch.backends.snapshot import Snapshot, take

_FORGOTTEN = 60.0  # seconds: a scan hands over what it armed within one
_OLD = 60_000_000_000  # nanoseconds: granularity, and how far a server's clock may be from ours


class AnchorArm(NamedTuple):
    """A directory armed for single names in it. ``asked``: monotonic seconds of the last time.

    ``stamps``: its mtime and ctime, if they were of old and the same each time.
    """

    token: int
    dev: int
    ino: int
    contents: bool
    asked: float
    stamps: tuple[int, int] | None


class Known:
    """Tokens of directories, and the snapshots that nobody has adopted yet."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` is asked in threads, too."""
        self._clock = clock
        self._monotonic = clock.monotonic
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._tokens: dict[int, dict[int, int]] = {}  # dev -> ino -> token
        self._waiting: dict[int, tuple[Snapshot, float]] = {}
        self._anchors: dict[tuple[int, int], AnchorArm] = {}
        self._anchored: dict[int, tuple[int, int]] = {}  # token -> key of the above

    def arm(self, fd: int) -> int:
        """The token of an open directory; takes its snapshot if it isn't known. Called in scan threads.

        Raises:
            OSError: it can't be listed.
        """
        info = os.fstat(fd)
        now = self._monotonic()
        token = self._again(info.st_dev, info.st_ino, now)
        if token:
            return token
        snapshot = take(fd, now)
        with self._lock:
            inodes = self._tokens.setdefault(snapshot.dev, {})
            token = inodes.get(snapshot.ino, 0)
            if not token:
                token = inodes[snapshot.ino] = next(self._numbers)
                self._waiting[token] = (snapshot, now)
            return token

    def _again(self, dev: int, ino: int, now: float) -> int:
        with self._lock:
            token = self._tokens.get(dev, {}).get(ino, 0)
            if token in self._waiting:
                self._waiting[token] = (self._waiting[token][0], now)
            return token

    def adopt(self, token: int) -> Snapshot | None:
        """Take over the snapshot of an armed directory; None if it was forgotten."""
        with self._lock:
            waiting = self._waiting.pop(token, None)
            return waiting[0] if waiting is not None else None

    def find(self, dev: int, ino: int) -> int:
        """A directory's token, 0 if it isn't known."""
        with self._lock:
            return self._tokens.get(dev, {}).get(ino, 0)

    def drop(self, token: int, snapshot: Snapshot) -> None:
        """Forget an adopted directory."""
        with self._lock:
            self._drop(token, snapshot)

    def _drop(self, token: int, snapshot: Snapshot) -> None:
        inodes = self._tokens.get(snapshot.dev, {})
        if inodes.get(snapshot.ino) == token:
            del inodes[snapshot.ino]
            if not inodes:
                del self._tokens[snapshot.dev]

    def arm_anchor(self, fd: int, *, contents: bool) -> int:
        """The anchor's token of an open directory. Called in scan threads."""
        info = os.fstat(fd)
        key = (info.st_dev, info.st_ino)
        stamps = self._old_stamps(info)
        with self._lock:
            old = self._anchors.get(key)
            if old is None:
                old = AnchorArm(next(self._numbers), *key, contents, 0.0, stamps)
                self._anchored[old.token] = key
            self._anchors[key] = old._replace(
                contents=contents or old.contents,
                asked=self._monotonic(),
                stamps=stamps if stamps == old.stamps else None,
            )
            return old.token

    def _old_stamps(self, info: os.stat_result) -> tuple[int, int] | None:
        """The stamps of a directory, unless they are so young that another change could get the same."""
        old = self._clock.wall_ns() - info.st_ctime_ns > _OLD
        return (info.st_mtime_ns, info.st_ctime_ns) if old else None

    def anchored(self, token: int) -> AnchorArm | None:
        """What an anchor token stands for; None if it was forgotten."""
        with self._lock:
            key = self._anchored.get(token)
            return self._anchors[key] if key is not None else None

    def tidy(self, anchors: set[int]) -> None:
        """Forget what nobody came for, and all anchors but these."""
        late = self._monotonic() - _FORGOTTEN
        with self._lock:
            for token in [token for token, (_, asked) in self._waiting.items() if asked < late]:
                self._drop(token, self._waiting.pop(token)[0])
            for key, anchor in list(self._anchors.items()):
                if anchor.asked < late and anchor.token not in anchors:
                    del self._anchors[key], self._anchored[anchor.token]
