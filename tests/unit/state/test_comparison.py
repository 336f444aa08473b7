"""A comparison with a scan, against what a comparison of two plain mappings says."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filewatchd.errors import StateError
from filewatchd.model import FileIdentity
from filewatchd.state.database import Database
from filewatchd.state.manifest import RACY, Baseline, Manifest, ManifestReader, TreeComparison

Tree = dict[str, dict[str, tuple[int, int, int, int]]]  # directory -> name -> identity

# Names around "/" (0x2f) in byte order, and one that is not UTF-8.
names = st.sampled_from(["a", "b", "a-", "a.", "a0", "a\udcff", "-", "0", "z"])
identities = st.tuples(*[st.integers(1, 2)] * 4) | st.just((2**64 - 1, 1, 10**21, -(10**21)))
trees = st.dictionaries(
    st.lists(names, max_size=3).map("/".join), st.dictionaries(names, identities, max_size=4), max_size=8
)


@pytest.fixture
def baseline(manifest: Manifest) -> Baseline:
    return manifest.begin("rule", "/root", "digest", 1)


@pytest.fixture
def reader(database: Database) -> Iterator[ManifestReader]:
    with ManifestReader(database.path) as opened:
        yield opened


def join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def flat(tree: Tree) -> dict[str, tuple[int, int, int, int]]:
    return {join(directory, name): who for directory, files in tree.items() for name, who in files.items()}


def fill(manifest: Manifest, number: int, tree: Tree) -> None:
    manifest.drop(number, manifest.below(number, ""))
    manifest.put(number, [(path, FileIdentity(*who), 0) for path, who in flat(tree).items()])


def same(one: tuple[int, ...], other: tuple[int, ...], strict: bool) -> bool:
    return one == other if strict else one[:3] == other[:3]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=trees, disk=trees, strict=st.booleans(), seed=st.randoms(use_true_random=False), together=st.booleans())
def test_a_tree_in_any_order(
    manifest: Manifest,
    reader: ManifestReader,
    baseline: Baseline,
    known: Tree,
    disk: Tree,
    strict: bool,
    seed: Random,
    together: bool,
) -> None:
    fill(manifest, baseline.id, known)
    disk.setdefault("", {})
    for directory in list(disk):
        while directory := directory.rpartition("/")[0]:
            disk.setdefault(directory, {})
    order = list(disk.items())
    seed.shuffle(order)
    comparison = TreeComparison(reader, baseline.id, strict=strict)
    found = [comparison.feed_many(order)] if together else [comparison.feed(*directory) for directory in order]
    new = {path for part in found for path in part.new}
    differing = {path for part in found for path in part.differing}
    missing = [path for part in found for path in part.missing]
    for part in comparison.finish(2):
        assert len(part) <= 2
        missing += part
    before, now = flat(known), flat(disk)
    assert new == now.keys() - before.keys()
    assert differing == {path for path in now.keys() & before.keys() if not same(now[path], before[path], strict)}
    assert sorted(missing) == sorted(before.keys() - now.keys())


def test_one_directory_by_itself(manifest: Manifest, reader: ManifestReader, baseline: Baseline) -> None:
    fill(
        manifest,
        baseline.id,
        {"": {"a": (1, 1, 1, 1)}, "d": {"x": (2, 2, 2, 2), "y": (3, 3, 3, 3)}, "d/e": {"z": (4, 4, 4, 4)}},
    )
    entries = {"x": (2, 2, 2, 9), "n": (5, 5, 5, 5)}
    assert reader.differences(baseline.id, "d", entries) == (["d/n"], [], ["d/y"])
    assert reader.differences(baseline.id, "d", entries, strict=True) == (["d/n"], ["d/x"], ["d/y"])
    many = reader.differences_many(baseline.id, [("", {}), ("d", entries), ("d/e", {"z": (4, 4, 4, 5)})])
    assert many == (["d/n"], [], ["a", "d/y"])
    assert reader.differences(baseline.id + 1, "d", entries).new == ["d/x", "d/n"]


def test_a_racy_row_is_to_be_looked_at_again(manifest: Manifest, reader: ManifestReader, baseline: Baseline) -> None:
    manifest.put(baseline.id, [("a", FileIdentity(1, 1, 1, 1), RACY)])
    assert reader.differences(baseline.id, "", {"a": (1, 1, 1, 1)}) == ([], ["a"], [])


def test_a_file_that_is_the_root(manifest: Manifest, reader: ManifestReader, baseline: Baseline) -> None:
    manifest.put(baseline.id, [("", FileIdentity(1, 1, 1, 1), 0)])
    assert reader.differences(baseline.id, "", {"": FileIdentity(1, 2, 1, 1)}) == ([], [""], [])
    assert TreeComparison(reader, baseline.id).feed("", {}) == ([], [], [""])


def test_nothing_is_missing_below_what_was_skipped(
    manifest: Manifest, reader: ManifestReader, baseline: Baseline
) -> None:
    fill(manifest, baseline.id, {"a/b": {"x": (1, 1, 1, 1)}, "a/c": {"y": (1, 1, 1, 1)}, "d": {"z": (1, 1, 1, 1)}})
    comparison = TreeComparison(reader, baseline.id)
    comparison.skip("d")
    comparison.feed("", {})
    comparison.feed("a", {})
    comparison.skip("a/b")
    assert list(comparison.finish()) == [["a/c/y"]]


def test_a_walk_from_the_top_remembers_only_its_frontier(
    manifest: Manifest, reader: ManifestReader, baseline: Baseline
) -> None:
    tree: Tree = {f"{top}/{sub}": {"x": (1, 1, 1, 1)} for top in range(20) for sub in range(20)}
    fill(manifest, baseline.id, tree)
    comparison = TreeComparison(reader, baseline.id)
    comparison.feed("", {})
    for top in range(20):
        comparison.feed(str(top), {})
        for sub in range(20):
            comparison.feed(f"{top}/{sub}", tree[f"{top}/{sub}"])
        comparison.feed(f"{top}/new", {"n": (1, 1, 1, 1)})
        assert comparison.statistics() == {"expected": 19 - top, "early": 0}


def test_the_loop_writes_and_checkpoints_while_a_thread_reads(
    database: Database, manifest: Manifest, reader: ManifestReader, baseline: Baseline
) -> None:
    found: list[int] = []

    def read() -> None:
        found.extend(len(reader.differences(baseline.id, "", {}).missing) for _ in range(50))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(50):
        manifest.put(baseline.id, [(f"{number:03}-{n}", FileIdentity(1, 1, 1, 1), 0) for n in range(10)])
    database.checkpoint()
    thread.join()
    assert found == sorted(found)
    assert all(number % 10 == 0 for number in found)
    assert len(reader.differences(baseline.id, "", {}).missing) == 500


def test_a_damaged_file_is_reported_and_suspect(database: Database, manifest: Manifest, baseline: Baseline) -> None:
    manifest.put(baseline.id, [(f"d/{n}", FileIdentity(n, 1, 1, 1), 0) for n in range(5000)])
    database.close()
    path = Path(database.path)
    data = bytearray(path.read_bytes())
    for page in range(30, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    told: list[StateError] = []
    with ManifestReader(str(path), told.append) as reader, pytest.raises(StateError, match="malformed"):
        reader.differences(baseline.id, "d", {})
    assert [error.corrupt for error in told] == [True]
    assert os.path.exists(f"{path}.suspect")
