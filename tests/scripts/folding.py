"""What a series of changes amounts to, so that timing can't matter. Pure.

How many changes a job is told of depends on when the daemon looked: a file written twice is `created` and
`modified`, or `created` alone. What they amount to doesn't. So the changes are carried out on paper, and the result is
compared with the start by the table of docs/explanation/how-it-works.md, as if somebody had looked just twice:

    was      is                                          told
    absent   present, from a name that is gone           moved (whether its metadata changed, too, or not)
    absent   present, else                               created
    present  other content                               modified
    present  the same content, other metadata            metadata
    present  the same, or back from another name         nothing
    present  absent, and not moved                       deleted
    absent   absent                                      nothing

So created + modified = created, modified + modified = modified, deleted + created = modified, created + deleted =
nothing, moved a->b + moved b->c = moved a->c, and moved a->b + modified b = deleted a, created b: nobody who looks
twice could tell that it was the same file once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

KINDS: Final = frozenset({"created", "modified", "deleted", "moved", "metadata"})


class Told(NamedTuple):
    """A change; ``old`` is where a moved file was."""

    kind: str
    path: str
    old: str | None = None

    def __str__(self) -> str:
        places = [self.path] if self.old is None else [self.old, "->", self.path]
        return " ".join([self.kind, *(place if place.isprintable() else ascii(place) for place in places)])


class _Content(NamedTuple):
    """``origin``: the path that had it at the start; None: it is new."""

    origin: str | None
    touched: bool = False


_NEW: Final = _Content(None)


def fold(changes: Iterable[Told]) -> set[Told]:
    """What the changes, in their order, amount to."""
    was: dict[str, bool] = {}
    now: dict[str, _Content | None] = {}

    def stood(path: str, before: bool) -> None:
        if path not in was:
            was[path] = before
            now[path] = _Content(path) if before else None

    for kind, path, old in changes:
        if old is not None:
            stood(old, True)
            content, now[old] = now[old] or _NEW, None
            stood(path, False)
            now[path] = content
            continue
        stood(path, kind != "created")
        if kind == "deleted":
            now[path] = None
        elif kind == "metadata":
            now[path] = (now[path] or _NEW)._replace(touched=True)
        else:
            now[path] = _NEW
    return _compared(was, now)


def _compared(was: dict[str, bool], now: dict[str, _Content | None]) -> set[Told]:
    moves = {
        content.origin: path
        for path, content in now.items()
        if content is not None and content.origin is not None and not was[path] and now[content.origin] is None
    }
    found = {Told("moved", path, old) for old, path in moves.items()}
    for path, content in now.items():
        if content is None:
            if was[path] and path not in moves:
                found.add(Told("deleted", path))
        elif not was[path]:
            if moves.get(content.origin or "") != path:
                found.add(Told("created", path))
        elif content.origin != path:
            found.add(Told("modified", path))
        elif content.touched:
            found.add(Told("metadata", path))
    return found


def unpaired(changes: Iterable[Told]) -> set[Told]:
    """The same with each move as what it is to whoever sees its two sides apart: a deletion and a creation."""
    found = set()
    for change in changes:
        if change.old is None:
            found.add(change)
        else:
            found |= {Told("deleted", change.old), Told("created", change.path)}
    return found
