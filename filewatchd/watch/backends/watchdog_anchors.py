"""Names outside the trees that somebody wants to hear of, for watchdog: on the loop, but for `arming`."""

from __future__ import annotations

from collections import deque

from filewatchd.watch.backends.base import ANY

_REMEMBERED = 1024  # events near anchors that are kept for anchors still on their way


class Anchors:
    """Anchors by directory, and what lately happened where one may come to be.

    A directory is armed in a scan thread and its anchor told of later, on the loop. What happens in between is
    remembered; an anchor's token is when it was armed.
    """

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}
        self._arming: set[str] = set()  # directories where anchors are or may come to be
        self._remembered: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED)
        self._now = 1  # grows with what is remembered
        self._again: list[tuple[str, str]] = []  # anchors to tell of because of what is remembered

    def __len__(self) -> int:
        """In how many directories there are some."""
        return len(self._names)

    def __contains__(self, directory: str) -> bool:
        return directory in self._names

    def arming(self, directory: str) -> int:
        """From now on, remember what happens here. The token is when."""
        self._arming.add(directory)
        return self._now

    def add(self, token: int, directory: str, name: str) -> bool:
        """Want a name; True if something may have happened to it since the token was given (`again` tells)."""
        self._names.setdefault(directory, set()).add(name)
        kept = self._remembered[0][0] if len(self._remembered) == _REMEMBERED else 0
        sure = token >= kept and directory in self._arming
        missed = not sure or any(at > token and (d, n) == (directory, name) for at, d, n in self._remembered)
        if missed:
            self._again.append((directory, name))
        return missed

    def drop(self, directory: str) -> None:
        """Want no more names here."""
        self._names.pop(directory, None)
        self._arming.discard(directory)

    def again(self) -> list[tuple[str, str]]:
        """Those that something may have happened to before they were wanted; each once."""
        again, self._again = self._again, []
        return again

    def wanted(self, directory: str, name: str, moved: bool) -> bool:
        """Something happened to a name: True if it is an anchor."""
        if directory in self._arming:
            self._now += 1
            self._remembered.append((self._now, directory, name))
        names = self._names.get(directory, ())
        return name in names or ANY in names

    def names(self, directory: str) -> list[str]:
        """The names wanted in a directory."""
        return list(self._names.get(directory, ()))

    def below(self, directory: str) -> bool:
        """True if there are some in a directory or below it."""
        inside = directory.rstrip("/") + "/"
        return any(f"{place}/".startswith(inside) for place in self._names)
