"""Windows, told as transcripts: these events at these times, these releases."""

from filewatchd.model import Hint
from filewatchd.rules.debounce import Window

LIVE = Hint.LIVE
WRITE = Hint.LIVE | Hint.WRITE
CLOSE = Hint.LIVE | Hint.WRITE | Hint.CLOSED


def taken(window: Window[str], now: float, most: int = 100) -> list[str]:
    window.release(now)
    return [key for key, _ in window.take(most, now)]


def test_a_path_is_due_after_settle() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", WRITE, 0.0)
    assert taken(window, 0.1) == []
    assert taken(window, 0.25) == ["a"]
    assert not window


def test_an_event_restarts_settle() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", WRITE, 0.0)
    window.mark("a", WRITE, 0.15)
    assert taken(window, 0.25) == []
    assert taken(window, 0.45) == ["a"]


def test_max_wait_caps_settle() -> None:
    window = Window[str](0.2, 1.0)
    for tick in range(20):
        window.mark("a", WRITE, tick * 0.1)
        if taken(window, tick * 0.1):
            assert 1.0 <= tick * 0.1 <= 1.15
            return
    raise AssertionError("never released")


def test_settle_zero_is_due_at_once() -> None:
    window = Window[str](0.0, 10)
    window.mark("a", CLOSE, 5.0)
    assert taken(window, 5.0) == ["a"]


def test_due_times_are_rounded_so_that_bursts_come_together() -> None:
    window = Window[str](0.4, 10)
    for number in range(50):
        window.mark(f"f{number}", CLOSE, 0.01 + number * 0.001)
    due = window.next_due(0.1)
    assert due is not None
    assert len(taken(window, due)) == 50


def test_a_due_path_waits_anew_when_something_happens_before_it_is_taken() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", WRITE, 0.0)
    assert window.release(0.25) == 1
    window.mark("a", WRITE, 0.26)
    assert taken(window, 0.3) == []
    assert taken(window, 0.55) == ["a"]


def test_a_later_write_clears_closed() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", CLOSE, 0.0)
    window.mark("a", WRITE, 0.1)
    window.release(0.5)
    [(_, entry)] = window.take(10, 0.5)
    assert not entry.hint & Hint.CLOSED


def test_an_attribute_change_keeps_closed() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", CLOSE, 0.0)
    window.mark("a", LIVE, 0.1)
    window.release(0.5)
    [(_, entry)] = window.take(10, 0.5)
    assert entry.hint & Hint.CLOSED


def test_both_sides_of_a_rename_come_together() -> None:
    window = Window[str](0.2, 10)
    window.mark("old", CLOSE, 0.0)
    window.mark("new", CLOSE, 0.15)
    window.pair("old", "new")
    assert taken(window, 0.25) == []
    assert sorted(taken(window, 0.4)) == ["new", "old"]


def test_a_batch_never_splits_a_rename() -> None:
    window = Window[str](0.2, 10)
    for name in ("a", "old", "new"):
        window.mark(name, CLOSE, 0.0)
    window.pair("old", "new")
    assert taken(window, 0.5, most=2) == ["a", "old", "new"]


def test_a_batch_is_bounded_by_paths_and_bytes() -> None:
    window = Window[tuple[int, str]](0.0, 10)
    for number in range(30):
        window.mark((1, f"{number:03}" + "x" * 97), CLOSE, 0.0)
    window.release(0.0)
    assert len(window.take(20, 0.0)) == 20
    assert len(window.take(20, 0.0, most_bytes=250)) == 3


def test_what_was_not_ready_keeps_its_age_and_newer_events() -> None:
    window = Window[str](0.2, 10)
    window.mark("a", WRITE, 0.0)
    window.release(0.3)
    [(key, entry)] = window.take(1, 0.3)
    window.mark("a", CLOSE, 0.31)
    window.put_back(key, entry, 1.0, 0.32)
    window.release(0.6)
    [(_, newer)] = window.take(1, 0.6)
    assert newer.hint & Hint.CLOSED


def test_together_waits_for_the_whole_rule() -> None:
    window = Window[str](0.2, 10, together=True)
    window.mark("a", CLOSE, 0.0)
    window.mark("b", CLOSE, 0.15)
    assert taken(window, 0.25) == []
    assert sorted(taken(window, 0.35)) == ["a", "b"]


def test_together_is_capped_by_max_wait() -> None:
    window = Window[str](0.2, 1.0, together=True)
    for tick in range(10):
        window.mark(f"f{tick}", CLOSE, tick * 0.1)
        assert taken(window, tick * 0.1) == []
    assert len(taken(window, 1.0)) == 10


def test_nothing_pending_means_no_timer() -> None:
    window = Window[str](0.2, 10)
    assert window.next_due(0.0) is None
    window.mark("a", CLOSE, 0.0)
    window.release(1.0)
    assert window.next_due(1.0) is None, "what is due waits for a slot, not for time"


def test_an_event_ends_a_longer_putting_off() -> None:
    window = Window[str](0.0, 10)
    window.mark("a", WRITE, 0.0)
    window.release(0.0)
    [(key, entry)] = window.take(1, 0.0)
    window.put_back(key, entry, 5.0, 0.0)
    window.mark("a", CLOSE, 0.1)
    assert taken(window, 0.1) == ["a"]
    assert taken(window, 6.0) == [], "the bucket it stood in finds nothing"


def test_what_waits_in_the_queue_can_be_asked_for_by_hint() -> None:
    window = Window[str](0.0, 10)
    window.mark_after("a", Hint.AGAIN, 0.0, 0.0)
    window.mark_after("b", Hint.SCAN, 0.0, 1.0)
    assert window.release(0.5) == 1
    assert window.is_due(Hint.AGAIN)
    assert not window.is_due(Hint.SCAN)
    window.release(1.1)
    assert window.is_due(Hint.SCAN)
