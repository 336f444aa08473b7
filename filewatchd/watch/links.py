"""Symlinks below a root that ``follow_symlinks: files`` follows: which names their targets hang on.

A followed file changes when its target is written and when any link on the way is flipped, neither of which
need happen below the root. So every (directory, name) on its way is anchored, and marks it dirty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filewatchd.watch.locate import Hop, Place

_Key = tuple[int, str]


class Links:
    """Followed symlinks by the names they hang on."""

    def __init__(self, changed: Callable[[Any, str, float], None]) -> None:
        """``changed(root, path, now)``: the target, or the way to it, is not what it was."""
        self._changed = changed
        self._ways: dict[_Key, tuple[Any, str, tuple[Hop, ...]]] = {}
        self._hang_on: dict[tuple[str, str], set[_Key]] = {}
        self._asked: set[_Key] = set()

    def found(self, root: Any, path: str, follow: Callable[[Any, str], None]) -> None:
        """This name may be a symlink: find its way, once."""
        key = (id(root), path)
        if key not in self._asked and key not in self._ways:
            self._asked.add(key)
            follow(root, path)

    def located(self, root: Any, path: str, place: Place) -> tuple[Hop, ...]:
        """Its way was found: returns the hops to anchor (none if it is no symlink)."""
        key = (id(root), path)
        self._asked.discard(key)
        self._forget(key)
        inside = root.top
        if place.real is not None and inside is not None and place.real == f"{inside}/{path}":
            return ()  # a plain file
        self._ways[key] = (root, path, place.hops)
        for hop in place.hops:
            self._hang_on.setdefault((hop.directory, hop.name), set()).add(key)
        return place.hops

    def moved(self, directory: str, name: str, now: float) -> None:
        """Something happened to a name that links may hang on."""
        for key in list(self._hang_on.get((directory, name), ())):
            root, path, _ = self._ways[key]
            self._changed(root, path, now)

    def _forget(self, key: _Key) -> None:
        way = self._ways.pop(key, None)
        if way is not None:
            for hop in way[2]:
                keys = self._hang_on.get((hop.directory, hop.name))
                if keys is not None:
                    keys.discard(key)
                    if not keys:
                        del self._hang_on[hop.directory, hop.name]
