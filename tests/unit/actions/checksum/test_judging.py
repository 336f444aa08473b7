"""Verdicts: a row, a look, and what became of the path."""

from __future__ import annotations

import pytest

from filewatchd.actions.checksum.judging import LINES, Reading, Track, judge, state_of, to_read
from filewatchd.actions.checksum.seeing import Presence, Seen
from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import RACY, Attributes, Record, State, Verdict, stamp

OLD = FileIdentity(7, 10, 1000, 1000)
MODE = Attributes(0o100644, 0, 0, 1, b"", b"")
ROW = Record(OLD, "sha256", b"A", MODE, 50)
SHA = ("sha256",)


def seen(identity: FileIdentity = OLD, *digests: bytes, attributes: Attributes = MODE, **more: object) -> Seen:
    return Seen("d", "n", Presence.HERE, identity, attributes, digests, **more)  # type: ignore[arg-type]


def at(presence: Presence) -> Seen:
    return Seen("d", "n", presence)


LATER = OLD._replace(mtime_ns=2000, ctime_ns=2000)
EARLIER = OLD._replace(mtime_ns=500, ctime_ns=2000)
CHANGED = OLD._replace(ctime_ns=2000)
LONGER = LATER._replace(size=20)
CHMOD = MODE._replace(mode=0o100600)
GROWING = Track(growing=True)

CASES = [
    ("nothing, of which nothing is known", None, at(Presence.ABSENT), Verdict.SAME),
    ("gone", ROW, at(Presence.ABSENT), Verdict.DELETED),
    ("unreadable", ROW, at(Presence.UNREADABLE), Verdict.UNREADABLE),
    ("unreadable and unknown", None, at(Presence.UNREADABLE), Verdict.UNREADABLE),
    ("unstable", ROW, at(Presence.UNSTABLE), Verdict.UNSTABLE),
    ("new", None, seen(OLD, b"A"), Verdict.NEW),
    ("the same", ROW, seen(OLD, b"A"), Verdict.SAME),
    ("the same, not read", ROW, seen(OLD), Verdict.SAME),
    ("other content, all stamps the same", ROW, seen(OLD, b"B"), Verdict.CORRUPT),
    ("and on another inode", ROW, seen(OLD._replace(ino=8), b"B"), Verdict.CORRUPT),
    ("and truncated", ROW, seen(OLD._replace(size=5), b"B"), Verdict.CORRUPT),
    ("other content, but a write could hide", ROW._replace(flags=RACY), seen(OLD, b"B"), Verdict.MODIFIED),
    ("other content, the ctime tells", ROW, seen(CHANGED, b"B"), Verdict.MODIFIED),
    ("written", ROW, seen(LATER, b"B"), Verdict.MODIFIED),
    ("replaced by something older", ROW, seen(EARLIER, b"B"), Verdict.OLDER),
    ("touched", ROW, seen(LATER, b"A"), Verdict.TOUCHED),
    ("touched backwards", ROW, seen(EARLIER, b"A"), Verdict.TOUCHED),
    ("only the ctime", ROW, seen(CHANGED, b"A"), Verdict.SAME),
    ("permissions", ROW, seen(CHANGED, b"A", attributes=CHMOD), Verdict.METADATA),
    ("permissions and times", ROW, seen(LATER, b"A", attributes=CHMOD), Verdict.METADATA),
    ("permissions and content", ROW, seen(LATER, b"B", attributes=CHMOD), Verdict.MODIFIED),
    ("an attribute tracked only now", ROW._replace(attributes=Attributes()), seen(OLD, b"A"), Verdict.SAME),
]


