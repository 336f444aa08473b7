"""Symlinks and directories in the index of a real daemon: told at once, and after what nobody saw."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from filewatchd.state.index.reading import Reader
from tests.e2e.running import Daemon, eventually
from tests.e2e.test_index import ctl, document, started

OPTIONS = "{types: [files, directories, symlinks], approval: required}"


def tree(root: Path) -> None:
    for name in ("wants", "empty", "d/inner"):
        (root / name).mkdir(parents=True)
    (root / "tool").write_text("tool")
    (root / "wants/unit").symlink_to("../tool")
    (root / "d/inner/link").symlink_to("x")


def told(daemon: Daemon) -> dict[str, str]:
    """What waits: path -> verdict."""
    with Reader(str(daemon.state_dir / "index.db")) as reader:
        return {change.path: change.verdict.value for change in reader.changes()}


def approve(daemon: Daemon) -> None:
    ctl(daemon, "approve", "--all", "--yes")


def expect(daemon: Daemon, **wanted: str) -> None:
    """Wait until exactly these wait, and approve them."""
    eventually(lambda: told(daemon) == wanted, f"{wanted} wait", 20)
    approve(daemon)


def retarget(link: Path, target: str) -> None:
    """As `ln -sfn` does: another link is renamed over it."""
    new = link.with_name(".new")
    new.symlink_to(target)
    new.rename(link)


def test_each_is_told_when_it_happens(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    started(daemon, OPTIONS)
    approve(daemon)  # what the first build came too late for
    eventually(lambda: told(daemon) == {}, "nothing waits", 20)
    retarget(root / "wants/unit", "/bin/sh")
    expect(daemon, **{"wants/unit": "modified"})
    (root / "d").chmod(0o777)
    expect(daemon, **{"d/": "metadata"})
    root.chmod(0o711)
    expect(daemon, **{"": "metadata"})
    (root / "empty").rmdir()
    expect(daemon, **{"empty/": "deleted"})
    subprocess.run("mkdir -p new/a/b && ln -s x new/a/b/link && ln -s y new/a/l", shell=True, cwd=root, check=True)
    expect(daemon, **dict.fromkeys(("new/", "new/a/", "new/a/b/", "new/a/b/link", "new/a/l"), "new"))
    (root / "new/a").rename(root / "wants/a")
    expect(daemon, **dict.fromkeys(("wants/a/", "wants/a/b/", "wants/a/b/link", "wants/a/l"), "moved"))
    (root / "wants/unit").rename(root / "unit")
    expect(daemon, unit="moved")
    (root / "tool").unlink()
    (root / "tool").symlink_to("unit")
    expect(daemon, tool="modified")
    subprocess.run(["rm", "-r", "wants/a"], cwd=root, check=True)
    expect(daemon, **dict.fromkeys(("wants/a/", "wants/a/b/", "wants/a/b/link", "wants/a/l"), "deleted"))
    assert document(daemon, "audit")["faults"] == []
    assert not document(daemon, "verify")["findings"]


def test_what_happened_while_the_daemon_was_dead_is_told_by_the_next(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    started(daemon, OPTIONS)
    approve(daemon)
    daemon.kill()
    retarget(root / "d/inner/link", "elsewhere")
    (root / "wants").chmod(0o777)
    (root / "made").mkdir()
    (root / "wants/unit").unlink()
    daemon.start()
    expect(daemon, **{"d/inner/link": "modified", "wants/": "metadata", "made/": "new", "wants/unit": "deleted"})


def test_the_type_is_said_and_lists_of_sums_leave_them_out(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    odd = os.fsdecode(b"to \xff\n")
    (root / "odd").symlink_to(odd)
    started(daemon, "{types: [files, symlinks, directories], checksum_file: SUMS}")
    eventually((root / "SUMS").exists, "the list is there", 20)
    assert [line.split()[1] for line in (root / "SUMS").read_text().splitlines()] == ["tool"]
    assert ctl(daemon, "export", "--relative").split()[1:] == ["tool"]
    listed = [json.loads(line) for line in ctl(daemon, "export", "--relative", "--json").splitlines()]
    types = {each["path"]: each["type"] for each in listed}
    assert types == {
        "tool": "file", "wants/unit": "symlink", "d/inner/link": "symlink", "odd": "symlink",
        **dict.fromkeys((root.name, "wants/", "empty/", "d/", "d/inner/"), "directory"),
    }  # fmt: skip
    sums = daemon.directory / "list.json"
    sums.write_text("".join(json.dumps(each) + "\n" for each in listed))
    assert document(daemon, "check", sums, "--base", root)["files"] == 1
    shown = ctl(daemon, "show", root / "wants/unit")
    assert "symlink" in shown
    assert "../tool" in shown
    assert "directory" in ctl(daemon, "show", root / "wants")
    assert f"{root}/wants/unit -> ../tool\n" in ctl(daemon, "ls")
    (story,) = document(daemon, "show", root / "odd")["files"]
    assert story["row"]["target_b64"]
    csv = ctl(daemon, "export", "--format", "csv").splitlines()
    assert csv[0].endswith("size,type,target,target_b64")
