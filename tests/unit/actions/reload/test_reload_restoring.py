"""Putting a name back, while somebody else writes at every possible moment."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from filewatchd.actions.reload import looking, restoring, staging
from filewatchd.actions.reload.entries import Entry
from filewatchd.actions.reload.restoring import Item, put_back
from filewatchd.actions.reload.staging import write
from filewatchd.actions.reload.store import Store

BAD, GOOD, THEIRS = b"bad\n", b"good, as before\n", b"somebody's\n"


def entry(path: Path) -> Entry:
    """What is at a path."""
    seen = looking.seen_of(os.lstat(path))
    content = looking.read([str(path)], [""], [seen])[0]
    assert content is not None
    store = Store(str(path.parent.parent / "store"))
    store.prepare()
    what = os.readlink(path) if path.is_symlink() else store.put([content.data])[0] if path.is_file() else ""
    return Entry(seen.kind, seen.mode, seen.uid, seen.gid, seen.size, what, tuple(content.xattrs))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def swap(folder: Path) -> Item:
    """An item whose name has the bad content and shall have the good one."""
    path = folder / "app.conf"
    path.write_bytes(GOOD)
    path.chmod(0o640)
    good = entry(path)
    path.unlink()
    path.write_bytes(BAD)
    return Item(str(path), entry(path), good, GOOD, str(folder / ".filewatchd-x"), str(folder))


def only(folder: Path, *names: str) -> None:
    assert sorted(os.listdir(folder)) == sorted(names)


def before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object], call: int = 1) -> None:
    """Have somebody act right before the n-th call of a function of ``restoring``."""
    real, calls = getattr(restoring, name), []

    def wrapped(*args: object, **more: object) -> object:
        calls.append(args)
        if len(calls) == call:
            act()
        return real(*args, **more)

    monkeypatch.setattr(restoring, name, wrapped)


def test_the_good_file_comes_back_with_its_rights(folder: Path) -> None:
    item = swap(folder)
    assert put_back(item) == ""
    assert (folder / "app.conf").read_bytes() == GOOD
    assert entry(folder / "app.conf") == item.good
    only(folder, "app.conf")
    assert put_back(item) == ""  # once more does nothing


def test_another_content_is_left_alone(folder: Path) -> None:
    item = swap(folder)
    (folder / "app.conf").write_bytes(THEIRS)
    assert put_back(item) == "it is no longer what was rejected"
    assert (folder / "app.conf").read_bytes() == THEIRS
    only(folder, "app.conf")


def test_a_change_of_mode_alone_counts(folder: Path) -> None:
    item = swap(folder)
    (folder / "app.conf").chmod(0o600)
    assert put_back(item) == "it is no longer what was rejected"


@pytest.mark.parametrize("how", ["in place", "by a rename over"])
def test_an_edit_right_before_the_exchange_comes_back(folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    item, path = swap(folder), folder / "app.conf"

    def edit() -> None:
        if how == "in place":
            path.write_bytes(THEIRS)
        else:
            (folder / "new").write_bytes(THEIRS)
            (folder / "new").rename(path)

    before(monkeypatch, "exchange", edit)
    assert "somebody changed it meanwhile" in put_back(item)
    assert path.read_bytes() == THEIRS
    only(folder, "app.conf")


def test_who_has_it_open_for_writing_keeps_it(folder: Path) -> None:
    item, path = swap(folder), folder / "app.conf"
    with path.open("r+b") as writer:
        assert "has it open for writing" in put_back(item)
        writer.write(THEIRS)
    assert path.read_bytes() == THEIRS
    only(folder, "app.conf")


class Editor:
    """Opens the name at the n-th call of whatever put_back looks and acts by, and writes and closes at a later one."""

    def __init__(self, path: Path, opens: int, writes: int) -> None:
        self.path, self.opens, self.writes = path, opens, writes
        self.calls = 0
        self.file: BinaryIO | None = None

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for where, name in CALLS:
            monkeypatch.setattr(where, name, self._after(getattr(where, name)))

    def _after(self, real: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **more: object) -> object:
            self.calls += 1
            if self.calls == self.opens:
                with contextlib.suppress(FileNotFoundError):
                    self.file = self.path.open("r+b")
            if self.calls == self.writes:
                self.write()
            return real(*args, **more)

        return wrapped

    def write(self) -> None:
        if self.file is not None and not self.file.closed:
            self.file.write(THEIRS)
            self.file.truncate()
            self.file.close()


CALLS = [
    *((restoring, name) for name in ("is_entry", "is_written", "exchange", "rename_free", "write")),
    (os, "unlink"),
]


@pytest.mark.parametrize("kind", ["changes", "comes", "goes"])
def test_whoever_opens_and_writes_at_whatever_moment_finds_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Also who opens the good file and writes to it while it is taken back, as the bad one has its name again."""

    def play(opens: int, writes: int) -> int:
        folder = tmp_path / f"{opens}-{writes}"
        (folder / "etc").mkdir(parents=True)
        item = moments(folder / "etc", kind)
        editor = Editor(folder / "etc/app.conf", opens, writes)
        with monkeypatch.context() as patch:
            editor.watch(patch)
            put_back(item)
        editor.write()
        if editor.file is not None:
            found = [path.read_bytes() for path in (folder / "etc").glob("app.conf*")]
            assert THEIRS in found, (opens, writes)
        return editor.calls

    most = play(0, 0)
    assert most >= 4
    for opens in range(1, most + 1):
        for writes in range(opens, most + 4):
            play(opens, writes)


