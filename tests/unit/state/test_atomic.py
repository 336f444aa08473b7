from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.errors import StateError
from filewatchd.state import atomic


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_makes_a_file_with_the_mode_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        atomic.replace(str(tmp_path / "a"), b"one")
        atomic.replace(str(tmp_path / "b"), b"two", 0o644)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "b")) == (0o600, 0o644)
    assert (tmp_path / "b").read_bytes() == b"two"


def test_a_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_bytes(b"old")
    with target.open("rb") as reader:
        atomic.replace(str(target), b"new and longer")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["state.json"]


def test_an_empty_file_and_a_large_one(tmp_path: Path) -> None:
    target = tmp_path / "x"
    for data in (b"", os.urandom(3 << 20)):
        atomic.replace(str(target), data)
        assert target.read_bytes() == data


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atomic.replace("here", b"1")
    assert (tmp_path / "here").read_bytes() == b"1"


def test_a_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(victim)
    atomic.replace(str(tmp_path / "link"), b"new")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "link").is_symlink()


def test_a_missing_directory_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"gone/x could not be replaced, the old file is kept: No such file.*; make"):
        atomic.replace(str(tmp_path / "gone" / "x"), b"")


def test_a_directory_in_the_way_stays_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StateError, match="could not be replaced"):
        atomic.replace(str(tmp_path / "x"), b"")
    assert os.listdir(tmp_path) == ["x"]


def test_leftovers_go_and_everything_else_stays(tmp_path: Path) -> None:
    leftover = ".state.json.0123456789abcdef.tmp"
    odd = ".a\nb.0123456789abcdef.tmp"
    kept = [
        "state.json",
        ".state.json.tmp",
        ".state.json.0123456789abcdeg.tmp",
        "state.json.0123456789abcdef.tmp",
        ".link.0123456789abcdef.tmp",
        ".dir.0123456789abcdef.tmp",
        ".twice.0123456789abcdef.tmp",
    ]
    for name in (leftover, odd, *kept[:4], kept[6]):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / kept[4]).symlink_to("state.json")
    (tmp_path / kept[5]).mkdir()
    os.link(tmp_path / kept[6], tmp_path / "other")
    assert atomic.clean_leftovers(str(tmp_path)) == [odd, leftover]
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "other"])


def test_a_leftover_that_vanishes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda path: [".x.0123456789abcdef.tmp"])
    assert atomic.clean_leftovers(str(tmp_path)) == []


def test_every_errno_has_a_remedy() -> None:
    assert atomic.remedy(28) == "free space on this filesystem"
    assert atomic.remedy(0) == "check the filesystem and its mount options"
