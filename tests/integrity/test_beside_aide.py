"""docs/how-to/come-from-aide.md: what only AIDE tells, and its line there that tells just that."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.unit.actions.checksum.scene import Scene, story

PAGE = Path(__file__).parents[2] / "docs/how-to/come-from-aide.md"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and gives directories away")


def aide(place: Path, root: Path, what: str) -> str:
    """Run AIDE with the page's line for what has no row."""
    (line,) = re.findall(r"^/usr (d,l,c,b,p,s .*)$", PAGE.read_text(), re.MULTILINE)
    config, database = place / "aide.conf", place / "aide.db"
    config.write_text(f"database_in=file:{database}\ndatabase_out=file:{database}\nreport_url=stdout\n{root} {line}\n")
    done = subprocess.run(["aide", f"--config={config}", what], capture_output=True, text=True, check=False)
    assert done.returncode < 14, done
    return done.stdout


@story
async def test_what_has_no_row_is_told_by_aide_alone(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        root = scene.root
        for name in ("mode", "owner", "gone"):
            (root / name).mkdir()
        (root / "link").symlink_to("here")
        (root / "file").write_text("content")
        await scene.verify()
        await scene.ask("approve", all=True)
        aide(tmp_path, root, "--init")
        (root / "mode").chmod(0o777)
        os.chown(root / "owner", 1, 1)
        (root / "gone").rmdir()
        (root / "made").mkdir()
        (root / "link").unlink()
        (root / "link").symlink_to("there")
        os.mkfifo(root / "fifo")
        os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (root / "file").write_text("other content")
        for mode in ("quick", "full"):
            await scene.verify(mode)
        assert scene.told("pending", "open") == [("modified", "file")]
        told = set(re.findall(rf"^\S+( .*)?: {root}/(\w+)$", aide(tmp_path, root, "--check"), re.MULTILINE))
        names = {name for _, name in told}
        assert names == {"mode", "owner", "gone", "made", "link", "fifo", "device"}
