"""The action checksum in a whole daemon: real damage, real disks that come and go, clocks that stand still."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control import client
from filewatchd.control.api import socket_in
from filewatchd.control.places import action_place
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Record
from tests.amounts import SOAK, amount
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, rule_state
from tests.scripts.mounts import Mounts, programs

ODD = os.fsdecode(b"odd \xff\n\\' ")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts filesystems and becomes other users")


class Indexed:
    """A daemon with a rule that keeps an index."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.root = daemon.root

    def start(self, _user: str | None = None, _within: float = 30.0, **options: Any) -> None:
        """Start it, and wait for the build."""
        more = {} if _user is None else {"user": _user}
        action = "checksum: " + json.dumps(options)
        self.daemon.configure(self.daemon.rule(actions=action, **more))
        self.daemon.start()
        self.built(_within)

    def built(self, within: float = 30.0) -> None:
        """Wait for the end of the build."""
        eventually(lambda: self.run("build")["state"] == "done", "the index is built", within)

    def asks(self, endpoint: str, *, acts: bool = False, **arguments: Any) -> dict[str, Any]:
        socket = socket_in(str(self.daemon.directory / "run"))
        return client.ask(socket, action_place("checksum", endpoint, acts=acts), arguments)

    def run(self, kind: str) -> dict[str, Any]:
        """The last run of a kind."""
        return next((dict(run) for run in self.asks("runs")["runs"] if run["kind"] == kind), {"state": "", "id": 0})

    def verify(self, mode: str = "full") -> None:
        (number,) = self.asks("verify", acts=True, mode=mode)["runs"]

        def over() -> bool:
            runs = self.asks("runs")["runs"]  # a root that is back is verified besides
            return any((run["id"], run["state"]) == (number, "done") for run in runs)

        eventually(over, "the verify is over", 30)

    def rows(self) -> dict[str, Record]:
        with Reader(str(self.daemon.state_dir / "index.db")) as reader:
            return {path: row for root in reader.roots() for path, row in reader.rows(root.id)}

    def told(self, *states: str) -> list[tuple[str, str]]:
        with Reader(str(self.daemon.state_dir / "index.db")) as reader:
            return [(change.verdict.value, change.path) for change in reader.changes(states=states)]

    def knows(self, name: str) -> None:
        """Wait until the row of a file has its digest."""
        digest = hashlib.sha256((self.root / name).read_bytes()).digest()
        eventually(lambda: name in (rows := self.rows()) and rows[name].digest == digest, f"{name} is known", 20)


