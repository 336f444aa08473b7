"""What happened to a path: what the rule last handled, compared with what is there now. Pure.

Events are hints and the disk is the truth: every way a path may become dirty ends here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from filewatchd.model import Change, FileIdentity, Hint, Kind, Look


class Before(NamedTuple):
    """What is known of a path before the look.

    ``row``: its identity in the manifest. ``racy``: that row could hide a later write.
    ``open``: it was attempted without an outcome, so it counts as present and different.
    ``away``: what is known of it is on another filesystem than its path leads to now.
    """

    row: FileIdentity | None
    racy: bool = False
    open: bool = False
    away: bool = False


class Resolved(NamedTuple):
    """One path's resolution; ``kind`` None means that there is nothing to do. ``record``: write the row anew anyway."""

    kind: Kind | None
    record: bool = False
    transient: bool = False  # came and went while nobody looked


NOTHING = Resolved(None)
_RECORD = Resolved(None, record=True)
_TRANSIENT = Resolved(None, transient=True)
_CREATED = Resolved(Kind.CREATED)
_MODIFIED = Resolved(Kind.MODIFIED)
_SEEN_ANEW = Hint.FORCED | Hint.MISSED  # whether it differs or not
_DELETED = Resolved(Kind.DELETED)
_METADATA = Resolved(Kind.METADATA)


def resolve(before: Before, look: Look, hint: int) -> Resolved:
    """Compare one path with its row: the table in docs/explanation/how-it-works.md."""
    now, row = look.identity, before.row
    if now is None:
        if row is not None or before.open:
            return NOTHING if before.away else _DELETED  # an unmounted filesystem deletes nothing
        return _TRANSIENT if hint & (Hint.LIVE | Hint.SCAN) else NOTHING
    if row is None:
        return _CREATED
    if before.open or hint & _SEEN_ANEW or row[:3] != now[:3]:
        return _MODIFIED
    if row.ctime_ns == now.ctime_ns:
        return _same(before, look, hint)
    if hint & (Hint.WRITE | Hint.STRICT):
        return _MODIFIED
    return _METADATA if hint & Hint.LIVE else _RECORD


def _same(before: Before, look: Look, hint: int) -> Resolved:
    if before.racy and hint & Hint.WRITE:
        return _MODIFIED
    return _RECORD if before.away or (before.racy and not look.racy) else NOTHING


class Found(NamedTuple):
    """A taken path with all that is known: input of `changes_of`. ``key`` is the caller's name for it."""

    key: Any
    path: str
    root: str
    before: Before
    look: Look
    resolved: Resolved
    hint: int = 0


class Told(NamedTuple):
    """A change and what it was made of. ``source``: the path that a moved one vanished from."""

    change: Change
    found: Found
    source: Found | None = None


Place = tuple[str, str]  # root and path: one rule's roots may overlap


def pair_moves(found: Sequence[Found]) -> Mapping[Place, Found]:
    """New place -> the vanished path it was moved from, within one batch.

    Inode alone proves nothing (ext4 reuses inodes at once): size and mtime must agree, and neither side may
    have an open row.
    """
    gone = {
        (f.root, f.before.row[:3]): f
        for f in found
        if f.resolved.kind is Kind.DELETED and f.before.row is not None and not f.before.open
    }
    pairs: dict[Place, Found] = {}
    if gone:
        for f in found:
            if f.resolved.kind is Kind.CREATED and not f.before.open and f.look.identity is not None:
                source = gone.pop((f.root, f.look.identity[:3]), None)
                if source is not None:
                    pairs[f.root, f.path] = source
    return pairs


def changes_of(found: Sequence[Found], *, moves: bool) -> list[Told]:
    """The changes of one batch in the order jobs get them: deletions deepest first, moves, the rest parents first.

    ``moves`` False: the rule doesn't want moves, so a rename is a deletion and a creation.
    """
    pairs = pair_moves(found) if moves else {}
    if not pairs:
        return _ordered([_told(f, kind) for f in found if (kind := f.resolved.kind) is not None])
    sources = {(source.root, source.path) for source in pairs.values()}
    told: list[Told] = []
    for f in found:
        kind = f.resolved.kind
        if kind is None or (f.root, f.path) in sources:
            continue
        source = pairs.get((f.root, f.path))
        if source is not None:
            told.append(Told(Change(Kind.MOVED, f.path, f.root, f.look.identity, source.path), f, source))
        else:
            told.append(_told(f, kind))
    return _ordered(told)


def _told(f: Found, kind: Kind) -> Told:
    return Told(Change(kind, f.path, f.root, f.look.identity), f)


def _ordered(told: list[Told]) -> list[Told]:
    """Deletions first (deepest first), then moves, then the rest (parents first)."""
    told.sort(key=_place)
    return told


def _place(told: Told) -> tuple[int, int, str]:
    kind, path = told.change.kind, told.change.path
    if kind is Kind.DELETED:
        return 0, -path.count("/"), path
    if kind is Kind.MOVED:
        return 1, 0, ""  # as they were found
    return 2, path.count("/"), path
