"""A root's life: waiting, scanning, live, degraded, stalled; and what every subscriber must offer.

The states are a table: (state, what happened) -> state. A root follows a path, so it never ends by itself:
whatever takes its directory away sends it back to ``waiting``, and the path appearing again re-arms it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from filewatchd.model import RootState
from filewatchd.rules.match import Selection
from filewatchd.rules.route import Route
from filewatchd.watch.locate import Place
from filewatchd.watch.scan import Entry


class Happening(Enum):
    """What moves a root from state to state."""

    FOUND = "its path leads to something"
    LOST = "its path leads nowhere"
    COVERED = "a scan ended and every directory is watched"
    GAPS = "a scan ended and some directories are not watched"
    HANGS = "its filesystem doesn't answer"
    ANSWERS = "its filesystem answers again"
    DOUBT = "events were lost"


_S, _H = RootState, Happening
TRANSITIONS: dict[tuple[RootState, Happening], RootState] = {
    (_S.WAITING, _H.FOUND): _S.SCANNING,
    (_S.SCANNING, _H.FOUND): _S.SCANNING,
    (_S.LIVE, _H.FOUND): _S.SCANNING,
    (_S.DEGRADED, _H.FOUND): _S.SCANNING,
    (_S.STALLED, _H.FOUND): _S.SCANNING,
    **{(state, _H.LOST): _S.WAITING for state in _S},
    **{(state, _H.COVERED): _S.LIVE for state in _S},
    **{(state, _H.GAPS): _S.DEGRADED for state in _S},
    **{(state, _H.HANGS): _S.STALLED for state in _S},
    (_S.STALLED, _H.ANSWERS): _S.SCANNING,
    (_S.SCANNING, _H.ANSWERS): _S.SCANNING,
    (_S.LIVE, _H.DOUBT): _S.SCANNING,
    (_S.DEGRADED, _H.DOUBT): _S.SCANNING,
}


class Comparison(Protocol):
    """Compares a full scan with what a subscriber knows; lives in the scan thread.

    ``every``: it must be fed directories without selected files, too.
    """

    every: bool

    def feed(self, directory: str, entries: Sequence[Entry]) -> Any:
        """Compare one directory's selected files; what comes back goes to `Subscriber.compared`."""
        ...

    def skip(self, directory: str) -> None:
        """This directory is there, but can't be looked into."""
        ...

    def finish(self) -> Any:
        """The scan is over: what is known but wasn't seen."""
        ...


class Subscriber(Protocol):
    """A rule on a root. Paths are relative to the root; a file root's own path is ""."""

    home: int | None  # device of the filesystem that its known files are on

    @property
    def selection(self) -> Selection: ...
    def knows(self) -> bool:
        """Whether it knows of any file here."""
        ...

    def mark(self, path: str, hint: int, now: float) -> None:
        """A live event on a selected path."""
        ...

    def pair(self, old: str, new: str) -> None:
        """Two marked paths are the sides of one rename."""
        ...

    def beneath(self, directory: str, now: float) -> None:
        """Everything known beneath a directory ("" is the root) is in doubt."""
        ...

    def found(self, directory: str, entries: Sequence[Entry], now: float) -> None:
        """A fresh directory holds these selected files."""
        ...

    def comparison(self, *, appeared: bool) -> Comparison:
        """Begin a full scan. ``appeared``: the root was made while we looked, so that all in it is new."""
        ...

    def compared(self, result: Any, now: float) -> None: ...
    def scan_ended(self, *, whole: bool, now: float) -> None:
        """The full scan is over; ``whole``: nothing was left out."""
        ...


class RootKey(NamedTuple):
    """What makes two rules share a root. ``path``: absolute, without wildcards, as the user named it."""

    path: str
    recursive: bool = True
    follow: bool = False


class Missing(NamedTuple):
    """Why a directory isn't watched. ``parent``: the backend's token of the one it is in, 0 for a top.

    ``limited``: only because no watch was left.
    """

    why: str
    parent: int
    limited: bool


