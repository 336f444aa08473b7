"""A root's life: waiting, scanning, live, degraded, stalled; and what every subscriber must offer.

The states are a table: (state, what happened) -> state. A root follows a path, so it never ends by itself:
whatever takes its directory away sends it back to ``waiting``, and the path appearing again re-arms it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from filewatchd.model import Region, RootState
from filewatchd.rules.match import Selection
from filewatchd.rules.route import Route
from filewatchd.watch.filesystems import Ground
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
    AWAY = "a scan ended, and all that is known is on filesystems that aren't mounted"


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
    **{(state, _H.AWAY): _S.WAITING for state in _S},
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

    def feed(self, directories: Sequence[tuple[str, Sequence[Entry]]]) -> Any:
        """Compare some directories' selected files; what comes back goes to `Subscriber.compared`."""
        ...

    def skip(self, directory: str) -> None:
        """This directory is there, but can't be looked into."""
        ...

    def finish(self) -> Any:
        """The scan is over: what is known but wasn't seen."""
        ...


class Subscriber(Protocol):
    """A rule on a root. Paths are relative to the root; a file root's own path is ""."""

    unmounted: int  # known files that are on filesystems that weren't there at the last scan
    here: int  # selected files that it found

    @property
    def selection(self) -> Selection: ...
    def settle(self, regions: Sequence[Region]) -> None:
        """These filesystems are where the root's path leads, or in the nearest directory above that."""
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

    def other(self, directory: str, hint: int, now: float) -> None:
        """Something happened to a directory itself."""
        ...

    def found(self, directory: str, entries: Sequence[Entry], now: float) -> None:
        """A fresh directory holds these selected files."""
        ...

    def comparison(self, *, appeared: bool, lost: bool, came_ns: int) -> Comparison:
        """Begin a full scan. ``appeared``: the root was made while we looked, so that all in it is new.

        ``lost``: events of it were. ``came_ns``: when it was found after it had not been there (wall clock), else 0.
        """
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
        self.ground = Ground()
        self.stood = -1  # the mount table's number when that was last found to hold
        self.mounted_at: set[str] = set()  # relative; what stands there changes by mounts, too
        self.blind: dict[str, str] = {}  # mount point -> why changes below it can't be seen
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
        self.doubts = 0  # how often events of it were lost
        self.doubted_ns: int | None = None  # since when it is in doubt (wall clock)
        self.made_on: int | None = None  # a glob's new member: the device that it may have been made on
        self.appeared = False  # it was made while we looked
        self.came_ns = 0  # when it was found after it had not been there (wall clock); 0: it always was
        self.evaluating = False
        self.again = False  # something happened while it was being evaluated
        self.again_scan = False  # its directory was replaced, even if it looks the same

    def move(self, happening: Happening, why: str = "") -> bool:
        """Go to the next state; True if that is another one."""
        old = self.state
        self.state = TRANSITIONS.get((old, happening), old)
        self.why = why
        return self.state is not old

    def lost(self, now_ns: int) -> None:
        """Events of it were lost."""
        self.doubts += 1
        if self.doubted_ns is None:
            self.doubted_ns = now_ns

    def compared(self, doubts: int) -> None:
        """A comparison of all of it is over that began when events had been lost so often."""
        if self.doubts == doubts:
            self.doubted_ns = None

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

    def other(self, directory: str, hint: int, now: float) -> None:
        """Something happened to a directory itself."""
        for subscriber in self.subscribers:
            subscriber.other(directory, hint, now)

    @property
    def limited(self) -> bool:
        """True while a directory isn't watched for want of a watch."""
        return any(missing.limited for missing in self.failed.values())

    def settle(self, ground: Ground) -> None:
        """It stands on this ground."""
        if ground != self.ground:
            self.ground = ground
            self.stood = -1
        self.mounted_at.update(region.inside for region in ground.regions[1:])
        self.blind = {place: why for place, why in ground.blind.items() if self._has(place, place in ground.files)}
        for subscriber in self.subscribers:
            subscriber.settle(ground.regions)

    def _has(self, place: str, is_file: bool) -> bool:
        """Whether it covers a mount point."""
        if self.place is not None and place == self.place.real:
            return True
        above, _, name = place.rpartition("/")
        directory = self.relative(above or "/")
        if directory is None:
            return False
        if is_file:
            return bool(self.wants(directory, name))
        return self.recursive and self.file is None and not self.route.prunes(f"{directory}/{name}".lstrip("/"))

    @property
    def unmounted(self) -> str:
        """What is known and not there, in words."""
        number = max((s.unmounted for s in self.subscribers), default=0)
        files = "1 known file is" if number == 1 else f"{number} known files are"
        return f"unmounted: {files} on another filesystem" if number else ""

    @property
    def empty(self) -> bool:
        """True if the last scan found no file for anybody."""
        return not any(subscriber.here for subscriber in self.subscribers)

    # ---- as a scan sees it

    def descends(self, directory: str) -> bool:
        """True if a directory relative to the root is to be watched and listed."""
        if not self.recursive or self.file is not None or self.route.prunes(directory):
            return False
        aliases = self.ground.aliases
        return not aliases or not any(f"{directory}/".startswith(f"{alias}/") for alias in aliases)

    def goes_on(self, directory: str) -> bool:
        """`descends` for a directory in one that a walk is in already."""
        if directory in self.ground.aliases:
            return False
        return self.recursive and self.file is None and not self.route.prunes_next(directory)

    def wants(self, directory: str, name: str) -> list[Subscriber]:
        """The subscribers that select a file."""
        if self.file is not None:
            return self.subscribers if not directory and name == self.file else []
        return self.route.targets(directory, name)

    @property
    def sole(self) -> Subscriber | None:
        """The one subscriber of a directory whose symlinks aren't followed: with him alone a scan is quicker."""
        return self.subscribers[0] if len(self.subscribers) == 1 and self.file is None and not self.follow else None

    @property
    def quiet(self) -> bool:
        """Nobody wants to know of writes. A subscriber says so with an attribute ``quiet``; most have none."""
        return bool(self.subscribers) and all(getattr(subscriber, "quiet", False) for subscriber in self.subscribers)

    def follows(self) -> bool:
        """A file root's symlinks were followed on the way to it."""
        return self.follow

    def known_as(self, name: str) -> str:
        """A file root's own path is ""."""
        return "" if self.file is not None else name

    def statistics(self) -> dict[str, Any]:
        """What status shows of it."""
        missing = len(self.failed) + len(self.blind) + len(self.unled)
        return {
            "path": self.path,
            "state": self.state.value,
            "why": self.why,
            "missing": missing,
        }