def test_two_edits_in_a_row_are_both_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item, path = swap(folder), folder / "app.conf"

    def newer() -> None:
        (folder / "new").write_bytes(b"newer\n")
        (folder / "new").rename(path)

    before(monkeypatch, "exchange", lambda: path.write_bytes(THEIRS))
    before(monkeypatch, "exchange", newer, call=2)
    assert f"what was there is {path}.kept-by-filewatchd" in put_back(item)
    assert path.read_bytes() == b"newer\n"
    assert Path(f"{path}.kept-by-filewatchd").read_bytes() == THEIRS
    only(folder, "app.conf", "app.conf.kept-by-filewatchd")


def test_a_new_name_goes_only_if_it_is_as_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = swap(folder)._replace(good=None, data=b"")
    path = folder / "app.conf"
    before(monkeypatch, "rename_free", lambda: path.write_bytes(THEIRS))
    assert "somebody changed it meanwhile" in put_back(item)
    assert path.read_bytes() == THEIRS
    path.write_bytes(BAD)
    assert put_back(item) == ""
    only(folder)


def test_a_missing_name_comes_back_only_if_it_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item, path = swap(folder)._replace(bad=None), folder / "app.conf"
    path.unlink()
    before(monkeypatch, "rename_free", lambda: path.write_bytes(THEIRS))
    assert put_back(item) == "somebody made it meanwhile"
    assert path.read_bytes() == THEIRS
    path.unlink()
    assert put_back(item) == ""
    assert path.read_bytes() == GOOD
    only(folder, "app.conf")


def test_symlinks_directories_and_changes_of_kind(folder: Path) -> None:
    path = folder / "current"
    path.symlink_to("one")
    good = entry(path)
    path.unlink()
    path.symlink_to("two")
    item = Item(str(path), entry(path), good, b"", str(folder / ".filewatchd-x"), str(folder))
    assert put_back(item) == ""
    assert os.readlink(path) == "one"
    path.unlink()
    path.mkdir(0o700)
    item = item._replace(bad=entry(path))
    (path / "theirs").touch()
    assert put_back(item) == "somebody put something into it"
    (path / "theirs").unlink()
    assert put_back(item) == ""
    assert os.readlink(path) == "one"
    there = folder / "conf.d"
    there.mkdir(0o750)
    good = entry(there)
    there.rmdir()
    assert put_back(Item(str(there), None, good, b"", str(folder / ".filewatchd-y"), str(folder))) == ""
    assert entry(there) == good
    there.chmod(0o755)
    assert put_back(Item(str(there), entry(there), good, b"", str(folder / ".filewatchd-y"), str(folder))) == ""
    assert entry(there) == good


# ---- somebody may write the directory, and is hostile