@pytest.fixture
def indexed(daemon: Daemon) -> Indexed:
    return Indexed(daemon)


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """Filesystems that are taken away again."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in programs("ext4")):
        pytest.skip("needs root and mkfs.ext4 to mount a filesystem")
    found = Mounts(tmp_path)
    yield found
    found.close()


def test_changes_of_a_day(indexed: Indexed) -> None:
    root = indexed.root
    for name in ("written", "gone", "chmod", "old/a", "old/b", ODD):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(os.urandom(100))
    indexed.start(checksum_file="SHA256SUMS")
    check = ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"]
    eventually((root / "SHA256SUMS").exists, "the checksum file is there", 20)
    subprocess.run(check, cwd=root, check=True)
    (root / "written").write_text("other")
    (root / "gone").unlink()
    (root / "chmod").chmod(0o600)
    (root / "old").rename(root / "new")
    expected = [
        ("deleted", "gone"),
        ("metadata", "chmod"),
        ("modified", "written"),
        ("moved", "new/a"),
        ("moved", "new/b"),
    ]
    eventually(lambda: len(indexed.told()) >= 5, "all is told", 20)
    assert sorted(indexed.told()) == expected
    indexed.knows("written")
    ask(indexed.daemon, "flush")

    def agrees() -> bool:
        return subprocess.run(check, cwd=root, capture_output=True).returncode == 0

    eventually(agrees, "the checksum file agrees with the files", 20)
    for mode in ("quick", "full"):
        indexed.verify(mode)
    assert sorted(indexed.told()) == expected
    changes = client.text(socket_in(str(indexed.daemon.directory / "run")), "changes")
    assert str(root / "written") in changes
    assert str(root / "SHA256SUMS") not in changes  # it triggers no job


def test_what_changed_while_it_was_down(indexed: Indexed) -> None:
    root = indexed.root
    for name in ("written", "gone", "moved"):
        (root / name).write_bytes(os.urandom(100))
    indexed.start()
    indexed.daemon.kill()
    (root / "written").write_text("other")
    (root / "gone").unlink()
    (root / "moved").rename(root / "there")
    indexed.daemon.start()
    eventually(lambda: len(indexed.told()) >= 3, "all is told", 20)
    assert sorted(indexed.told()) == [("deleted", "gone"), ("modified", "written"), ("moved", "there")]
    assert set(indexed.rows()) == {"written", "there"}


def test_a_root_that_is_moved_away_and_back(indexed: Indexed) -> None:
    """One finding, and no row is lost; when it is back, what is otherwise is told by itself."""
    root, away = indexed.root, indexed.root.with_name("away")
    for name in ("a", "d/b", "c"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    indexed.start()
    before = indexed.rows()
    root.rename(away)
    eventually(lambda: indexed.told("open") == [("root-gone", "")], "the root is told as gone", 20)
    assert indexed.rows() == before
    (away / "a").unlink()
    away.rename(root)
    eventually(lambda: ("deleted", "a") in indexed.told("accepted"), "what was deleted meanwhile is told", 20)
    assert indexed.told("open") == []
    assert sorted(indexed.told()) == [("deleted", "a"), ("root-gone", "")]


def test_logs_that_logrotate_shifts_are_moved(indexed: Indexed, program: Callable[[str], str]) -> None:
    """While the log's writer goes on, and there is a fresh one at once."""
    root, config = indexed.root, indexed.daemon.directory / "logrotate"
    (root / "app.log").write_text("first\n")
    (root / "app.log.1").write_text("older\n")
    indexed.start(growing=True)
    config.write_text(f"{root}/app.log {{\nrotate 9\ncreate\n}}\n")
    config.chmod(0o600)
    with (root / "app.log").open("a") as writer:
        writer.write("second\n")
        writer.flush()
        state = str(config.with_suffix(".state"))
        subprocess.run([program("logrotate"), "--force", "--state", state, config], check=True)
        eventually(lambda: {path for _, path in indexed.told()} >= {"app.log", "app.log.1", "app.log.2"}, "told", 20)
    assert indexed.told("open") == []
    found = {path: verdict for verdict, path in indexed.told()}
    assert found["app.log.2"] == "moved"
    assert found["app.log.1"] in ("grown", "moved")  # its last line may have been seen before
    assert found["app.log"] == "new"
    indexed.verify()
    assert indexed.told("open") == []


@root_only
def test_damage_on_a_disk_that_was_away(indexed: Indexed, mounts: Mounts, tmp_path: Path) -> None:
    """Unmounted: nothing is lost. Mounted with another device number: nothing is told. Bytes flipped: corrupt."""
    root = indexed.root
    mounts.mount("ext4", str(root))
    for number in range(5):
        (root / f"file-{number}").write_bytes(os.urandom(10_000))
    os.sync()
    blocks = subprocess.run(["filefrag", "-v", "-b4096", root / "file-3"], capture_output=True, text=True, check=True)
    match = re.search(r"^ *0: +0\.\. +\d+: +(\d+)\.\.", blocks.stdout, re.MULTILINE)
    assert match is not None, blocks.stdout
    indexed.start()
    before, device = indexed.rows(), root.stat().st_dev
    mounts.umount(str(root))
    ask(indexed.daemon, "flush")
    indexed.verify()
    assert indexed.told() == [("root-gone", "")]
    assert indexed.rows() == before
    with (tmp_path / "ext4-disk.img").open("r+b") as image:
        image.seek(int(match[1]) * 4096 + 5000)
        (byte,) = image.read(1)
        image.seek(-1, os.SEEK_CUR)
        image.write(bytes([byte ^ 0x40]))
    (tmp_path / "other").mkdir()
    mounts.mount("ext4", str(tmp_path / "other"), "another")  # takes the loop device
    mounts.mount("ext4", str(root))
    assert root.stat().st_dev != device
    eventually(lambda: len(indexed.asks("status")["roots"]) == 1, "it answers", 20)
    ask(indexed.daemon, "flush")
    indexed.verify("quick")
    assert indexed.told("open") == []
    for _ in range(2):
        indexed.verify("full")
        assert indexed.told("open") == [("corrupt", "file-3")]
    assert indexed.rows()["file-3"].digest == before["file-3"].digest


@root_only
def test_two_writes_within_one_tick(indexed: Indexed, mounts: Mounts) -> None:
    """Timestamps of whole seconds: a second write of a size leaves no trace in them, and the row is right."""
    root = indexed.root
    mounts.mount("ext4-128", str(root))
    indexed.start()
    for number in range(5):
        (root / f"file-{number}").write_text("first.")
        indexed.knows(f"file-{number}")
        (root / f"file-{number}").write_text("second")
    for number in range(5):
        indexed.knows(f"file-{number}")
    indexed.verify()
    assert not {("corrupt", f"file-{number}") for number in range(5)} & set(indexed.told())