@pytest.mark.parametrize(("row", "look", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdicts(row: Record | None, look: Seen, verdict: Verdict) -> None:
    assert judge(row, look, SHA, Track(), 99).verdict is verdict


@pytest.mark.parametrize(
    ("look", "verdict"),
    [
        (seen(LONGER, b"B", prefix=b"A"), Verdict.GROWN),
        (seen(LONGER, b"B", prefix=b"X"), Verdict.REWRITTEN),
        (seen(LATER._replace(size=5), b"B"), Verdict.REWRITTEN),
        (seen(LATER, b"B", prefix=b"B"), Verdict.REWRITTEN),
        (seen(LATER, b"A", prefix=b"A"), Verdict.TOUCHED),
        (seen(OLD, b"B", prefix=b"B"), Verdict.CORRUPT),
    ],
)
def test_a_growing_file_may_only_grow(look: Seen, verdict: Verdict) -> None:
    assert judge(ROW, look, SHA, GROWING, 99).verdict is verdict


def test_what_was_there_before_is_older() -> None:
    assert judge(ROW, seen(LATER, b"Z"), SHA, Track(), 99, former=frozenset({b"Z"})).verdict is Verdict.OLDER


def test_a_moved_file() -> None:
    assert judge(ROW, seen(CHANGED, b"A"), SHA, Track(), 99, moved=True).verdict is Verdict.MOVED
    assert judge(ROW, seen(OLD), SHA, Track(), 99, moved=True).verdict is Verdict.MOVED
    assert judge(ROW, seen(CHANGED, b"B"), SHA, Track(), 99, moved=True).verdict is Verdict.MODIFIED


def test_without_content_the_size_tells() -> None:
    track = Track(content=False)
    row = ROW._replace(algorithm="", digest=None)
    assert judge(row, seen(LONGER), (), track, 99).verdict is Verdict.MODIFIED
    assert judge(row, seen(LATER), (), track, 99).verdict is Verdict.TOUCHED


def test_a_new_algorithm_is_judged_by_the_old_one() -> None:
    both = to_read(ROW, stamp(*OLD), Track("blake3"), Reading.FULL)
    assert both == ("sha256", "blake3")
    found = judge(ROW, seen(OLD, b"A", b"new"), both, Track("blake3"), 99)
    assert found.verdict is Verdict.SAME
    assert found.record is not None
    assert (found.record.algorithm, found.record.digest, found.record.verified) == ("blake3", b"new", 99)


def test_what_was_not_read_keeps_its_digest() -> None:
    record = judge(ROW, seen(CHANGED, attributes=CHMOD), (), Track(), 99).record
    assert record == Record(CHANGED, "sha256", b"A", CHMOD, 50)


@pytest.mark.parametrize(
    ("row", "now", "how", "algorithms"),
    [
        (None, stamp(*OLD), Reading.QUICK, SHA),
        (ROW, stamp(*OLD), Reading.QUICK, ()),
        (ROW, stamp(*OLD), Reading.FULL, SHA),
        (ROW, None, Reading.QUICK, SHA),
        (ROW, stamp(*CHANGED), Reading.QUICK, SHA),
        (ROW._replace(flags=RACY), stamp(*OLD), Reading.QUICK, SHA),
        (ROW._replace(digest=None, algorithm=""), stamp(*OLD), Reading.QUICK, SHA),
    ],
)
def test_what_is_read(
    row: Record | None, now: tuple[int, int, int, int] | None, how: Reading, algorithms: tuple[str, ...]
) -> None:
    assert to_read(row, now, Track(), how) == algorithms


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_can_be_reached(verdict: Verdict) -> None:
    assert verdict is Verdict.ROOT_GONE or verdict in {line.verdict for line in LINES}


@pytest.mark.parametrize(
    ("verdict", "approval", "pinned", "state"),
    [
        (Verdict.MODIFIED, False, False, State.ACCEPTED),
        (Verdict.MODIFIED, True, False, State.PENDING),
        (Verdict.MODIFIED, False, True, State.OPEN),
        (Verdict.TOUCHED, True, False, State.ACCEPTED),
        (Verdict.CORRUPT, False, False, State.OPEN),
        (Verdict.CORRUPT, True, False, State.OPEN),
    ],
)
def test_what_is_done(verdict: Verdict, approval: bool, pinned: bool, state: State) -> None:
    assert state_of(verdict, approval=approval, pinned=pinned) is state
