"""What a backend is: it covers directories and says what became dirty.

The walk over a tree (`watch.scan`) is the same for every backend: it opens a directory through its parent's
descriptor, lets the backend `arm` it, and only then lists it, so nothing falls between. A backend that needs
no watch per directory arms nothing. All that a backend learns comes out of `drain` as `Event`s that name real
directories; what they mean for roots and rules is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from filewatchd.model import FileIdentity

ANY = "*"  # as an anchor's name: every name in the directory


class DirtyNames(NamedTuple):
    """Names in a directory to which something happened: name -> hint (`model.Hint` as int)."""

    directory: str
    names: Mapping[str, int]


class Renamed(NamedTuple):
    """A file's rename, both sides known: (directory, name) twice."""

    old: tuple[str, str]
    new: tuple[str, str]


class NewDirectory(NamedTuple):
    """A directory came to be at, or was moved to, this place; ``fresh`` False: only its attributes changed.

    ``parent`` is the backend's token of the directory it is in. ``source``: the (directory, name) it was renamed from.
    """

    parent: int
    directory: str
    name: str
    fresh: bool = True
    source: tuple[str, str] | None = None


class GoneDirectory(NamedTuple):
    """A directory vanished from, or was moved away from, this place.

    ``renamed``: the `NewDirectory` of its new place, with the old one as ``source``, comes in the same drain.
    """

    directory: str
    name: str
    moved: bool = False
    renamed: bool = False


class TopGone(NamedTuple):
    """A directory itself, not a name in it, was deleted (a top) or unmounted (any): its roots are looked at anew."""

    path: str


class AnchorMoved(NamedTuple):
    """An anchored name came or went; ``moved`` False: only its content or attributes changed."""

    directory: str
    name: str
    moved: bool


class Lost(NamedTuple):
    """The kernel dropped events: everything this backend covers is in doubt."""


Event = DirtyNames | Renamed | NewDirectory | GoneDirectory | TopGone | AnchorMoved | Lost


class Armed(NamedTuple):
    """A directory armed in a scan thread, to be adopted on the loop in the order of arming."""

    token: int
    parent: int  # 0: a top, whose name is an absolute path
    name: bytes


class Given(NamedTuple):
    """A directory whose watch was given back. ``parent``: the token of the one it is in."""

    path: str
    parent: int


class WatchLimitError(OSError):
    """The budget of watches is used up."""


class Keeper(Protocol):
    """Who keeps descriptors over the end of this process and hands them to the next one, as a service manager does."""

    def take(self, name: str) -> int | None:
        """The descriptor that an earlier process left under this name, if there is one; the caller's from now on."""
        ...

    def keep(self, name: str, fd: int) -> None:
        """Leave this descriptor to the next process; nothing happens where nobody keeps any."""
        ...


class Forgetful:
    """A keeper that keeps nothing."""

    def take(self, name: str) -> int | None:
        """Nothing was left."""

    def keep(self, name: str, fd: int) -> None:
        """It ends with this process."""


class Backend(Protocol):
    """One way to learn of changes. Methods are called on the loop unless they say otherwise.

    ``limits``: what it can't do, a sentence each, for status and the reference.
    """

    name: str
    limits: Sequence[str]

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; ``wake`` is called, from any thread, when `drain` has something."""
        ...

    def stop(self) -> None: ...

    def arm(self, fd: int) -> int:
        """Watch an open directory; returns its token (0: none needed). Called in scan threads.

        Raises:
            WatchLimitError: no watch is left.
            OSError: the directory can't be watched.
        """
        ...

    def proves(self, fd: int, token: int) -> bool:
        """True if this open directory is the armed one with this token. Called in scan threads."""
        ...

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """Watch an open directory for single names: that they come and go, or also what is written to them.

        Called in scan threads.
        """
        ...

    def adopt(self, armed: list[Armed]) -> None:
        """Take over what a scan thread armed."""
        ...

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Take over an anchor, and tell of this name in it."""
        ...

    def unanchor(self, directory: str) -> None:
        """Tell no more of names in this directory."""
        ...

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """Stop watching every directory whose path ``unwanted`` says yes to."""
        ...

    def suspects(self) -> Mapping[int, str]:
        """Token -> path of directories that moved away and were not found again; asked a moment after they moved."""
        ...

    def still_there(self, token: int, path: str) -> bool:
        """True if this directory is what stands at the path. Called in scan threads."""
        ...

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Stop watching the suspects that are gone, unless they were armed again since they were asked for."""
        ...

    def drain(self) -> list[Event]:
        """Everything learned since the last call."""
        ...

    async def barrier(self) -> None:
        """Return when `drain` has all that happened before: what a system call changed that had returned by then."""
        ...

    def statistics(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Retaining(Protocol):
    """What a backend can do besides if it may have taken over the descriptor of an earlier process, with its watches.

    ``gone_names``: names that came, in directories that were gone before this process could learn where they were.
    """

    gone_names: int

    def give_up(self) -> int:
        """Give back the watches that were taken over and that nobody has asked for since; returns how many."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """What a backend can do besides if it compares what it sees with what it saw before, and not with what jobs saw."""

    def looked(self, path: str, identity: FileIdentity | None) -> None:
        """A job saw this at a path (None: no file); if that isn't what the backend sees next, it tells of the path."""
        ...


@runtime_checkable
class Quieting(Protocol):
    """What a backend can do besides if it can leave out what is written to files, at no cost a write."""

    def arm_quietly(self, fd: int) -> int:
        """As `Backend.arm`; of writes is told only what somebody else wants. Called in scan threads."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """What a backend can do besides if it holds one watch a directory: then one root can make room for another.

    ``ended``: watches that have ended since the start but for those that `disarm` and `give_back` took.
    """

    ended: int

    def census(self, tops: Collection[str]) -> Mapping[str, int]:
        """How many directories are watched at and below each of these."""
        ...

    def give_back(self, number: int, may: Callable[[str], bool]) -> list[Given]:
        """Stop watching up to so many directories that ``may`` says yes to: the latest that hold no watched one.

        Whatever happened in them before is told by the next drain; they are not told to be gone.
        """
        ...

    def disarm(self, token: int) -> None:
        """Give a watch back that was armed just to see whether it can be had, unless it is in use."""
        ...
