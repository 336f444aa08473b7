"""Which rules want a file: an index over all rules on one root, so that a thousand cost little more than ten.

Most include patterns name an ending (``*.csv``) or a whole name. Rules are filed under those; only the rules
of a file's own ending, and those with patterns that can't be filed, are asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from filewatchd.rules.match import Selection

T = TypeVar("T")
_Lane = tuple[Selection, T]


def _ending(name: str) -> str | None:
    """What a name or a pattern's literal suffix is filed under: its text after the last dot."""
    _, dot, tail = name.rpartition(".")
    return tail if dot else None


class Route(Generic[T]):
    """The subscribers of one root, by what their patterns ask for."""

    def __init__(self, subscribers: Iterable[tuple[Selection, T]]) -> None:
        self._any: list[_Lane[T]] = []
        self._by_ending: dict[str, list[_Lane[T]]] = {}
        self._by_name: dict[str, list[_Lane[T]]] = {}
        self._selections: list[Selection] = []
        for selection, target in subscribers:
            self._add(selection, target)

    def _add(self, selection: Selection, target: T) -> None:
        lane = (selection, target)
        self._selections.append(selection)
        endings = {_ending(suffix) for suffix in selection.suffixes}
        if not (selection.suffixes or selection.names) or None in endings:
            self._any.append(lane)
            return
        for ending in endings:
            self._by_ending.setdefault(ending or "", []).append(lane)
        for name in selection.names:
            if _ending(name) not in endings:
                self._by_name.setdefault(name, []).append(lane)

    def targets(self, directory: str, name: str) -> list[T]:
        """Everyone who wants this file; ``directory`` is relative to the root."""
        found = [target for selection, target in self._any if selection.selects(directory, name)]
        if self._by_ending:
            ending = _ending(name)
            if ending is not None:
                lanes = self._by_ending.get(ending)
                if lanes:
                    found += [target for selection, target in lanes if selection.selects(directory, name)]
        if self._by_name:
            lanes = self._by_name.get(name)
            if lanes:
                found += [target for selection, target in lanes if selection.selects(directory, name)]
        return found

    def prunes_next(self, directory: str) -> bool:
        """`prunes` for a directory whose parent is known not to be out."""
        if len(self._selections) == 1:
            return self._selections[0].prunes_next(directory)
        return self.prunes(directory)

    def prunes(self, directory: str) -> bool:
        """True if no subscriber wants anything below this directory."""
        for selection in self._selections:  # noqa: SIM110 - a generator costs twice, once for every directory of a tree
            if not selection.prunes(directory):
                return False
        return True
