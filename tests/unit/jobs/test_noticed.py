"""What was noticed before a job, as the journal keeps it."""

from __future__ import annotations

from filewatchd.jobs.noticed import LIMIT, NOTHING, SHOWN, Event, Noticed, Story, noticed, read_story
from filewatchd.jobs.runner import Item, Key
from filewatchd.model import Change, Hint, Kind
from filewatchd.rules.debounce import Pending, Window
from filewatchd.rules.events import events_of
from filewatchd.testing.clock import START, FakeClock
from filewatchd.watch.dirty import HINTS, IN_CLOSE_WRITE, IN_CREATE, IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO

NS = 10**9


def item(path: str, old: str | None = None) -> Item:
    kind = Kind.CREATED if old is None else Kind.MOVED
    change = Change(kind, f"/in/{path}", "/in", old_path=None if old is None else f"/in/{old}")
    return Item((1, path), change, old_key=None if old is None else (1, old))


def taken(clock: FakeClock, *names: str, hint: int = Hint.SCAN) -> list[tuple[Key, Pending[Key]]]:
    return [((1, name), Pending(clock.monotonic(), clock.monotonic(), hint)) for name in names]


def test_a_window_gathers_the_raw_events_and_their_times() -> None:
    clock, window = FakeClock(), Window[Key](0.5, 10.0)
    start = clock.wall_ns()
    for mask in (IN_CREATE, IN_MODIFY, IN_MODIFY | IN_CLOSE_WRITE):
        window.mark((1, "a"), HINTS[mask], clock.monotonic())
        clock.advance(0.25)
    clock.advance(0.5)
    window.release(clock.monotonic())
    kept = noticed(window.take(10, clock.monotonic()), [item("a")], clock)
    (event,) = read_story(kept.story).events
    assert kept.first_ns == event.first_ns == start
    assert (event.last_ns - start, event.path) == (NS // 2, "/in/a")
    assert read_story(kept.story).due_ns == start + NS
    assert events_of(event.hint) == ["create", "modify", "close_write"]


def test_a_move_has_what_was_noticed_of_both_its_names() -> None:
    clock = FakeClock()
    batch = taken(clock, "old", hint=HINTS[IN_MOVED_FROM])
    clock.advance(1.0)
    batch += taken(clock, "new", hint=HINTS[IN_MOVED_TO])
    kept = noticed(batch, [item("new", "old")], clock)
    told = [(event.path, events_of(event.hint)) for event in read_story(kept.story).events]
    assert told == [("/in/old", ["moved_from"]), ("/in/new", ["moved_to"])]
    assert kept.first_ns == int(START * NS)


def test_the_first_event_is_that_of_all_paths_and_a_few_are_shown() -> None:
    clock = FakeClock()
    late = [f"late{number}" for number in range(SHOWN)]
    batch = taken(clock, "early")
    clock.advance(1.0)
    batch += taken(clock, *late)
    kept = noticed(batch, [item(name) for name in (*late, "early")], clock)
    assert kept.first_ns == int(START * NS)
    assert [event.path for event in read_story(kept.story).events] == [f"/in/{name}" for name in late]


def test_what_the_rule_made_no_change_of_has_no_part_in_it() -> None:
    clock = FakeClock()
    batch = taken(clock, "other")
    clock.advance(1.0)
    kept = noticed([*batch, *taken(clock, "a")], [item("a")], clock)
    assert kept.first_ns == clock.wall_ns()


def test_long_names_leave_room_for_fewer_paths() -> None:
    clock = FakeClock()
    names = [f"{number}".ljust(250, "x") for number in range(SHOWN)]
    kept = noticed(taken(clock, *names), [item(name) for name in names], clock)
    assert len(kept.story) <= LIMIT
    assert [event.path for event in read_story(kept.story).events] == [f"/in/{name}" for name in names[:10]]
    longest = "x" * LIMIT
    assert read_story(noticed(taken(clock, longest), [item(longest)], clock).story) == Story(clock.wall_ns(), [])


def test_names_of_any_bytes() -> None:
    clock = FakeClock()
    kept = noticed(taken(clock, "\udcff"), [item("\udcff")], clock)
    assert read_story(kept.story).events == [Event(clock.wall_ns(), clock.wall_ns(), "/in/\udcff", Hint.SCAN)]


def test_a_job_over_no_path_was_noticed_by_nobody() -> None:
    assert noticed([], [], FakeClock()) == NOTHING == Noticed(None, b"")
    assert read_story(b"") == Story(None, ())
