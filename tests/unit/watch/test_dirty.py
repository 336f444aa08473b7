"""Folding raw events, as byte-exact transcripts of an inotify queue."""

from filewatchd.model import Hint
from filewatchd.rules.events import RAW_EVENTS, events_of, raw
from filewatchd.watch import dirty
from filewatchd.watch.dirty import (
    HEADER,
    HINTS,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    Rename,
    fold,
    renames,
)


def event(watch: int, mask: int, name: bytes = b"", cookie: int = 0) -> bytes:
    padded = name + b"\0" * (16 - len(name) % 16) if name else b""
    return HEADER.pack(watch, mask, cookie, len(padded)) + padded


RAW = 1 << Hint.RAW
NAME = b"file".ljust(16, b"\0")


def test_a_written_file_is_one_entry() -> None:
    folded = fold([event(1, IN_CREATE, b"file") + event(1, IN_MODIFY, b"file"), event(1, IN_CLOSE_WRITE, b"file")])
    assert folded.events == 3
    assert folded.dirty == {1: {NAME: IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE}}
    hint = HINTS[folded.dirty[1][NAME]]
    assert hint % RAW == Hint.LIVE | Hint.WRITE | Hint.CLOSED
    assert events_of(hint) == ["create", "modify", "close_write"]


def test_a_write_after_the_close_means_it_may_be_open() -> None:
    folded = fold([event(1, IN_CLOSE_WRITE, b"file") + event(1, IN_MODIFY, b"file")])
    assert not HINTS[folded.dirty[1][NAME]] & Hint.CLOSED


def test_an_attribute_change_alone_is_no_write() -> None:
    folded = fold([event(1, IN_ATTRIB, b"file")])
    hint = HINTS[folded.dirty[1][NAME]]
    assert (hint % RAW, events_of(hint)) == (Hint.LIVE, ["attrib"])


def test_raw_events_are_named_by_their_own_numbers() -> None:
    numbers = {"IN_" + name.upper(): bit for bit, name in RAW_EVENTS.items()}
    assert numbers == {name: getattr(dirty, name) for name in numbers}
    assert raw(dirty.TREE_MASK) == sum(RAW_EVENTS) * RAW, "DELETE_SELF is a directory's own"


def test_what_was_no_raw_event_has_a_name_too() -> None:
    assert events_of(Hint.LIVE | Hint.WRITE) == ["link"]
    assert events_of(Hint.SCAN | Hint.STARTUP | Hint.STRICT) == ["scan"]
    assert events_of(Hint.FORCED | Hint.SCHEDULED) == ["request", "schedule"]
    assert events_of(HINTS[IN_ATTRIB] | Hint.AGAIN) == ["attrib", "again"]


def test_directories_and_overflow_stand_apart() -> None:
    folded = fold([event(1, IN_CREATE | IN_ISDIR, b"dir") + event(-1, IN_Q_OVERFLOW)])
    assert not folded.dirty
    assert [e.mask for e in folded.structural] == [IN_CREATE | IN_ISDIR, IN_Q_OVERFLOW]


def test_renames_pair_by_cookie() -> None:
    data = event(1, IN_MOVED_FROM, b"a", 7) + event(2, IN_MOVED_TO, b"b", 7) + event(1, IN_MOVED_FROM, b"c", 8)
    a, b, c = (name.ljust(16, b"\0") for name in (b"a", b"b", b"c"))
    assert renames(fold([data]).structural) == [
        Rename((1, a), (2, b), False),
        Rename((1, c), None, False),
    ]
