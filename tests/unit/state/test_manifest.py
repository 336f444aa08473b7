from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from filewatchd.errors import StateError
from filewatchd.model import FileIdentity
from filewatchd.state.database import Database
from filewatchd.state.manifest import LINKS, RACY, Baseline, Manifest, Row

FAR_FUTURE = 253402300800 * 10**9  # the year 10000, in ns: more than 64 bits


def identity(number: int) -> FileIdentity:
    return FileIdentity(number, number * 10, number * 100, number * 1000)


@pytest.fixture
def baseline(manifest: Manifest) -> Baseline:
    return manifest.begin("rule", "/root", "digest", 1)


# ---- baselines


def test_a_scope_has_no_baseline_until_it_is_begun(manifest: Manifest) -> None:
    assert manifest.bind("rule", "/root", "digest") is None
    begun = manifest.begin("rule", "/root", "digest", 7, parameters="{}")
    assert begun == Baseline(begun.id, "rule", "/root", "digest", 7, False, "{}")
    assert manifest.bind("rule", "/root", "digest") == begun
    assert manifest.bind("rule", "/other", "digest") is None
    assert manifest.bind("other", "/root", "digest") is None


def test_begun_again_it_keeps_its_start(manifest: Manifest) -> None:
    first = manifest.begin("rule", "/root", "digest", 7)
    assert manifest.begin("rule", "/root", "digest", 99) == first


def test_closing(manifest: Manifest, baseline: Baseline) -> None:
    manifest.close(baseline.id, 5)
    assert manifest.bind("rule", "/root", "digest") == baseline._replace(closed=True)


def test_other_patterns_bind_the_old_rows_until_they_are_reselected(manifest: Manifest, baseline: Baseline) -> None:
    assert manifest.bind("rule", "/root", "new") == baseline
    manifest.reselect(baseline.id, "new", "text")
    assert manifest.bind("rule", "/root", "new") == baseline._replace(selection="new", parameters="text")


def test_reselecting_onto_another_baseline_drops_that(manifest: Manifest, baseline: Baseline) -> None:
    other = manifest.begin("rule", "/root", "new", 2)
    assert manifest.bind("rule", "/root", "new") == other
    manifest.reselect(baseline.id, "new")
    assert manifest.bind("rule", "/root", "new") == baseline._replace(selection="new")
    assert manifest.dropped() == [other.id]


def test_a_root_may_be_any_bytes(manifest: Manifest) -> None:
    root = "/in/\udcff\n"
    assert manifest.begin("rule", root, "digest", 1).root == root
    assert manifest.bind("rule", root, "digest") is not None


def test_a_renamed_rule_keeps_its_baselines(manifest: Manifest, baseline: Baseline) -> None:
    manifest.rename_rule("rule", "better")
    assert manifest.bind("rule", "/root", "digest") is None
    assert manifest.bind("better", "/root", "digest") == baseline._replace(rule="better")


def test_a_rename_takes_nothing_from_a_rule_that_has_its_own(manifest: Manifest, baseline: Baseline) -> None:
    own = manifest.begin("better", "/root", "digest", 2)
    manifest.rename_rule("rule", "better")
    assert manifest.bind("better", "/root", "digest") == own
    assert manifest.stale({"better"}) == [baseline]


def test_forgetting_in_slices(manifest: Manifest, baseline: Baseline) -> None:
    other = manifest.begin("rule", "/other", "digest", 1)
    for target in (baseline, other):
        manifest.put(target.id, [(f"f{number:03}", identity(number), 0) for number in range(25)])
    slices = manifest.forget(baseline.id, 10)
    assert next(slices) == 10
    assert manifest.bind("rule", "/root", "digest") is None
    assert manifest.dropped() == [baseline.id]
    assert manifest.count(baseline.id) == 15
    slices.close()  # cut off: another start goes on
    assert list(manifest.forget(baseline.id, 10)) == [10, 5]
    assert (manifest.dropped(), manifest.count(baseline.id), manifest.count(other.id)) == ([], 0, 25)


# ---- rows


@pytest.mark.parametrize("number", [1, 2, 3, 256, 257, 1000])
def test_rows_come_back_in_batches_of_any_size(manifest: Manifest, baseline: Baseline, number: int) -> None:
    manifest.put(baseline.id, [(f"d/{n}", identity(n), n & 3) for n in range(number)])
    found = manifest.rows(baseline.id, [f"d/{n}" for n in range(number)] + ["absent"])
    assert found == {f"d/{n}": Row(*identity(n), n & 3) for n in range(number)}
    assert manifest.rows(baseline.id, []) == {}
    assert manifest.count(baseline.id) == number


def test_put_replaces_and_adopt_yields(manifest: Manifest, baseline: Baseline) -> None:
    manifest.adopt(baseline.id, [("a", identity(1), RACY)])
    manifest.put(baseline.id, [("a", identity(2), 0), ("b", identity(3), LINKS)])
    manifest.adopt(baseline.id, [("a", identity(4), 0), ("c", identity(5), 0)])
    assert manifest.rows(baseline.id, ["a", "b", "c"]) == {
        "a": Row(*identity(2), 0),
        "b": Row(*identity(3), LINKS),
        "c": Row(*identity(5), 0),
    }


