"""Which files and which kinds of change a rule is for."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ALL, CONTENT, configure, rule, second_recorder, sentinel, tell, told


def test_include_exclude_and_presets(daemon: Daemon) -> None:
    plain = second_recorder(daemon)
    configure(
        daemon,
        daemon.rule(include='["*.csv", "*.swp", "last"]', exclude='["*.part.csv", "out/"]'),
        rule("plain", plain.action(), roots=[str(daemon.root)], presets=[], include=["*.swp"]),
    )
    (daemon.root / "in").mkdir()
    (daemon.root / "out").mkdir()
    daemon.start()
    for name in ("a.csv", "a.txt", "a.part.csv", "out/b.csv", "in/c.csv", ".a.csv.swp", "a.csv~"):
        (daemon.root / name).write_text("x")
    sentinel(daemon, "last")
    assert sorted(told(daemon.recorder, daemon.root)) == [("created", n) for n in ("a.csv", "in/c.csv", "last")]
    tell(daemon, ("created", ".a.csv.swp"), recorder=plain)


def test_not_recursive(daemon: Daemon) -> None:
    (daemon.root / "old").mkdir()
    daemon.configure(daemon.rule(recursive="false"))
    daemon.start()
    (daemon.root / "new").mkdir()
    for name in ("old/a", "new/a", "a"):
        (daemon.root / name).write_text("x")
    sentinel(daemon)
    assert sorted(told(daemon.recorder, daemon.root)) == [("created", "a"), ("created", "sentinel")]


OPERATIONS = {
    "created": [("created", "new")],
    "modified": [("modified", "written")],
    "deleted": [("deleted", "removed")],
    "moved": [("moved", "after", "before")],
    "metadata": [("metadata", "touched")],
}
UNPAIRED = {"created": [("created", "after")], "deleted": [("deleted", "before")]}


def one_of_each(root: Path) -> None:
    """One change of each kind below this directory."""
    (root / "new").write_text("x")
    (root / "written").write_text("longer")
    (root / "removed").unlink()
    (root / "before").rename(root / "after")
    (root / "touched").chmod(0o600)


@pytest.mark.parametrize("wanted", [[kind] for kind in OPERATIONS] + [list(OPERATIONS), ["created", "deleted"]])
def test_changes(daemon: Daemon, wanted: list[str]) -> None:
    """Each operation is done twice, one round after the other: the second round shows that the first is over."""
    for name in ("1", "2"):
        (daemon.root / name).mkdir()
        for file in ("written", "removed", "before", "touched"):
            (daemon.root / name / file).write_text("x")
    daemon.configure(daemon.rule(changes=f"[{', '.join(wanted)}]"))
    daemon.start()
    one_of_each(daemon.root / "1")
    one_of_each(daemon.root / "2")
    each = [change for kind in wanted for change in OPERATIONS[kind]]  # type: ignore[attr-defined]
    if "moved" not in wanted:
        each += [change for kind in wanted for change in UNPAIRED.get(kind, [])]
    tell(daemon, *((kind, *(f"{n}/{name}" for name in names)) for n in (1, 2) for kind, *names in each))


# ---- links


def test_symbolic_links_are_not_followed_unless_asked(daemon: Daemon, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (daemon.root / "to-directory").symlink_to(outside)
    (daemon.root / "to-file").symlink_to(outside / "file")
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    (outside / "file").write_text("changed")
    (outside / "another").write_text("x")
    sentinel(daemon)
    assert told(daemon.recorder, daemon.root) == [("created", "sentinel")]


def test_follow_symlinks_to_files(daemon: Daemon, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (daemon.root / "link").symlink_to(outside / "file")
    (daemon.root / "directory").symlink_to(outside)
    daemon.configure(daemon.rule(follow_symlinks="files", changes=CONTENT))
    daemon.start()
    (outside / "file").write_text("changed")
    tell(daemon, ("modified", "link"))
    (outside / "new").write_text("x")
    os.rename(outside / "new", outside / "file")
    tell(daemon, ("modified", "link"), ("modified", "link"))
    (outside / "other").mkdir()
    (daemon.root / "directory").unlink()
    (daemon.root / "directory").symlink_to(outside / "other")
    (outside / "file").unlink()
    tell(daemon, ("modified", "link"), ("modified", "link"), ("deleted", "link"))
    assert not any(path == "directory" for _, path in told(daemon.recorder, daemon.root))


def volume(directory: Path, version: str, content: str) -> None:
    """A version of a projected volume, as Kubernetes makes it: the link ``..data`` is replaced by a rename."""
    place = directory / f"..{version}"
    place.mkdir()
    (place / "setting").write_text(content)
    (directory / "..new").symlink_to(place.name)
    os.rename(directory / "..new", directory / "..data")


def test_a_flip_of_a_data_link_changes_the_files_behind_it(daemon: Daemon) -> None:
    volume(daemon.root, "1", "one")
    (daemon.root / "setting").symlink_to("..data/setting")
    daemon.configure(daemon.rule(follow_symlinks="files", exclude='["..*/"]'))
    daemon.start()
    volume(daemon.root, "2", "two, longer")
    eventually(lambda: ("modified", "setting") in told(daemon.recorder, daemon.root), "the flip was told", 20)


def test_an_edit_by_one_name_of_a_hard_link_changes_all_names(daemon: Daemon) -> None:
    (daemon.root / "a").write_text("x")
    os.link(daemon.root / "a", daemon.root / "b")
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    with (daemon.root / "b").open("a") as file:
        file.write("more")
    tell(daemon, ("modified", "a"), ("modified", "b"))


# ---- what is no regular file

IN_OPEN = 0x20


@pytest.fixture
def opened() -> Iterator[tuple[int, ctypes.CDLL]]:
    """An inotify descriptor of the test's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    yield descriptor, libc
    os.close(descriptor)


def opens(descriptor: int) -> list[int]:
    """The watches that saw somebody open their file."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return []
    found, at = [], 0
    while at < len(data):
        watch, _, _, length = struct.unpack_from("iIII", data, at)
        found.append(watch)
        at += 16 + length
    return found


def test_special_files_are_never_opened(daemon: Daemon, opened: tuple[int, ctypes.CDLL]) -> None:
    descriptor, libc = opened
    os.mkfifo(daemon.root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(daemon.root / "socket"))
    names = ["fifo", "socket"]
    if os.geteuid() == 0:
        os.mknod(daemon.root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        names.append("device")
    (daemon.root / "control").write_text("x")
    watches = {
        n: libc.inotify_add_watch(descriptor, os.fsencode(daemon.root / n), IN_OPEN) for n in [*names, "control"]
    }
    daemon.configure(daemon.rule(changes=ALL, initial="process", ready="stable"))
    daemon.start()
    for name in names:
        os.utime(daemon.root / name)
        os.rename(daemon.root / name, daemon.root / f"{name}.moved")
    sentinel(daemon)
    assert {change["path"] for change in daemon.recorder.changes()} == {
        str(daemon.root / "control"),
        str(daemon.root / "sentinel"),
    }
    (daemon.root / "control").read_text()
    assert set(opens(descriptor)) == {watches["control"]}
