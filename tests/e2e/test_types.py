"""Symlinks and directories in the index of a real daemon: told at once, and after what nobody saw."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Change, Record, Type
from tests.amounts import amount
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask
from tests.e2e.test_index import ctl, document, started

TYPES = "types: [files, directories, symlinks]"


def tree(root: Path) -> None:
    for name in ("wants", "empty", "d/inner"):
        (root / name).mkdir(parents=True)
    (root / "tool").write_text("tool")
    (root / "wants/unit").symlink_to("../tool")
    (root / "d/inner/link").symlink_to("x")


class Told:
    """What the index tells of, as it goes on."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._last = 0
        self._last = max([0, *(change.id for change in self._new())])

    def _new(self) -> list[Change]:
        with Reader(str(self._daemon.state_dir / "index.db")) as reader:
            return reader.changes(states=(), after=self._last)

    def expect(self, **wanted: str) -> None:
        """Wait until exactly these are told: path -> verdict."""
        eventually(lambda: {c.path: c.verdict.value for c in self._new()} == wanted, f"{wanted} is told", 20)
        self._last = self._new()[-1].id


def retarget(link: Path, target: str) -> None:
    """As `ln -sfn` does: another link is renamed over it."""
    new = link.with_name(".new")
    new.symlink_to(target)
    new.rename(link)


def test_each_is_told_when_it_happens(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    started(daemon, f"{{{TYPES}}}")
    told = Told(daemon)
    retarget(root / "wants/unit", "/bin/sh")
    told.expect(**{"wants/unit": "modified"})
    (root / "d").chmod(0o777)
    told.expect(**{"d/": "metadata"})
    root.chmod(0o711)
    told.expect(**{"": "metadata"})
    (root / "empty").rmdir()
    told.expect(**{"empty/": "deleted"})
    subprocess.run("mkdir -p new/a/b && ln -s x new/a/b/link && ln -s y new/a/l", shell=True, cwd=root, check=True)
    told.expect(**dict.fromkeys(("new/", "new/a/", "new/a/b/", "new/a/b/link", "new/a/l"), "new"))
    (root / "d/inner").rename(root / "wants/now")
    told.expect(**dict.fromkeys(("wants/now/", "wants/now/link"), "moved"))
    (root / "wants/unit").rename(root / "unit")
    told.expect(unit="moved")
    (root / "tool").unlink()
    (root / "tool").symlink_to("unit")
    told.expect(tool="modified")
    subprocess.run(["rm", "-r", "wants/now"], cwd=root, check=True)
    told.expect(**dict.fromkeys(("wants/now/", "wants/now/link"), "deleted"))


def test_what_happened_while_the_daemon_was_dead_is_told_by_the_next(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    started(daemon, f"{{{TYPES}, approval: required}}")
    told = Told(daemon)
    daemon.kill()
    retarget(root / "d/inner/link", "elsewhere")
    (root / "wants").chmod(0o777)
    (root / "made").mkdir()
    (root / "wants/unit").unlink()
    daemon.start()
    told.expect(**{"d/inner/link": "modified", "wants/": "metadata", "made/": "new", "wants/unit": "deleted"})
    assert document(daemon, "approve", "--path", root, "--yes")["changes"] == 4
    assert document(daemon, "audit")["faults"] == []
    assert not document(daemon, "verify")["findings"]


def test_the_type_is_said_and_lists_of_sums_leave_them_out(daemon: Daemon) -> None:
    root = daemon.root
    tree(root)
    odd = os.fsdecode(b"to \xff\n")
    (root / "odd").symlink_to(odd)
    started(daemon, f"{{{TYPES}, checksum_file: SUMS}}")
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
    for name, word in (("wants/unit", "symlink"), ("wants", "directory")):
        (found,) = ask(daemon, "explain", path=str(root / name))["rules"]
        (reason,) = [each["text"] for each in found["reasons"] if each["about"] == "type"]
        assert word in reason
        assert reason.endswith("no job comes of it, but checksum is told of it")
    csv = ctl(daemon, "export", "--format", "csv").splitlines()
    assert csv[0].endswith("size,type,target,target_b64")


# ---- many changes


def on_disk(root: Path) -> dict[str, str]:
    """All that has a row: path -> what it is, and a symlink's target or a directory's mode."""
    found = {"": f"directory {root.stat().st_mode & 0o7777:o}"}
    for top, directories, files in os.walk(root):
        for path in (Path(top, name) for name in (*directories, *files)):
            name = str(path.relative_to(root))
            if path.is_symlink():
                found[name] = f"symlink {path.readlink()}"
            elif path.is_dir():
                found[f"{name}/"] = f"directory {path.stat().st_mode & 0o7777:o}"
            else:
                found[name] = "file"
    return found


def in_index(daemon: Daemon) -> dict[str, str]:
    """The same, as the index has it."""
    with Reader(str(daemon.state_dir / "index.db")) as reader:
        (root,) = reader.roots()
        return {path: told_of(row) for path, row in reader.rows(root.id)}


def told_of(row: Record) -> str:
    if row.type is Type.SYMLINK:
        return f"symlink {os.fsdecode(row.attributes.target or b'')}"
    return f"directory {(row.attributes.mode or 0) & 0o7777:o}" if row.type is Type.DIRECTORY else "file"


def retargeted(directory: Path, number: int) -> None:
    for each in directory.iterdir():
        if each.is_symlink():
            each.unlink()
            each.symlink_to(f"{number}")
            return


def replaced(directory: Path, number: int) -> None:
    shutil.rmtree(directory)
    if number % 2:
        directory.symlink_to("was a directory")


def renewed(directory: Path, number: int) -> None:
    (directory / f"new{number}/in").mkdir(parents=True)
    (directory / f"new{number}/in/link").symlink_to("x")


@pytest.mark.parametrize("seed", range(amount(1, 20)))
def test_the_index_is_what_is_on_disk_after_many_changes(daemon: Daemon, seed: int) -> None:
    root, chance = daemon.root, random.Random(seed)
    for number in range(60):
        (root / f"d{number % 10}/e{number}").mkdir(parents=True)
        (root / f"d{number % 10}/e{number}/link").symlink_to(f"{number}")
    started(daemon, f"{{{TYPES}}}")
    shutil.copytree(root, root / "copy", symlinks=True, ignore=lambda top, names: [n for n in names if n == "copy"])
    directories = [Path(top) for top, _, _ in os.walk(root) if top != str(root)]
    ways: list[Callable[[Path, int], object]] = [
        retargeted,
        replaced,
        renewed,
        lambda path, number: (path / f"n{number}").symlink_to("x"),
        lambda path, number: path.chmod(chance.choice((0o700, 0o755, 0o777))),
        lambda path, number: path.rename(chance.choice(directories) / f"moved{number}"),
    ]
    for number in range(amount(200, 1000)):
        path = chance.choice(directories)
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # into itself, or into what is gone
                chance.choice(ways)(path, number)
    eventually(lambda: in_index(daemon) == on_disk(root), "the index is what is on disk", 30)