def test_a_hard_link_that_is_edited_elsewhere(indexed: Indexed, tmp_path: Path) -> None:
    (indexed.root / "inside").write_text("first")
    os.link(indexed.root / "inside", tmp_path / "outside")
    indexed.start()
    (tmp_path / "outside").write_text("second")  # no event in the root tells of it
    indexed.verify("quick")
    assert indexed.told() == [("modified", "inside")]
    indexed.knows("inside")


def test_many_files_renamed_at_once(indexed: Indexed) -> None:
    (indexed.root / "old").mkdir()
    count = amount(3000, 10_000)
    for number in range(count):
        (indexed.root / "old" / f"file-{number}").write_bytes(b"x")
    indexed.start()
    hashed = indexed.run("build")["bytes"]
    assert hashed == count
    (indexed.root / "old").rename(indexed.root / "new")
    ask(indexed.daemon, "flush")
    assert {path[:4] for path in indexed.rows()} == {"new/"}
    assert {verdict for verdict, _ in indexed.told()} == {"moved"}
    assert rule_state(indexed.daemon)["actions"][0]["hashed_bytes"] == hashed


def test_a_large_hole(indexed: Indexed) -> None:
    """8 GiB of nothing; in soak runs 1 TiB, of which ext4 keeps nothing either."""
    size = amount(8 << 30, 1 << 40)
    with (indexed.root / "sparse").open("wb") as file:
        file.truncate(size)
    indexed.start(_within=3600.0 if SOAK else 60.0, algorithm="blake3")
    row = indexed.rows()["sparse"]
    assert (row.identity.size, row.algorithm) == (size, "blake3")
    if not SOAK:
        assert row.digest is not None
        assert row.digest.hex() == "875283713208b0d6be59b2c6862b0a3cfdd8ebe5366b815e34dfffd98554ef26"  # b3sum's


@root_only
def test_as_the_rules_user(indexed: Indexed) -> None:
    """What its user may not read is a finding; the rest is known."""
    indexed.daemon.root = indexed.root = Path(tempfile.mkdtemp(prefix="filewatchd-"))
    try:
        for name in ("mine", "secret", ODD):
            (indexed.root / name).write_text("x")
        (indexed.root / "secret").chmod(0o600)
        for path in (indexed.root, indexed.root / "mine", indexed.root / ODD):
            shutil.chown(path, "nobody")
        indexed.start("nobody")
        assert set(indexed.rows()) == {"mine", ODD}
        assert indexed.told("open") == [("unreadable", "secret")]
        (indexed.root / "secret").chmod(0o644)
        eventually(lambda: "secret" in indexed.rows(), "it is read", 20)
        assert indexed.told("open") == []
    finally:
        shutil.rmtree(indexed.root)


def test_a_kill_in_the_middle_of_a_build(indexed: Indexed) -> None:
    for number in range(6_000):
        path = indexed.root / f"{number % 60}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}")
    large = indexed.root / "last" / "large"  # to read it takes seconds: until then the build isn't over
    large.parent.mkdir()
    large.touch()
    os.truncate(large, 2 << 30)
    action = "checksum: {}"
    indexed.daemon.configure(indexed.daemon.rule(actions=action))
    index = indexed.daemon.state_dir / "index.db"
    indexed.daemon.process = indexed.daemon.launch()

    def begun() -> bool:
        try:
            return len(indexed.rows()) > 500 if index.exists() else False
        except Exception:  # noqa: BLE001 - it is being made
            return False

    eventually(begun, "some files are known", 30)
    indexed.daemon.kill()
    assert "last/large" not in indexed.rows()
    indexed.daemon.start()
    indexed.built()
    assert len(indexed.rows()) == 6_001
    assert indexed.run("build")["files"] == 6_001  # it went on where it was
    assert indexed.told() == []


def test_a_damaged_index_is_built_anew(indexed: Indexed) -> None:
    (indexed.root / "a").write_text("a")
    indexed.start()
    indexed.daemon.kill()
    index = indexed.daemon.state_dir / "index.db"
    for path in (index, index.with_name("index.db-wal")):
        if path.exists():
            path.write_bytes(b"no database" * 1000)
    indexed.daemon.start()
    indexed.built()
    assert set(indexed.rows()) == {"a"}
    status = indexed.asks("status")
    assert Path(status["set_aside"]).exists()
    findings = ask(indexed.daemon, "status")["findings"]
    assert any(finding["key"] == "index-set-aside" for finding in findings)