@pytest.mark.parametrize("kind", ["comes", "changes", "goes"])
@pytest.mark.parametrize("moment", ["is_entry", "is_written", "write", "exchange", "rename_free"])
def test_a_symlink_in_the_directorys_place_leads_nobody_astray(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    """Who owns a directory below the root could else have root put a file of his anywhere."""
    theirs, other = folder / "theirs", folder.parent / "other"
    theirs.mkdir()
    other.mkdir()
    (other / "app.conf").write_bytes(BAD)
    item = moments(theirs, kind)._replace(beneath=str(folder))
    if kind == "comes":
        (other / "app.conf").unlink()

    def flip() -> None:
        theirs.rename(folder / "moved")
        theirs.symlink_to(other)

    before(monkeypatch, moment, flip)
    put_back(item)
    assert [(path.name, path.read_bytes()) for path in other.iterdir()] == (
        [] if kind == "comes" else [("app.conf", BAD)]
    )
    if theirs.is_symlink() and item.good is not None:
        assert put_back(item) == f"{theirs} is no directory any more"


@pytest.mark.parametrize("made", ["file", "directory"])
def test_a_symlink_in_a_fresh_names_place_gives_nothing_else_its_rights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    victim, path, beside = folder.parent / "victim", folder / "app.conf", folder / ".filewatchd-x"
    victim.touch(0o600)
    path.mkdir() if made == "directory" else path.write_bytes(GOOD)
    path.chmod(0o777)
    good = entry(path)
    path.rmdir() if made == "directory" else path.unlink()
    fresh = path if made == "directory" else beside

    def exchange() -> None:
        fresh.rename(folder / "moved")
        fresh.symlink_to(victim)

    before(monkeypatch, "dress", exchange)
    monkeypatch.setattr(staging, "dress", acting(exchange, staging.dress))
    with contextlib.suppress(OSError):
        put_back(Item(str(path), None, good, GOOD if made == "file" else b"", str(beside), str(folder)))
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def acting(act: Callable[[], None], real: Callable[..., None]) -> Callable[..., None]:
    """A function before which somebody acts."""

    def wrapped(*args: Any, **more: Any) -> None:
        act()
        real(*args, **more)

    return wrapped


# ---- killed, and called again


class Killed(BaseException):
    """The daemon dies here."""


def moments(folder: Path, kind: str) -> Item:
    item, path = swap(folder), folder / "app.conf"
    if kind == "comes":
        path.unlink()
        return item._replace(bad=None)
    return item._replace(good=None, data=b"") if kind == "goes" else item


@pytest.mark.parametrize("kind", ["changes", "comes", "goes"])
@pytest.mark.parametrize("call", ["write", "exchange", "rename_free", "unlink"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_kill_at_any_call_is_made_up_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, call: str, done: bool
) -> None:
    item, path = moments(folder, kind), folder / "app.conf"
    where = os if call == "unlink" else restoring
    real = getattr(where, call)

    def die(*args: object, **more: object) -> None:
        if done:
            real(*args, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, call, die)
        with contextlib.suppress(Killed):
            put_back(item)
    assert put_back(item) == ""
    if kind == "goes":
        only(folder)
    else:
        assert path.read_bytes() == GOOD
        only(folder, "app.conf")


@pytest.mark.parametrize("call", ["exchange", "rename_free"])
def test_names_that_can_not_be_exchanged_leave_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    item = moments(folder, "changes" if call == "exchange" else "comes")

    def refuse(*args: object) -> None:
        raise OSError(errno.EIO, "no")

    before(monkeypatch, call, lambda: refuse())
    with pytest.raises(OSError, match="no"):
        put_back(item)
    only(folder, *(["app.conf"] if call == "exchange" else []))


def test_a_foreign_content_that_a_kill_left_aside_comes_back(folder: Path) -> None:
    item, path = swap(folder), folder / "app.conf"
    Path(item.beside).write_bytes(THEIRS)  # exchanged out, and not yet looked at
    path.unlink()
    assert item.good is not None
    write(str(path), GOOD, item.good, exactly=True)
    assert put_back(item) == "somebody changed it while it was put back"
    assert path.read_bytes() == THEIRS
    only(folder, "app.conf")


def test_half_a_good_file_is_ours_and_goes(folder: Path) -> None:
    item = swap(folder)
    Path(item.beside).write_bytes(GOOD[:3])
    assert put_back(item) == ""
    only(folder, "app.conf")


def test_what_somebody_is_about_to_write_is_not_taken_for_half_a_good_file(folder: Path) -> None:
    item, path = swap(folder), folder / "app.conf"
    with open(item.beside, "wb") as theirs:  # exchanged out while it was empty
        assert f"{path}.kept-by-filewatchd" in put_back(item)
        theirs.write(THEIRS)
    assert Path(f"{path}.kept-by-filewatchd").read_bytes() == THEIRS


def test_what_is_left_aside_may_be_anything(folder: Path) -> None:
    item, path = swap(folder), folder / "app.conf"
    os.mkfifo(item.beside)
    assert f"{path}.kept-by-filewatchd" in put_back(item)
    assert path.read_bytes() == BAD


def test_what_is_neither_ours_nor_anybodys_name_is_shown(folder: Path) -> None:
    item, path = swap(folder), folder / "app.conf"
    Path(item.beside).write_bytes(THEIRS)
    assert f"{path}.kept-by-filewatchd" in put_back(item)
    assert path.read_bytes() == BAD
    only(folder, "app.conf", "app.conf.kept-by-filewatchd")
