"""What was there before a root was built is the beginning, and no change.

A build takes files as they are: all of them the first time, after a change of patterns, or of types, those that the
former ones left out. What the former ones chose and nobody knows is new, and what waits for approval goes on waiting,
or another build would approve it. A job that comes before the build does is judged the same way, unless it says that
the file was made.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import NamedTuple

from filewatchd.actions.base import Ground
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.selecting import Selected, selected
from filewatchd.state.index.rows import Type, split

_SOME = 1000  # paths asked for at once


class Former(NamedTuple):
    """What a root was built by."""

    patterns: Selected
    types: frozenset[str]

    def has(self, path: str, kind: Type) -> bool:
        """Whether that was chosen."""
        directory, name = split(path)
        if kind is Type.DIRECTORY:
            return "directories" in self.types and not self.patterns.leaves_out(directory)
        return (kind is Type.FILE or "symlinks" in self.types) and self.patterns.has(directory, name)


class Beginning(NamedTuple):
    """What of a root was there before. ``former``: what it was built by; ``waits``: paths that are told of."""

    former: Former | None
    waits: frozenset[str]

    def has(self, path: str, kind: Type = Type.FILE) -> bool:
        """Whether a file that nobody knows, or what else has rows, is no change."""
        return path not in self.waits and (self.former is None or not self.former.has(path, kind))


def selection_of(ground: Ground, types: Collection[str]) -> str:
    """The patterns and types a root is walked by, as the index keeps them; that there are files goes without saying."""
    others = sorted({*types} - {"files"})
    return json.dumps([ground.include, ground.exclude, *([others] if others else [])])


def beginning(ledger: Ledger, ground: Ground, types: Collection[str]) -> Beginning | None:
    """As it is for what comes before a build is over; None if none is to come. In a pool thread."""
    built = ledger.selection()
    if built == selection_of(ground, types):
        return None
    return Beginning(None if built is None else former(built), frozenset(waiting(ledger)))


def former(selection: str) -> Former | None:
    """None if nobody can say any more which they were."""
    try:
        include, exclude, *others = json.loads(selection)
        return Former(selected(tuple(include), tuple(exclude)), frozenset(*others))
    except (ValueError, TypeError):
        return None


def waiting(ledger: Ledger) -> set[str]:
    """All paths that wait as new or moved there."""
    found: set[str] = set()
    after = ""
    while some := ledger.rowless(after, _SOME):
        found.update(some)
        after = some[-1]
    return found
