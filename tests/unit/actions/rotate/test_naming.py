"""Names of archives."""

from __future__ import annotations

import pytest

from filewatchd.actions.rotate.naming import is_packed, is_temporary, number_of, numbers, stamped_names, transaction


def test_numbers_shift_as_far_as_they_must() -> None:
    assert numbers([None], set()) == [1]
    assert numbers([None, 1, 2], set()) == [1, 2, 3]
    assert numbers([None, 2, 3], set()) == [1, 2, 3], "a gap is used"


def test_others_keep_their_numbers() -> None:
    assert numbers([None, 1, 3], {2}) == [1, 3, 4]
    assert numbers([None], {1, 2}) == [3]


def test_an_archive_that_comes_late_goes_between() -> None:
    assert numbers([1, None, 2], set()) == [1, 2, 3]


def test_the_number_in_a_name() -> None:
    assert number_of("/l/app.log", "/a/app.log.12.gz") == 12
    assert number_of("/l/app.log", "/a/app.log.1") == 1
    assert number_of("/l/app.log", "/a/app.log.1.2.gz") is None
    assert number_of("/l/app.log", "/a/xapp.log.1") is None


def test_a_name_with_the_time() -> None:
    txn = transaction(1_800_000_000_000_000_000, None)
    first, second, *_ = stamped_names("/l/app.log", txn, "gzip").all()
    assert first == f"app.log-{txn[:15]}.gz"
    assert second == f"app.log-{txn[:15]}-2.gz"


def test_a_name_of_an_archive_that_is_away_is_left_out() -> None:
    names = stamped_names("/l/app.log", transaction(1_800_000_000_000_000_000, None), "none")
    former = names._replace(kept=frozenset({names.base, f"{names.base}-3"}))
    assert former.first == f"{names.base}-2"
    assert [*former.all()][:2] == [f"{names.base}-2", f"{names.base}-4"]


def test_temporary_names() -> None:
    txn = transaction(1_800_000_000_000_000_000, None)
    assert is_temporary(f"/l/.app.log.{txn}.rotated")
    assert not is_temporary("/l/.app.log.rotated")


@pytest.mark.parametrize(
    ("name", "so"),
    [
        ("app.log.1.gz", True), ("app.log-20260131.gz", True), ("app.log-2026-01-31T00:00:00.xz", True),
        ("app\n.log.12.zst", True), ("app.log.1", False), ("app-20260131.log", False), ("access.log.gz", False),
        ("app-2.log.gz", False), (".1.gz", False),
    ],
)  # fmt: skip
def test_what_another_program_has_packed(name: str, so: bool) -> None:
    """A program may write a compressed log, such as nginx: that has no number or time behind its name."""
    assert is_packed(f"/var/log/{name}") is so