class Root:
    """A path some rules watch. Changed only on the loop; `Scope`'s methods also read it in scan threads."""

    def __init__(self, key: RootKey) -> None:
        self.key = key
        self.path, self.recursive, self.follow = key
        self.state = RootState.WAITING
        self.why = "not looked at yet"
        self.place: Place | None = None
        self.top: str | None = None  # the real directory watched for it
        self.file: str | None = None  # a file root's name in `top`
        self.subscribers: list[Subscriber] = []
        self.route: Route[Subscriber] = Route(())
        self.failed: dict[str, Missing] = {}  # directories that aren't watched; none stands below another
        self.unled: set[str] = (
            set()
        )  # ways that aren't watched whole: "" is the way to it, else that of a symlink in it
        self.scans = 0  # full scans under way
        self.links_sought = 0  # followed symlinks whose way is being looked for
        self.scanned_once = False
        self.made_on: int | None = None  # a glob's new member: the device that it may have been made on
        self.appeared = False  # it was made while we looked
        self.evaluating = False
        self.again = False  # something happened while it was being evaluated
        self.again_scan = False  # its directory was replaced, even if it looks the same

    def move(self, happening: Happening, why: str = "") -> bool:
        """Go to the next state; True if that is another one."""
        old = self.state
        self.state = TRANSITIONS.get((old, happening), old)
        self.why = why
        return self.state is not old

    def subscribe(self, subscribers: list[Subscriber]) -> None:
        """Set who is told."""
        self.subscribers = subscribers
        self.route = Route((s.selection, s) for s in subscribers)

    def relative(self, directory: str) -> str | None:
        """A real directory relative to the root's top; None if it is outside, or beyond what the root covers."""
        if self.top is None:
            return None
        if directory == self.top:
            return ""
        prefix = self.top if self.top == "/" else self.top + "/"
        if self.file is not None or not self.recursive or not directory.startswith(prefix):
            return None
        return directory[len(prefix) :]

    def doubt(self, directory: str, now: float) -> None:
        """Everything known beneath a directory ("" is the root) is in doubt."""
        for subscriber in self.subscribers:
            subscriber.beneath(directory, now)

    @property
    def limited(self) -> bool:
        """True while a directory isn't watched for want of a watch."""
        return any(missing.limited for missing in self.failed.values())

    def settle(self, device: int) -> None:
        """It was found on this filesystem: that is the home of who has none, or knows of no file elsewhere."""
        for subscriber in self.subscribers:
            if subscriber.home != device and (subscriber.home is None or not subscriber.knows()):
                subscriber.home = device

    @property
    def unmounted(self) -> bool:
        """True while its path is on another filesystem than the files that are known of it."""
        return self.place is not None and any(s.home not in (None, self.place.device) for s in self.subscribers)

    # ---- as a scan sees it

    def descends(self, directory: str) -> bool:
        """True if a directory relative to the root is to be watched and listed."""
        return self.recursive and self.file is None and not self.route.prunes(directory)

    def goes_on(self, directory: str) -> bool:
        """`descends` for a directory in one that a walk is in already."""
        return self.recursive and self.file is None and not self.route.prunes_next(directory)

    def wants(self, directory: str, name: str) -> list[Subscriber]:
        """The subscribers that select a file."""
        if self.file is not None:
            return self.subscribers if not directory and name == self.file else []
        return self.route.targets(directory, name)

    def follows(self) -> bool:
        """A file root's symlinks were followed on the way to it."""
        return self.follow

    def known_as(self, name: str) -> str:
        """A file root's own path is ""."""
        return "" if self.file is not None else name

    def statistics(self) -> dict[str, Any]:
        """What status shows of it."""
        return {
            "path": self.path,
            "state": self.state.value,
            "why": self.why,
            "missing": len(self.failed) + len(self.unled),
        }