def test_a_batch_is_one_transaction(manifest: Manifest, baseline: Baseline, database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            manifest.put(baseline.id, [("a", identity(1), 0)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert manifest.count(baseline.id) == 0


@pytest.mark.parametrize("path", ["", "a\nb", "\udcff\udcfe", "ü/\U0001f600", "x" * 4000])
def test_any_path(manifest: Manifest, baseline: Baseline, path: str) -> None:
    manifest.put(baseline.id, [(path, identity(1), 0)])
    assert manifest.rows(baseline.id, [path]) == {path: Row(*identity(1), 0)}
    assert manifest.rows(baseline.id, [path, "b", "c"]) == {path: Row(*identity(1), 0)}
    manifest.drop(baseline.id, [path])
    assert manifest.count(baseline.id) == 0


@pytest.mark.parametrize(
    "odd",
    [
        FileIdentity(2**64 - 1, 1, 2, 3),
        FileIdentity(2**63, 2**63 - 1, -(2**63), 2**63 - 1),
        FileIdentity(1, 1, FAR_FUTURE, FAR_FUTURE + 1),
        FileIdentity(2**63 + 7, 1, -FAR_FUTURE, 3),
    ],
)
def test_numbers_beyond_sqlites(manifest: Manifest, baseline: Baseline, odd: FileIdentity) -> None:
    entries = [("a", identity(1), 0), ("odd", odd, RACY | LINKS), ("z", identity(2), 0)]
    for write in (manifest.adopt, manifest.put):
        write(baseline.id, entries)
        found = manifest.rows(baseline.id, ["a", "odd", "z"])
        assert found == {path: Row(*who, flags) for path, who, flags in entries}
        assert found["odd"].identity == odd
    assert manifest.links(baseline.id, odd.ino) == ["odd"]


def test_what_lies_below_a_directory(manifest: Manifest, baseline: Baseline) -> None:
    names = ["a", "a-b", "a/x", "a/y/z", "a/y/\udcff", "a0", "b/a/x", "\udcff/x"]
    manifest.put(baseline.id, [(name, identity(1), 0) for name in names])
    assert manifest.below(baseline.id, "a") == ["a/x", "a/y/z", "a/y/\udcff"]
    assert manifest.below(baseline.id, "a/y") == ["a/y/z", "a/y/\udcff"]
    assert manifest.below(baseline.id, "\udcff") == ["\udcff/x"]
    assert manifest.below(baseline.id, "nothing") == []
    assert sorted(manifest.below(baseline.id, "")) == sorted(names)
    assert manifest.children(baseline.id, "a") == ["a/x"]
    assert manifest.children(baseline.id, "a/y") == ["a/y/z", "a/y/\udcff"]
    assert manifest.children(baseline.id, "") == ["a", "a-b", "a0"]


def test_a_file_that_is_the_root_has_an_empty_path(manifest: Manifest, baseline: Baseline) -> None:
    manifest.put(baseline.id, [("", identity(1), 0)])
    assert manifest.children(baseline.id, "") == [""]
    assert manifest.below(baseline.id, "") == []


def test_links_share_an_inode(manifest: Manifest, baseline: Baseline) -> None:
    manifest.put(baseline.id, [("a", identity(1), LINKS), ("b", identity(1), LINKS | RACY), ("c", identity(2), LINKS)])
    manifest.put(baseline.id, [("d", identity(1), 0)])
    assert manifest.links(baseline.id, 1) == ["a", "b"]


def test_a_row_costs_at_most_170_bytes(manifest: Manifest, baseline: Baseline, database: Database) -> None:
    path = "directory-{:03}/a-name-for-a-path-of-sixty-bytes-in-all-{:06}"
    entries = [(path.format(n % 50, n), FileIdentity(10**8 + n, n, 2**60 + n, 2**60 + n), 0) for n in range(20_000)]
    assert len(entries[0][0]) == 60
    before = database.statistics()["size"]
    for start in range(0, len(entries), 1000):
        manifest.put(baseline.id, entries[start : start + 1000])
    database.checkpoint()
    assert (database.statistics()["size"] - before) / len(entries) <= 170


def test_a_damaged_file_is_reported(manifest: Manifest, baseline: Baseline, database: Database) -> None:
    manifest.put(baseline.id, [(f"d/{n}", identity(n), 0) for n in range(5000)])
    path = Path(database.path)
    database.close()
    data = bytearray(path.read_bytes())
    for page in range(30, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with Database(str(path)) as damaged, pytest.raises(StateError, match="malformed"):
        Manifest(damaged).children(baseline.id, "d")


def test_a_mistake_of_ours_stays_what_it_is(manifest: Manifest, baseline: Baseline) -> None:
    with pytest.raises(sqlite3.Error):
        manifest.put(baseline.id, [("a", FileIdentity(None, 1, 1, 1), 0)])  # type: ignore[arg-type]
