"""Verdicts: what is known of a path, what is there now, and so what became of it. Pure, and a table.

`facts` reduces a row and a look to a few words, `LINES` says what they mean: the first line that fits decides. What is
done about a verdict (`state_of`) is a table as well. docs/explanation/integrity.md tells the same to people.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from filewatchd.actions.checksum.seeing import Presence, Seen
from filewatchd.state.index.rows import (
    DIRECTORY,
    NO_ATTRIBUTES,
    OTHER,
    RACY,
    SYMLINK,
    WAITING,
    Attributes,
    Record,
    State,
    Verdict,
    stamp,
)

_TYPES = {stat.S_IFLNK: SYMLINK, stat.S_IFDIR: DIRECTORY}


class Content(StrEnum):
    """How the content that was read compares with the row's."""

    SAME = "same"
    OTHER = "other"
    GROWN = "grown"  # it begins with what the row has
    UNREAD = "unread"  # not tracked, or no reason to read it


class Track(NamedTuple):
    """What a rule compares."""

    algorithm: str = "sha256"
    content: bool = True
    mode: bool = True
    owner: bool = True
    links: bool = True
    xattr: bool = True
    acl: bool = True
    growing: bool = False


class Facts(NamedTuple):
    """All that decides. ``times``: mtime and ctime are the row's; ``written``: how the mtime compares, -1 older."""

    known: bool
    presence: Presence
    content: Content = Content.UNREAD
    times: bool = True
    written: int = 0
    sized: bool = True
    racy: bool = False
    attributes: bool = True
    moved: bool = False
    growing: bool = False
    former: bool = False  # it is what the path held before
    typed: bool = True  # a file is a file still, and a symlink a symlink


class Line(NamedTuple):
    """If the facts have these values, this is the verdict."""

    when: Mapping[str, object]
    verdict: Verdict


_HERE, _OTHER, _SAME = Presence.HERE, Content.OTHER, Content.SAME
LINES: tuple[Line, ...] = (
    Line({"presence": Presence.ABSENT, "known": True}, Verdict.DELETED),
    Line({"presence": Presence.ABSENT}, Verdict.SAME),
    Line({"presence": Presence.UNREADABLE}, Verdict.UNREADABLE),
    Line({"presence": Presence.UNSTABLE}, Verdict.UNSTABLE),
    Line({"known": False}, Verdict.NEW),
    Line({"typed": False}, Verdict.MODIFIED),
    # Whoever writes moves the mtime, whoever sets it back moves the ctime: this was nobody, or the disk's own doing.
    Line({"content": _OTHER, "times": True, "racy": False}, Verdict.CORRUPT),
    Line({"growing": True, "content": Content.GROWN}, Verdict.GROWN),
    Line({"growing": True, "content": _OTHER}, Verdict.REWRITTEN),
    Line({"content": _OTHER, "former": True}, Verdict.OLDER),
    Line({"content": _OTHER, "written": -1}, Verdict.OLDER),
    Line({"content": _OTHER}, Verdict.MODIFIED),
    Line({"content": Content.GROWN}, Verdict.MODIFIED),
    Line({"content": Content.UNREAD, "sized": False}, Verdict.MODIFIED),
    Line({"moved": True}, Verdict.MOVED),
    Line({"attributes": False}, Verdict.METADATA),
    Line({"written": 1}, Verdict.TOUCHED),
    Line({"written": -1}, Verdict.TOUCHED),
    Line({}, Verdict.SAME),
)


@lru_cache(maxsize=1024)  # few combinations come up, and each for many files
def verdict_of(found: Facts) -> Verdict:
    """The verdict of the first line that fits."""
    return next(
        line.verdict for line in LINES if all(getattr(found, name) == value for name, value in line.when.items())
    )


class Judgement(NamedTuple):
    """A verdict, and the record of what is there now; None where there is nothing, or nothing that can be trusted."""

    verdict: Verdict
    record: Record | None


def judge(
    row: Record | None,
    seen: Seen,
    algorithms: tuple[str, ...],
    track: Track,
    now: int,
    *,
    moved: bool = False,
    former: frozenset[bytes] = frozenset(),
) -> Judgement:
    """Compare a look with a row. ``algorithms``: those of the look's digests; ``now``: seconds since the epoch.

    ``moved``: the row is that of the path the file had before. ``former``: digests of what the path held before.
    """
    if seen.presence is not Presence.HERE:
        return Judgement(verdict_of(Facts(row is not None, seen.presence)), None)
    if row is None:
        return Judgement(Verdict.NEW, record_of(seen, algorithms, track, now))
    return Judgement(
        verdict_of(facts(row, seen, algorithms, track, moved=moved, former=former)),
        record_of(seen, algorithms, track, now, row),
    )


