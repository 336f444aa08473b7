"""Files that are looked at once more: racy rows once the clock has moved, and files that changed while they were read.

A file that changes whenever it is read is looked at again after each of `_AGAIN`; what is seen then is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from filewatchd.actions.base import Context
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.paths import path_of
from filewatchd.actions.checksum.seeing import Presence, Seen

RACY = 2.5  # seconds until a racy row is read again: the coarsest clock there is has moved by then
_AGAIN = (1.0, 5.0, 20.0)  # seconds until a file is looked at again that changed while it was read


class Again:
    """What of a rule is to be looked at again, and when. ``repeat`` gets paths by root when they are due."""

    def __init__(self, ctx: Context, repeat: Callable[[Mapping[str, Sequence[str]]], None]) -> None:
        self._ctx = ctx
        self._repeat = repeat
        self._again: dict[tuple[str, str], int] = {}  # (root, path) -> times it was unstable
        self._due: dict[tuple[str, str], float] = {}  # to be looked at, at that time (monotonic)

    def __len__(self) -> int:
        """How many files were unstable."""
        return len(self._again)

    def wait_for(self, ledger: Ledger, seen: Seen) -> bool:
        """Whether a look is to be repeated rather than believed; it is then."""
        key = (ledger.root, path_of(seen))
        if seen.presence is not Presence.UNSTABLE:
            self._again.pop(key, None)
            return False
        times = self._again.get(key, 0)
        if times >= len(_AGAIN):
            return False
        self._again[key] = times + 1
        self.later([key], _AGAIN[times])
        return True

    def later(self, keys: Iterable[tuple[str, str]], seconds: float) -> None:
        """Look at these so many seconds from now."""
        when = self._ctx.clock.monotonic() + seconds
        for key in keys:
            self._due[key] = min(when, self._due.get(key, when))
        self._wait()

    def _wait(self) -> None:
        if self._due:
            seconds = max(0.0, min(self._due.values()) - self._ctx.clock.monotonic())
            self._ctx.timers.at("again", self._ctx.clock.wall_ns() / 1e9 + seconds, self._look_again)

    def _look_again(self) -> None:
        now = self._ctx.clock.monotonic() + 0.05  # the timer goes by another clock
        due = [key for key, when in self._due.items() if when <= now]
        by_root: dict[str, list[str]] = {}
        for root, path in due:
            del self._due[root, path]
            by_root.setdefault(root, []).append(path)
        self._wait()
        if by_root:
            self._repeat(by_root)
