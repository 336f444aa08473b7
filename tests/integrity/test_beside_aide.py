"""docs/how-to/come-from-aide.md: what only AIDE tells, its line there that tells just that, and what both tell."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.unit.actions.checksum.scene import Scene, story

PAGE = Path(__file__).parents[2] / "docs/how-to/come-from-aide.md"
TYPES = ("files", "directories", "symlinks")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and gives directories away")


def aide(place: Path, root: Path, what: str, line: str = "") -> str:
    """Run AIDE, with the page's line for what has no row unless another one is said."""
    (ours,) = re.findall(r"^/usr (c,b,p,s .*)$", PAGE.read_text(), re.MULTILINE)
    config, database = place / "aide.conf", place / "aide.db"
    config.write_text(
        f"database_in=file:{database}\ndatabase_out=file:{database}\nreport_format=json\nreport_url=stdout\n"
        f"{root} {line or ours}\n"
    )
    done = subprocess.run(["aide", f"--config={config}", what], capture_output=True, text=True, check=False)
    assert done.returncode < 14, done
    return done.stdout


def differences(report: str, root: Path) -> dict[str, str]:
    """Path -> what AIDE says of it."""
    found = json.loads(report)
    return {
        os.path.relpath(path, root): word for word in ("added", "removed", "changed") for path in found.get(word, ())
    }


@story
async def test_what_has_no_row_is_told_by_aide_alone(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required", types=TYPES) as scene:
        root = scene.root
        (root / "file").write_text("content")
        await scene.verify()
        await scene.ask("approve", all=True)
        aide(tmp_path, root, "--init")
        os.mkfifo(root / "fifo")
        os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (root / "file").write_text("other content")
        for mode in ("quick", "full"):
            await scene.verify(mode)
        assert scene.told("pending", "open") == [("modified", "file")]
        assert differences(aide(tmp_path, root, "--check"), root) == {"fifo": "added", "device": "added"}


def give(directory: Path) -> None:
    """Let somebody else write there."""
    subprocess.run(["setfacl", "-m", "u:1:rwx", directory], check=True)


SAYS = {"new": "added", "deleted": "removed", "modified": "changed", "metadata": "changed"}


@pytest.mark.parametrize("told", [True, False], ids=["told", "verified"])
def test_of_symlinks_and_directories_both_say_the_same(tmp_path: Path, told: bool) -> None:
    line = "d,l p+ftype+l+u+g+X"
    names = ["mode", "owner", "gone", "made", "link", "lost", "fresh", "to/one", "became", "acl"]

    @story
    async def run() -> None:
        async with Scene(tmp_path, approval="required", types=TYPES) as scene:
            root = scene.root
            for name in ("mode", "owner", "gone", "to", "became", "quiet", "acl"):
                (root / name).mkdir()
            for name in ("link", "lost", "to/one", "as-it-was"):
                (root / name).symlink_to("here")
            scene.ctx.scan(str(root))
            await scene.verify()
            await scene.ask("approve", all=True)
            aide(tmp_path, root, "--init", line)
            (root / "mode").chmod(0o777)
            os.chown(root / "owner", 1, 1)
            (root / "made").mkdir()
            (root / "gone").rmdir()
            for name, target in (("link", "there"), ("to/one", "../there"), ("as-it-was", "here")):
                (root / name).unlink()
                (root / name).symlink_to(target)
            (root / "lost").unlink()
            (root / "fresh").symlink_to("/etc/shadow")
            give(root / "acl")
            (root / "quiet/file").write_text("a directory's times and size are no change")
            (root / "became").rmdir()
            (root / "became").symlink_to("mode")
            if told:
                for name in [*names, "as-it-was", "quiet"]:
                    scene.ctx.other(str(root), name)
                await scene.follow()
            else:
                await scene.verify("quick")
            ours = {path: SAYS[verdict] for verdict, path in scene.told("pending") if path != "quiet/file"}
            theirs = differences(aide(tmp_path, root, "--check", line), root)
            assert theirs.pop("became") == "changed"  # a directory that is a symlink now: one of ours each
            assert (ours.pop("became"), ours.pop("became/")) == ("added", "removed")
            assert {path.rstrip("/"): word for path, word in ours.items()} == theirs
            assert set(theirs) == set(names) - {"became"}

    run()
