"""What is kept and what goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.actions.keeping import Keep, problems
from filewatchd.work.retention import Going, Kept, Limits, Space, going, oldest_going

DAY = 86400.0
NOW = 1000 * DAY


def files(*ages: float, size: int = 100) -> list[Kept]:
    return [Kept(NOW - age * DAY, f"f{number}", size, size) for number, age in enumerate(ages)]


def names(found: list[Going]) -> list[tuple[str, str]]:
    return [(gone.file.name, gone.limit) for gone in found]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), []),
        (Limits(count=2), [("f2", "count"), ("f0", "count")]),
        (Limits(age=15 * DAY), [("f2", "age")]),
        (Limits(total=250), [("f2", "total"), ("f0", "total")]),
        (Limits(min_free=1100), [("f2", "min_free"), ("f0", "min_free")]),
        (Limits(min_free=0.1), [("f2", "min_free")]),
        (Limits(count=0), [("f2", "count"), ("f0", "count"), ("f3", "count"), ("f1", "count")]),
        (Limits(count=0, min_count=3), [("f2", "count")]),
        (Limits(count=3, age=5 * DAY), [("f2", "count"), ("f0", "age"), ("f3", "age")]),
    ],
)  # fmt: skip
def test_a_limit_takes_the_oldest(limits: Limits, expected: list[tuple[str, str]]) -> None:
    assert names(going(files(10, 1, 20, 7), limits, NOW, Space(900, 10_000))) == expected


def test_the_reason_is_told_in_words() -> None:
    told = [gone.why for gone in going(files(40, 1, size=5000), Limits(age=30 * DAY, total=4000), NOW)]
    assert told == ["it is 40d old, and 30d are kept", "together they have 5,000 bytes, and 4,000 are kept"]


FILES = st.lists(
    st.builds(
        lambda age, name, size: Kept(NOW - age, name, size, size),
        st.integers(-5, 50), st.text("ab", max_size=3), st.integers(0, 9),
    ),
    max_size=12,
    unique_by=lambda file: file.name,
)  # fmt: skip
LIMITS = st.builds(
    Limits,
    st.none() | st.integers(0, 12), st.none() | st.floats(0, 50), st.none() | st.integers(0, 60),
    st.none() | st.integers(0, 60) | st.floats(0, 1), st.integers(0, 12),
)  # fmt: skip
SPACE = st.builds(Space, st.integers(0, 50), st.just(50))


@given(FILES, LIMITS, SPACE)
def test_what_goes_is_the_oldest_and_no_more_than_the_limits_ask(
    kept: list[Kept], limits: Limits, space: Space
) -> None:
    gone = [each.file for each in going(kept, limits, NOW, space)]
    left = sorted(set(kept) - set(gone))
    assert sorted(kept) == gone + left
    assert len(left) >= min(len(kept), limits.min_count)
    after = Space(space.free + sum(file.frees for file in gone), space.total)
    assert going(left, limits, NOW, after) == []  # it has come to an end
    for at in range(len(gone)):  # and each that went had to go
        before = Space(space.free + sum(file.frees for file in gone[:at]), space.total)
        assert going(gone[at:] + left, limits, NOW, before)[0].file == gone[at]


@given(FILES, LIMITS, SPACE, st.integers(0, 12))
def test_the_oldest_alone_tell_as_much(kept: list[Kept], limits: Limits, space: Space, at_hand: int) -> None:
    whole = going(kept, limits, NOW, space)
    total = sum(file.size for file in kept)
    assert oldest_going(sorted(kept)[:at_hand], limits, NOW, len(kept), total, space) == whole[:at_hand]


@given(FILES, LIMITS, LIMITS, SPACE)
def test_any_one_limit_deletes(kept: list[Kept], one: Limits, other: Limits, space: Space) -> None:
    both = Limits(one.count, other.age, one.total, other.min_free, one.min_count)
    alone = (
        Limits(one.count, None, one.total, None, one.min_count),
        Limits(None, other.age, None, None, one.min_count),
    )
    gone = {each.file for each in going(kept, both, NOW, space)}
    for limits in alone:
        assert {each.file for each in going(kept, limits, NOW, space)} <= gone


def test_limits_that_cannot_be_meant() -> None:
    assert [problem.where for problem in problems(Keep(), 1)] == [("keep",)]
    assert [problem.where for problem in problems(Keep(count=0), 1)] == [("keep", "count")]
    assert not list(problems(Keep(count=0), 0))
    assert not list(problems(Keep(age=1.0, min_count=5), 1))
    assert Keep(count=3, min_free=0.5).limits(1) == Limits(count=3, min_free=0.5, min_count=1)
