"""On which filesystem each path is, and on which each row was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from filewatchd.model import Region
from filewatchd.state.database import Database
from filewatchd.state.manifest import Baseline, Manifest
from filewatchd.state.places import Places, Standing
from filewatchd.state.rows import PLACE
from filewatchd.state.schema import MIGRATIONS

BASELINE = 1
HOME, DISK, OTHER = Region("", "home"), Region("m", "disk"), Region("m", "other")


@pytest.fixture
def places(manifest: Manifest) -> Places:
    assert manifest.begin("rule", "/root", "digest", 1).id == BASELINE
    return manifest.places


def scan(places: Places, *mounted: Region, started: int = 1) -> Standing:
    """Mount exactly these, and scan the root."""
    places.enter(BASELINE, mounted, started, closed=False)
    standing = places.standing(BASELINE, mounted)
    places.close(BASELINE, standing.open, started + 1)
    return standing


def row(standing: Standing, path: str) -> int:
    """The flags of a row that is written now."""
    return standing.number(path) * PLACE


def known(places: Places) -> list[tuple[str, str, bool]]:
    return [(place.inside, place.filesystem, place.closed) for place in places.of(BASELINE)]


def test_a_filesystem_keeps_its_number(places: Places) -> None:
    first = scan(places, HOME, DISK)
    numbers = first.number("a"), first.number("m/a")
    assert len(set(numbers)) == 2
    scan(places, HOME)
    again = scan(places, HOME, DISK)
    assert (again.number("a"), again.number("m/a")) == numbers
    assert again.open == []


def test_its_start_is_that_of_the_first_time(places: Places) -> None:
    places.enter(BASELINE, [HOME], 5, closed=False)
    places.enter(BASELINE, [HOME], 9, closed=False)
    assert [place.started_ns for place in places.of(BASELINE)] == [5]


def test_a_row_is_elsewhere_while_its_filesystem_is_not_there(places: Places) -> None:
    before = scan(places, HOME, DISK)
    flags = row(before, "m/a")
    after = scan(places, HOME)
    assert after.is_elsewhere("m/a", flags)
    assert after.is_unmounted(flags)
    assert not after.is_elsewhere("a", row(before, "a"))
    assert not scan(places, HOME, DISK).is_elsewhere("m/a", flags)


def test_what_is_beneath_a_first_mount_comes_to_light_as_new_ground(places: Places) -> None:
    scan(places, HOME, DISK)
    bare = scan(places, HOME)
    assert bare.open == [bare.number("m/a")]
    assert bare.number("m/a") != bare.number("a")
    assert known(places)[-1] == ("m", "home", True)


def test_what_is_mounted_over_was_known_before(places: Places) -> None:
    flags = row(scan(places, HOME), "m/a")
    over = scan(places, HOME, DISK)
    assert over.is_elsewhere("m/a", flags)
    assert not over.is_unmounted(flags)  # it is hidden
    bare = scan(places, HOME)
    assert bare.open == []
    assert not bare.is_elsewhere("m/a", flags)


def test_another_filesystem_is_another_place(places: Places) -> None:
    flags = row(scan(places, HOME, DISK), "m/a")
    other = places.standing(BASELINE, [HOME, OTHER])
    assert other.is_elsewhere("m/a", flags)  # even before it was entered
    assert scan(places, HOME, OTHER).is_elsewhere("m/a", flags)


def test_rows_of_before_there_were_places_are_wherever_their_paths_lead(places: Places) -> None:
    assert not scan(places, HOME, DISK).is_elsewhere("m/a", 0)
    assert not scan(places, HOME).is_elsewhere("m/a", 0)


def test_a_path_without_a_row_may_be_on_what_is_not_there(places: Places) -> None:
    assert not scan(places, HOME, DISK).may_be_elsewhere("m/a")
    bare = scan(places, HOME)
    assert bare.may_be_elsewhere("m/a")
    assert not bare.may_be_elsewhere("mm")
    assert not scan(places, HOME, DISK).may_be_elsewhere("m/a")  # what is beneath is hidden, not gone


def test_mounts_in_mounts(places: Places) -> None:
    inner = Region("m/n", "inner")
    standing = scan(places, HOME, DISK, inner)
    paths: Sequence[str] = ("a", "m/a", "m/n/a", "m/nn")
    assert [standing.numbers(path) == standing.numbers("m/a") for path in paths] == [False, True, False, True]
    bare = scan(places, HOME, DISK)
    assert bare.numbers("m/n/a") >= bare.numbers("m/a")
    assert bare.open == [bare.number("m/n/a")]


def test_a_forgotten_baseline_takes_its_places_along(places: Places, manifest: Manifest, database: Database) -> None:
    scan(places, HOME, DISK)
    assert list(manifest.forget(BASELINE)) == [0]
    assert database.execute("SELECT count(*) FROM places") == [(0,)]


def test_a_baseline_of_version_1_is_kept_and_knows_no_place(tmp_path: Path) -> None:
    path = str(tmp_path / "old.db")
    with Database(path, migrations=MIGRATIONS[:1]) as old:
        values = (BASELINE, "rule", b"/root", "digest", 1, 2, 77, "", "")
        old.execute("INSERT INTO baselines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", values)
        old.execute("INSERT INTO manifest VALUES (?, ?, 1, 2, 3, 4, 0)", (BASELINE, b"m/a"))
    with Database(path) as new:
        manifest = Manifest(new)
        assert manifest.bind("rule", "/root", "digest") == Baseline(BASELINE, "rule", "/root", "digest", 1, True, "")
        manifest.places.enter(BASELINE, [HOME, DISK], 9, closed=True)
        standing = manifest.places.standing(BASELINE, [HOME, DISK])
        assert standing.open == []
        assert not standing.is_elsewhere("m/a", manifest.rows(BASELINE, ["m/a"])["m/a"].flags)
