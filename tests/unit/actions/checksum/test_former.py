"""Deletions that are a package's doing, and those that aren't: real packages, upgraded and removed by dpkg."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.packages.former import Deleted, labels, survey
from filewatchd.model import Kind
from filewatchd.state.index import shipped
from filewatchd.state.index.forgetting import forget
from filewatchd.state.index.shipped import Shipped, packed
from filewatchd.testing import FakeClock
from tests.unit.actions.checksum import installing
from tests.unit.actions.checksum.scene import Scene, story

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs for root only")
FILES = ["lib/f0", "lib/f1", "lib/f2", "lib/f3"]


def install(
    place: Path, version: str, names: Sequence[str], *, name: str = "tool", conffiles: Sequence[str] = ()
) -> None:
    """Install this version of a package of these files, with the version in each."""
    top = str(place / "root").lstrip("/")
    files = {f"{top}/{each}": f"{each} {version}\n" for each in names}
    kept = [f"{top}/{each}" for each in conffiles]
    installing.dpkg_in_place(place, installing.deb(place / "build", name, version, files, conffiles=kept))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    installing.dpkg_root(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/mine").touch()
    install(tmp_path, "1", FILES)
    return tmp_path


def waits(scene: Scene) -> dict[str, str | None]:
    return {change.path: change.label for change in scene.changes("pending")}


async def gathered(scene: Scene) -> None:
    """The moment that changes gather is over."""
    scene.clock.advance(3.0)
    await scene.follow()


async def deleted(scene: Scene, *names: str) -> None:
    """These are gone, and that was noticed."""
    assert not [name for name in names if (scene.root / name).exists()]
    await scene.changed(*names, kind=Kind.DELETED)
    await gathered(scene)


async def by_hand(scene: Scene, name: str) -> None:
    """Delete one, and notice it."""
    (scene.root / name).unlink()
    await deleted(scene, name)


@story
async def test_what_an_upgrade_deletes_is_part_of_its_finding(place: Path) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        install(place, "2", FILES[:2])
        await scene.changed(*FILES[:2])
        await deleted(scene, *FILES[2:])
        assert waits(scene) == dict.fromkeys(FILES, "dpkg tool 2")
        assert list(scene.ctx.findings) == ["index-packages"]
        assert "package tool 1 \N{RIGHTWARDS ARROW} 2, 4 files;" in scene.ctx.findings["index-packages"][0]
        assert (await scene.ask("approve", package="tool")).changes == 4
        assert sorted(scene.rows()) == [*FILES[:2], "mine"]


@story
async def test_what_a_removal_deletes_is_one_finding_also_of_the_last_package(place: Path) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        installing.in_place(place, "--remove", "tool")
        await deleted(scene, *FILES)
        assert waits(scene) == dict.fromkeys(FILES, "dpkg tool removed")
        assert "package tool 1 \N{RIGHTWARDS ARROW} removed, 4 files;" in scene.ctx.findings["index-packages"][0]
        assert (await scene.ask("approve", package="tool")).changes == 4
        install(place, "3", FILES)
        await scene.changed(*FILES)
        await gathered(scene)
        assert "package tool removed \N{RIGHTWARDS ARROW} 3, 4 files;" in scene.ctx.findings["index-packages"][0]


@story
async def test_an_upgrade_that_nobody_saw_is_told_by_the_next_walk(place: Path) -> None:
    clock = FakeClock()
    async with Scene(place, clock, approval="required") as scene:
        await scene.ask("approve", all=True)
    clock.advance(60.0)
    install(place, "2", FILES[:2])
    async with Scene(place, clock, approval="required") as scene:
        await scene.verify("quick")
        await gathered(scene)
        assert waits(scene) == dict.fromkeys(FILES, "dpkg tool 2")


@story
async def test_a_deletion_by_hand_is_never_a_packages(place: Path) -> None:
    clock = FakeClock()
    async with Scene(place, clock, approval="required") as scene:
        await scene.ask("approve", all=True)
        await by_hand(scene, "lib/f0")  # the next version has it
        await by_hand(scene, "lib/f3")  # and hasn't this
        clock.advance(60.0)
        install(place, "2", FILES[1:3])
        await scene.changed(*FILES[1:3])
        await gathered(scene)
        await by_hand(scene, "lib/f2")
        expected = {"lib/f0": None, "lib/f1": "dpkg tool 2", "lib/f2": None, "lib/f3": None}
        assert waits(scene) == expected
    clock.advance(60.0)
    async with Scene(place, clock, approval="required") as scene:  # which looks at earlier changes once more
        scene.action.labelling.news()
        await gathered(scene)
        assert waits(scene) == expected


@story
async def test_a_file_that_somebody_made_where_a_package_had_one_is_theirs(place: Path) -> None:
    async with Scene(place, FakeClock()) as scene:
        install(place, "2", FILES[:2])
        await scene.changed(*FILES[:2])
        await deleted(scene, *FILES[2:])
        (scene.root / "lib/f3").write_text("mine\n")
        await scene.changed("lib/f3")
        await gathered(scene)
        await by_hand(scene, "lib/f3")
        assert [(each.verdict.value, each.label) for each in scene.changes() if each.path == "lib/f3"] == [
            ("deleted", "dpkg tool 2"),
            ("new", None),
            ("deleted", None),
        ]


@story
async def test_a_file_that_another_package_took_over_is_that_ones(place: Path) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        install(place, "2", FILES[:3])
        install(place, "1", FILES[3:], name="other")
        await by_hand(scene, "lib/f3")
        assert waits(scene) == {"lib/f3": None}


@story
async def test_a_configuration_file_is_a_packages_until_it_is_purged(place: Path) -> None:
    install(place, "2", [*FILES, "a.conf", "b.conf"], conffiles=["a.conf", "b.conf"])
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        installing.in_place(place, "--remove", "tool")
        await deleted(scene, *FILES)
        await by_hand(scene, "a.conf")
        installing.in_place(place, "--purge", "tool")
        await deleted(scene, "b.conf")
        assert waits(scene) == dict.fromkeys([*FILES, "b.conf"], "dpkg tool removed") | {"a.conf": None}


@story
async def test_while_dpkg_runs_nothing_is_remembered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        monkeypatch.setattr(Dpkg, "busy", lambda self: True)
        (scene.root / "lib/f3").unlink()  # unpacked, and not yet written down
        await deleted(scene, "lib/f3")
        assert waits(scene) == {"lib/f3": None}
        install(place, "2", FILES[:3])
        monkeypatch.setattr(Dpkg, "busy", lambda self: False)
        scene.clock.advance(11.0)
        await scene.follow()
        assert waits(scene) == {"lib/f3": "dpkg tool 2"}
        with scene.reader() as reader:
            assert shipped.current(reader, 1) == {"dpkg tool": "2"}


@story
async def test_two_former_lists_are_kept_for_a_week_and_all_with_their_root(place: Path) -> None:
    async with Scene(place, FakeClock()) as scene:
        index = scene.action.index
        news = survey(Dpkg(str(place)), str(scene.root), {"dpkg tool": "1"}, 10)
        assert news.lists == {}
        for version, asked in (("2", 20), ("3", 30), ("4", 40)):
            lists = {"dpkg tool": (version, packed([b"/a"])), "dpkg none": (version, b"")}
            with index.edit() as edit:
                shipped.note(edit, 1, news._replace(asked_ns=asked, written_ns=asked // 5, lists=lists))
        with scene.reader() as reader:
            kept = {(each.package, each.version, each.until_ns) for each in shipped.shipped(reader, 1)}
        assert kept == {
            ("dpkg tool", "2", 6),
            ("dpkg tool", "3", 8),
            ("dpkg tool", "4", None),
            ("dpkg none", "4", None),
        }
        with index.edit() as edit:
            shipped.note(edit, 1, news._replace(asked_ns=9 + shipped.KEPT_NS, lists={}))
        with scene.reader() as reader:
            assert sorted(each.version for each in shipped.shipped(reader, 1)) == ["4", "4"]
        forget(index, "rule")
        with scene.reader() as reader:
            assert shipped.shipped(reader, 1) == []
            assert shipped.surveyed(reader, 1) == 0


def test_a_list_takes_few_bytes_and_is_bounded() -> None:
    names = [b"/usr/share/doc/package-%d/examples/file-%d.html" % (at % 50, at) for at in range(4000)]
    kept = packed(names)
    assert len(kept) < 12 * len(names)
    assert Shipped("dpkg a", "1", 0, None, kept).files() == frozenset(names)
    assert packed([]) == b""
    assert packed([b"x" * (shipped.LARGEST + 1)]) == b""


def test_merged_usr_diversions_and_half_installed_packages(tmp_path: Path) -> None:
    root = installing.dpkg_root(tmp_path / "root")
    dpkg = Dpkg(str(root))
    files = {"lib/old": "1", "lib/aside": "1", "lib/kept": "1"}
    installing.dpkg(root, "dpkg-divert", "--package", "other", "--no-rename", "--add", "/lib/aside")
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "tool", "1", files))
    news = survey(dpkg, "/lib", {}, 0)
    ((package, (version, kept)),) = news.lists.items()
    lists = [Shipped(package, version, 0, None, kept)]
    assert lists[0].files() == {b"/usr/lib/old", b"/usr/lib/aside", b"/usr/lib/kept"}
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "tool", "2", {"lib/kept": "2"}))
    gone = [Deleted(f"/lib/{name}", 1, 1) for name in ("old", "aside", "aside.distrib", "kept")]
    expected = {"/lib/old": "dpkg tool 2", "/lib/aside.distrib": "dpkg tool 2"}
    assert labels(dpkg, gone, lists, 1) == expected
    assert labels(dpkg, gone, lists, 2) == {}
    assert labels(dpkg, gone, [lists[0]._replace(version="2")], 1) == {}  # the same version
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("ok installed", "ok half-installed"))
    assert labels(dpkg, gone, lists, 1) == {}
    assert survey(dpkg, "/lib", {"dpkg tool": "1"}, 0)[2:] == ({}, frozenset())
