"""Which directory a watch number stands for, in a few bytes a directory.

Watch numbers only grow (the kernel never gives one out twice before it wraps), so the table is paged and a
page goes when its last watch does. A directory knows its parent's watch and its own name: renaming a
directory renames all beneath it, without touching them. 52,000 directories cost about 4 MB so, 19 MB as dicts.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator

_BITS = 10
_SIZE = 1 << _BITS
_MASK = _SIZE - 1
_NONE = -1
_TOP = 0
_CACHE = 4096
_MOST_ASKED = 50_000  # watches looked at for some to give back
_DEEPEST = 4096  # a chain longer than this is a cycle, which only a bug could make


class _Page:
    __slots__ = ("names", "parents", "used")

    def __init__(self) -> None:
        self.parents = array("i", [_NONE]) * _SIZE
        self.names: list[bytes | None] = [None] * _SIZE
        self.used = 0


class WatchTable:
    """Watch number -> (parent's watch, name); a top's parent is 0 and its name an absolute path."""

    def __init__(self) -> None:
        self._pages: dict[int, _Page] = {}
        self._paths: dict[int, str] = {}  # a cache, emptied when a directory moves
        self._version = 0  # grows with every change
        self._counted: tuple[object, dict[str, int]] = (None, {})  # what the last census was asked, and told
        self.count = 0

    def __contains__(self, watch: int) -> bool:
        page = self._pages.get(watch >> _BITS)
        return page is not None and page.parents[watch & _MASK] != _NONE

    def __iter__(self) -> Iterator[int]:
        for number in list(self._pages):
            page = self._pages.get(number)
            if page is not None:
                yield from ((number << _BITS) + i for i, parent in enumerate(page.parents) if parent != _NONE)

    def put(self, watch: int, parent: int, name: bytes) -> None:
        """Enter a directory, or move it."""
        page = self._pages.get(watch >> _BITS)
        if page is None:
            page = self._pages[watch >> _BITS] = _Page()
        slot = watch & _MASK
        if page.parents[slot] == _NONE:
            page.used += 1
            self.count += 1
        elif (page.parents[slot], page.names[slot]) != (parent, name):
            self._paths.clear()
        else:
            return
        self._version += 1
        page.parents[slot] = parent
        page.names[slot] = name

    def drop(self, watch: int) -> None:
        """Forget a watch; unknown ones don't matter."""
        page = self._pages.get(watch >> _BITS)
        if page is None or page.parents[watch & _MASK] == _NONE:
            return
        page.parents[watch & _MASK] = _NONE
        page.names[watch & _MASK] = None
        self._version += 1
        page.used -= 1
        self.count -= 1
        self._paths.pop(watch, None)
        if not page.used:
            del self._pages[watch >> _BITS]

    def entry(self, watch: int) -> tuple[int, bytes] | None:
        """(parent's watch, name), or None if unknown."""
        page = self._pages.get(watch >> _BITS)
        if page is None:
            return None
        name = page.names[watch & _MASK]
        return None if name is None else (page.parents[watch & _MASK], name)

    def path(self, watch: int) -> str | None:
        """The directory's absolute path; None if the watch, or one above it, is unknown."""
        known = self._paths.get(watch)
        if known is not None:
            return known
        parts: list[bytes] = []
        at = watch
        while at != _TOP:
            entry = self.entry(at)
            if entry is None or len(parts) > _DEEPEST:
                return None
            parts.append(entry[1])
            at = entry[0]
        path = b"/".join(reversed(parts)).replace(b"//", b"/").decode("utf-8", "surrogateescape")
        if len(self._paths) >= _CACHE:
            self._paths.clear()
        self._paths[watch] = path
        return path

    def children_of(self, wanted: set[tuple[int, bytes]]) -> list[int]:
        """The watches with these (parent, name) pairs: one pass over the table."""
        parents = {parent for parent, _ in wanted}
        found = []
        for number, page in self._pages.items():
            for slot, parent in enumerate(page.parents):
                if parent in parents and (parent, page.names[slot]) in wanted:
                    found.append((number << _BITS) + slot)
        return found

    def census(self, tops: Collection[str]) -> dict[str, int]:
        """How many directories are at and below each of these: one pass over the table, if it has changed."""
        asked = (self._version, frozenset(tops))
        if self._counted[0] != asked:
            self._counted = (asked, self._count(asked[1]))
        return dict(self._counted[1])

    def _count(self, tops: frozenset[str]) -> dict[str, int]:
        chosen = self._watches_of(tops)
        direct = dict.fromkeys((_TOP, *chosen), 0)
        nearest: dict[int, int] = {_TOP: _TOP}  # directory -> the chosen one it is in
        for number, page in self._pages.items():
            for watch, parent in enumerate(page.parents, number << _BITS):
                if parent != _NONE:
                    at = nearest.get(parent) if watch not in chosen else None
                    if at is None:
                        at = self._nearest(watch, chosen, nearest)
                    else:
                        nearest[watch] = at
                    direct[at] += 1
        held = dict.fromkeys(tops, 0)
        for watch in chosen:
            at = watch
            while at != _TOP:
                held[chosen[at]] += direct[watch]
                at = self._nearest((self.entry(at) or (_TOP,))[0], chosen, nearest)
        return held

    def _watches_of(self, paths: frozenset[str]) -> dict[int, str]:
        """The watches of these paths."""
        names = {os.fsencode(os.path.basename(path)) for path in paths}
        found: dict[int, str] = {}
        for number, page in self._pages.items():
            for slot, name in enumerate(page.names):
                if name is not None and (not page.parents[slot] or name in names):
                    path = self.path((number << _BITS) + slot)
                    if path is not None and path in paths:
                        found[(number << _BITS) + slot] = path
        return found

    def _nearest(self, watch: int, chosen: Container[int], known: dict[int, int]) -> int:
        """The directory itself or the nearest above it that is chosen; 0 if there is none."""
        chain: list[int] = []
        at = watch
        while at not in known and at not in chosen and len(chain) < _DEEPEST:
            chain.append(at)
            at = (self.entry(at) or (_TOP,))[0]
        found = at if at in chosen else known.get(at, _TOP)
        known.update(dict.fromkeys(chain, found))
        return found

    def latest(self, number: int, may: Callable[[int], bool]) -> list[int]:
        """Up to so many watches that ``may`` says yes to, the latest first; of none one that stays is below."""
        below: Counter[int] = Counter((self.entry(watch) or (_TOP,))[0] for watch in self)
        found: list[int] = []
        for watch in sorted(self, reverse=True)[:_MOST_ASKED]:
            if len(found) == number:
                break
            if not below[watch] and may(watch):
                found.append(watch)
                below[(self.entry(watch) or (_TOP,))[0]] -= 1
        return found

    def orphans(self, doomed: set[int]) -> list[int]:
        """The watches that stay while their parent goes."""
        return [watch for watch in self if watch not in doomed and (self.entry(watch) or (0,))[0] in doomed]

    def beneath(self, tops: set[int]) -> list[int]:
        """These watches and all below them: one pass over the table."""
        inside: dict[int, bool] = {_TOP: False, **dict.fromkeys(tops, True)}
        for watch in self:
            chain = []
            at = watch
            while at not in inside:
                chain.append(at)
                entry = self.entry(at)
                at = entry[0] if entry is not None and len(chain) < _DEEPEST else _TOP
            for passed in chain:
                inside[passed] = inside[at]
        return [watch for watch, is_in in inside.items() if is_in and watch in self]
