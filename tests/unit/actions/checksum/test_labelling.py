"""Upgrades as they come to a rule: real packages, installed by dpkg into a database of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.model import Kind
from filewatchd.testing import FakeClock
from tests.unit.actions.checksum import installing
from tests.unit.actions.checksum.scene import Scene, story

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs for root only")
FILES = [f"lib/f{number}" for number in range(20)]


def package(place: Path, root: Path, version: str) -> None:
    """Install this version of a package of all files, with the version in each."""
    files = {f"{root}/{name}".lstrip("/"): f"{name} {version}\n" for name in FILES}
    installing.dpkg_in_place(place, installing.deb(place / "build", "tool", version, files))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    installing.dpkg_root(tmp_path)
    (tmp_path / "root").mkdir()
    package(tmp_path, tmp_path / "root", "1")
    return tmp_path


def waits(scene: Scene) -> dict[str, str | None]:
    return {change.path: change.label for change in scene.changes("pending")}


async def gathered(scene: Scene) -> None:
    """The moment that changes gather is over."""
    scene.clock.advance(3.0)
    await scene.follow()


@story
async def test_an_upgrade_is_one_finding_and_is_approved_as_one(place: Path) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        assert scene.ctx.findings == {}
        package(place, scene.root, "2")
        (scene.root / "lib/f0").write_text("an edit\n")
        (scene.root / "mine").write_text("mine\n")
        await scene.changed(*FILES, "mine")
        assert set(waits(scene).values()) == {None}
        await gathered(scene)
        assert waits(scene) == dict.fromkeys(FILES[1:], "dpkg tool 2") | {"lib/f0": None, "mine": None}
        said, _ = scene.ctx.findings["index-packages"]
        assert said.startswith("package tool 1 \N{RIGHTWARDS ARROW} 2, 19 files; approve with")
        assert scene.ctx.findings["index-modified"][0].startswith(f"modified: {scene.root}/lib/f0; see")
        assert (await scene.ask("approve", package="tool")).changes == 19
        assert sorted(scene.ctx.findings) == ["index-modified", "index-new"]
        package(place, scene.root, "3")
        await scene.changed("lib/f1")
        await gathered(scene)
        assert scene.ctx.findings["index-packages"][0].startswith("package tool 2 \N{RIGHTWARDS ARROW} 3, 1 file;")


@story
async def test_what_needs_no_approval_bears_its_label_all_the_same(place: Path) -> None:
    async with Scene(place, FakeClock()) as scene:
        scene.action.labelling.root = str(place)
        package(place, scene.root, "2")
        await scene.changed("lib/f1", "lib/f2")
        await gathered(scene)
        assert {change.path: change.label for change in scene.changes()} == dict.fromkeys(
            ["lib/f1", "lib/f2"], "dpkg tool 2"
        )
        with scene.reader() as reader:
            assert reader.packages()["dpkg tool"] == "2"


@story
async def test_while_dpkg_runs_it_is_asked_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filewatchd.actions.checksum.packages.dpkg import Dpkg

    running = True
    monkeypatch.setattr(Dpkg, "busy", lambda self: running)
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        (scene.root / "lib/f1").write_text("lib/f1 2\n")  # unpacked, and not yet written down
        await scene.changed("lib/f1")
        await gathered(scene)
        assert waits(scene) == {"lib/f1": None}
        package(place, scene.root, "2")
        scene.clock.advance(11.0)
        await scene.follow()
        assert waits(scene) == {"lib/f1": "dpkg tool 2"}
        running = False
        scene.clock.advance(11.0)
        await scene.follow()
        assert "packages" not in scene.ctx.timers.due


@story
async def test_a_file_that_a_package_removed_is_a_deletion_like_any(place: Path) -> None:
    async with Scene(place, FakeClock(), approval="required") as scene:
        await scene.ask("approve", all=True)
        (scene.root / "lib/f1").unlink()
        await scene.changed("lib/f1", kind=Kind.DELETED)
        await gathered(scene)
        assert waits(scene) == {"lib/f1": None}
        assert "index-packages" not in scene.ctx.findings


@story
async def test_where_no_package_has_files_nothing_is_asked(place: Path) -> None:
    (place / "elsewhere").mkdir()
    async with Scene(place, FakeClock(), root=place / "elsewhere") as scene:
        (scene.root / "a").write_text("a")
        await scene.changed("a")
        await gathered(scene)
        with scene.reader() as reader:
            assert reader.packages() == {}
