"""Snapshots: what differs between two looks at a directory, and when a look may leave the listing out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from filewatchd.watch.backends.snapshot import Child, Gone, Marks, Seen, Snapshot, Wanted, compare, look, take
from filewatchd.watch.dirty import HINTS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MODIFY


def snapshot(path: Path, now: float = 0.0, old: Snapshot | None = None) -> Snapshot:
    fd = os.open(path, os.O_RDONLY)
    try:
        return take(fd, now, old)
    finally:
        os.close(fd)


def seen(path: Path, old: Snapshot, now: float, *, trusting: bool = True) -> Seen:
    found = look(Wanted(1, str(path), old), now, trusting)
    assert isinstance(found, Seen)
    return found


def test_compare(tmp_path: Path) -> None:
    for name in ("same", "gone", "grown", "mode"):
        (tmp_path / name).write_text("x")
    for name in ("stays", "leaves", "altered"):
        (tmp_path / name).mkdir()
    leaves = (tmp_path / "leaves").stat()
    old = snapshot(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "grown").write_text("xx")
    (tmp_path / "mode").chmod(0o600)
    (tmp_path / "new").write_text("x")
    (tmp_path / "leaves").rename(tmp_path / "comes")
    (tmp_path / "altered").chmod(0o700)
    files, came, went, altered = compare(old, snapshot(tmp_path))
    names = {"gone": IN_DELETE, "grown": IN_MODIFY, "new": IN_CREATE, "mode": IN_ATTRIB}
    assert files == {name: HINTS[mask] for name, mask in names.items()}
    assert came == [Child("comes", leaves.st_dev, leaves.st_ino)]
    assert went == [Child("leaves", leaves.st_dev, leaves.st_ino)]
    assert [child.name for child in altered] == ["altered"]
    assert not compare(old, old)


def test_stamps_before_the_epoch_and_empty_directories(tmp_path: Path) -> None:
    empty = snapshot(tmp_path)
    assert empty.size == 0
    (tmp_path / "old").write_text("x")
    os.utime(tmp_path / "old", ns=(-1, -5_000_000_000))
    new = snapshot(tmp_path)
    assert new.size == 1
    assert compare(empty, new).files == {"old": HINTS[IN_CREATE]}


def test_an_unchanged_look_shares_its_values(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "d").mkdir()
    old = snapshot(tmp_path)
    new = snapshot(tmp_path, 1.0, old)
    assert new.files is old.files
    assert new.directories is old.directories


def test_stamps_are_trusted_two_seconds_after_they_were_first_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[int] = []
    really = os.scandir

    def scandir(fd: int) -> Any:
        listings.append(fd)
        return really(fd)

    monkeypatch.setattr(os, "scandir", scandir)

    def listed(old: Snapshot, now: float, **how: Any) -> tuple[bool, Snapshot]:
        before = len(listings)
        new = seen(tmp_path, old, now, **how).new
        return len(listings) > before, new

    (tmp_path / "a").write_text("x")
    old = snapshot(tmp_path, 100.0)
    was_listed, old = listed(old, 101.0)
    assert was_listed, "a change in the same stamp may have followed the first listing"
    was_listed, old = listed(old, 102.5)
    assert was_listed, "and the second"
    was_listed, old = listed(old, 103.0)
    assert not was_listed
    assert listed(old, 104.0, trusting=False)[0]
    assert listed(old, 162.5)[0], "once a minute in any case"
    (tmp_path / "a").write_text("longer")
    found = seen(tmp_path, old, 105.0)
    assert found.differences.files == {"a": HINTS[IN_MODIFY]}
    (tmp_path / "b").write_text("x")
    was_listed, old = listed(old, 106.0)
    assert was_listed, "its stamps moved"
    assert old.since == 106.0


def test_a_filesystem_that_keeps_no_stamps_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    stood = snapshot(tmp_path, 103.0)._replace(since=100.0)
    assert not seen(tmp_path, stood, 170.0).unstamped
    unseen = stood._replace(files=Marks("", b""))
    assert not seen(tmp_path, unseen._replace(since=102.0), 170.0).unstamped, "the stamps may be too coarse"
    assert seen(tmp_path, unseen, 170.0).unstamped


def test_gone_replaced_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    wanted = Wanted(1, str(place), snapshot(place))
    place.rename(tmp_path / "away")
    assert look(wanted, 1.0, True) == Gone()
    place.write_text("a file")
    assert look(wanted, 1.0, True) == Gone()
    place.unlink()
    place.symlink_to(tmp_path / "away")
    assert look(wanted, 1.0, True) == Gone(), "symlinks are not followed"
    place.unlink()
    place.mkdir()
    info = place.stat()
    assert look(wanted, 1.0, True) == Gone((info.st_dev, info.st_ino))

    def fails(number: int) -> None:
        def opens(*_: Any, **__: Any) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "open", opens)

    for number, result in ((13, None), (5, None), (107, None), (116, Gone())):
        fails(number)
        assert look(wanted, 1.0, True) == result


def test_an_entry_that_cannot_be_looked_at_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name = entry.name

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            raise OSError(5, "Input/output error")

    class Entries:
        def __init__(self, fd: int) -> None:
            self._entries = really(fd)

        def __enter__(self) -> list[Entry]:
            return [Entry(entry) for entry in self._entries]

        def __exit__(self, *_: Any) -> None:
            self._entries.close()

    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    old = snapshot(tmp_path)
    (tmp_path / "new").write_text("x")
    really = os.scandir
    monkeypatch.setattr(os, "scandir", Entries)
    assert not compare(old, snapshot(tmp_path, 1.0, old))