def facts(
    row: Record, seen: Seen, algorithms: tuple[str, ...], track: Track, *, moved: bool, former: frozenset[bytes]
) -> Facts:
    """What decides, of a file that is there and known."""
    was, now = stamp(*row.identity), stamp(*seen.identity)
    other = type_of(seen.attributes)
    return Facts(
        True,
        seen.presence,
        content_of(row, seen, algorithms),
        times=was[2:] == now[2:],
        written=(now[2] > was[2]) - (now[2] < was[2]),
        sized=was[1] == now[1],
        racy=bool(row.flags & RACY),
        attributes=agree(row.attributes, tracked(seen.attributes, track)),
        moved=moved,
        growing=track.growing and not other,
        former=any(digest in former for digest in seen.digests),
        typed=row.flags & OTHER == other,
    )


def type_of(attributes: Attributes) -> int:
    """The flag of what was seen with these attributes: 0 for a file."""
    return _TYPES.get((attributes.mode or 0) & 0o170000, 0)  # S_IFMT, a call cheaper


def content_of(row: Record, seen: Seen, algorithms: tuple[str, ...]) -> Content:
    """How what was read compares with the row, by the row's own algorithm."""
    if row.digest is None or row.algorithm not in algorithms or not seen.digests:
        return Content.UNREAD
    if seen.digests[algorithms.index(row.algorithm)] == row.digest:
        return Content.SAME
    grown = seen.prefix == row.digest and seen.identity.size > row.identity.size
    return Content.GROWN if grown else Content.OTHER


def tracked(attributes: Attributes, track: Track) -> Attributes:
    """Those attributes that the rule compares."""
    if attributes.target is not None and not track.content:
        attributes = attributes._replace(target=None)
    if track.mode and track.owner and track.links and track.xattr and track.acl:
        return attributes
    if not (track.mode or track.owner or track.links or track.xattr or track.acl or attributes.target):
        return NO_ATTRIBUTES
    return Attributes(
        attributes.mode if track.mode else None,
        attributes.uid if track.owner else None,
        attributes.gid if track.owner else None,
        attributes.links if track.links else None,
        attributes.xattr if track.xattr else None,
        attributes.acl if track.acl else None,
        attributes.target,
    )


def agree(known: Attributes, now: Attributes) -> bool:
    """Whether attributes are the same, as far as both are tracked: what is tracked only now is no change."""
    return known == now or all(a == b or a is None or b is None for a, b in zip(known, now, strict=True))


def record_of(seen: Seen, algorithms: tuple[str, ...], track: Track, now: int, row: Record | None = None) -> Record:
    """The record of a look. What wasn't read keeps the row's digest."""
    flags = (RACY if seen.racy else 0) | type_of(seen.attributes)
    attributes = tracked(seen.attributes, track)
    if seen.digests:
        algorithm = track.algorithm if track.algorithm in algorithms else algorithms[-1]
        digest = seen.digests[algorithms.index(algorithm)]
        return Record(seen.identity, algorithm, digest, attributes, now, flags)
    if row is not None and row.flags & OTHER == flags & OTHER:
        return Record(seen.identity, row.algorithm, row.digest, attributes, row.verified, flags)
    return Record(seen.identity, "", None, attributes, 0, flags)


# ---- what to read


class Reading(StrEnum):
    """How thoroughly a known file is looked at."""

    QUICK = "quick"  # its content only if its identity differs
    FULL = "full"  # its content in any case


def to_read(row: Record | None, now: tuple[int, int, int, int] | None, track: Track, how: Reading) -> tuple[str, ...]:
    """The algorithms to read a file's content by; none: it needn't be read. ``now``: its stamp, if that is known."""
    if not track.content or (row is not None and row.flags & DIRECTORY):
        return ()
    if row is None or row.digest is None:
        return (track.algorithm,)
    # What waits may be over, as a directory that was away and is back: only its content tells.
    same = now is not None and stamp(*row.identity) == now and not row.flags & (RACY | WAITING)
    if how is Reading.QUICK and same:
        return ()
    return (track.algorithm,) if row.algorithm == track.algorithm else (row.algorithm, track.algorithm)


# ---- what is done about it

FINDINGS = frozenset({Verdict.CORRUPT, Verdict.UNREADABLE, Verdict.UNSTABLE, Verdict.REWRITTEN, Verdict.ROOT_GONE})
APPROVABLE = frozenset({Verdict.NEW, Verdict.MODIFIED, Verdict.METADATA, Verdict.MOVED, Verdict.OLDER, Verdict.DELETED})


def state_of(verdict: Verdict, *, approval: bool, pinned: bool, expected: bool = False) -> State:
    """What becomes of a change. ``pinned``: the path's row is to stay until somebody approves.

    ``expected``: it is our own doing, by another action.
    """
    if verdict in FINDINGS or pinned:
        return State.OPEN
    if approval and verdict in APPROVABLE and not expected:
        return State.PENDING
    return State.ACCEPTED
