"""Sets: taken when they stand still, read only where they changed, the same whatever was touched."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.reload import diffing, looking
from filewatchd.actions.reload.diffing import lines
from filewatchd.actions.reload.entries import decode, differences, encode, summary
from filewatchd.actions.reload.staging import Stage
from filewatchd.actions.reload.store import Store
from filewatchd.actions.reload.taking import Taken, Taker
from filewatchd.clock import SystemClock
from filewatchd.errors import ActionError
from filewatchd.model import RuleSettings
from filewatchd.testing import FakeContext
from filewatchd.work import opening


class Place:
    """A set on the disk, and who takes it."""

    def __init__(self, directory: Path, **rule: object) -> None:
        self.root = directory / "etc"
        (self.root / "conf.d").mkdir(parents=True)
        for name in ("main.conf", "conf.d/a.conf", "conf.d/b.conf"):
            (self.root / name).write_text(f"{name}\n")
        self.store = Store(str(directory / "versions"))
        self.store.prepare()
        settings = RuleSettings(name="rule", roots=(str(self.root),), actions=(), **rule)  # type: ignore[arg-type]
        self.ctx = FakeContext(settings)
        self.ctx.clock = Later()  # type: ignore[assignment]  # everything was written long ago
        self.taker = Taker(self.ctx, self.store, settings.roots)

    def take(self) -> Taken:
        return asyncio.run(self.taker.take())


class Later(SystemClock):
    """An hour from now."""

    def wall_ns(self) -> int:
        return super().wall_ns() + 3_600_000_000_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_touch_an_identical_rewrite_and_an_undone_chmod_change_nothing(place: Place) -> None:
    first = place.take()
    file = place.root / "main.conf"
    os.utime(file, (1, 1))
    file.write_text("main.conf\n")
    (place.root / "new").write_text("main.conf\n")
    (place.root / "new").rename(file)
    mode = file.stat().st_mode
    file.chmod(0o600)
    assert place.take().digest != first.digest
    file.chmod(mode)
    assert place.take().digest == first.digest


def test_only_what_changed_is_read_again(place: Place) -> None:
    place.take()
    assert place.taker.read == 3
    (place.root / "main.conf").write_text("other\n")
    place.take()
    place.take()
    assert place.taker.read == 4


def test_what_was_just_written_is_read_once_more(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.ctx.clock = SystemClock()  # type: ignore[assignment]
    place.take()
    place.take()
    assert place.taker.read == 6


def test_a_set_that_changes_while_it_is_read_is_taken_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real, reads = looking._read, []

    def reading(path: str, beneath: str, seen: looking.Seen) -> looking.Content | None:
        reads.append(path)
        if len(reads) == 2:
            (place.root / "conf.d/a.conf").write_text("half of")
        return real(path, beneath, seen)

    monkeypatch.setattr(looking, "_read", reading)
    taken = place.take()
    assert place.store.content(taken.entries["0/conf.d/a.conf"]) == b"half of"


def test_a_set_that_never_rests_is_an_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = looking._look_below
    monkeypatch.setattr("filewatchd.actions.reload.taking._PAUSE", 0.0)

    def look(*arguments: Any) -> None:
        with (place.root / "main.conf").open("a") as file:
            file.write("more\n")
        real(*arguments)

    monkeypatch.setattr(looking, "_look_below", look)
    with pytest.raises(ActionError, match="keeps changing"):
        place.take()


def test_who_has_a_changed_file_open_is_waited_for_but_not_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    async def pause(taker: Taker) -> None:
        pauses.append(len(pauses))
        if len(pauses) == 3 and ends:
            writer.close()

    monkeypatch.setattr(Taker, "_pause", pause)
    for ends in (True, False):
        with (place.root / "main.conf").open("a") as writer:
            writer.write("half")
            writer.flush()
            place.take()
            assert len(pauses) == (3 if ends else 23)


def test_patterns_choose_what_counts_but_not_what_is_kept(tmp_path: Path) -> None:
    place = Place(tmp_path, exclude=("*.swp",))
    first = place.take()
    (place.root / ".main.conf.swp").write_text("vim's")
    second = place.take()
    assert (first.selected == second.selected, first.digest == second.digest) == (True, False)
    assert "0/.main.conf.swp" in second.entries


def test_files_behind_links_belong_to_it_and_directories_are_told(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/site").write_text("one\n")
    (place.root / "site").symlink_to(tmp_path / "elsewhere/site")
    (place.root / "inside").symlink_to(place.root / "main.conf")
    (place.root / "nowhere").symlink_to("gone")
    (place.root / "outside.d").symlink_to(tmp_path / "elsewhere")
    first = place.take()
    assert f"@{tmp_path}/elsewhere/site" in first.entries
    assert list(first.leading_out) == [f"{place.root}/outside.d"]
    (tmp_path / "elsewhere/site").write_text("two\n")
    assert place.take().selected != first.selected


def test_a_missing_root_is_no_empty_set(place: Place) -> None:
    place.root.rename(place.root.parent / "away")
    assert place.take().missing == [str(place.root)]


def test_hostile_names_survive(place: Place) -> None:
    name = os.fsdecode(b"new\nline \xff")
    (place.root / name).write_text("x")
    taken = place.take()
    assert decode(encode(taken.entries)) == taken.entries
    assert f"0/{name}" in taken.entries
    stage = Stage(place.store)
    stage.make(taken.entries)
    assert Path(stage.place(0), name).read_text() == "x"


def test_the_staged_tree_follows_with_what_differs(place: Place) -> None:
    stage = Stage(place.store)
    stage.make(place.take().entries)
    kept = Path(stage.place(0), "conf.d/b.conf").stat().st_ino
    (place.root / "conf.d/a.conf").unlink()
    (place.root / "conf.d/c.conf").symlink_to("b.conf")
    (place.root / "main.conf").chmod(0o600)
    (place.root / "deep/er").mkdir(parents=True)
    taken = place.take()
    stage.make(taken.entries)
    staged = Taker(place.ctx, place.store, [stage.place(0)])
    assert asyncio.run(staged.take()).digest == taken.digest
    assert Path(stage.place(0), "conf.d/b.conf").stat().st_ino == kept
    stage.doubt()
    Path(stage.place(0), "theirs").touch()
    stage.make(taken.entries)
    assert asyncio.run(Taker(place.ctx, place.store, [stage.place(0)]).take()).digest == taken.digest


def test_kept_versions_are_pruned_with_what_only_they_have(place: Place) -> None:
    first, text = place.take(), place.take().text
    digest = place.store.put_set(text)
    (place.root / "main.conf").write_text("second\n")
    second = place.store.put_set(place.take().text)
    assert place.store.prune([second]) == 1
    assert place.store.load(second)
    assert not os.path.exists(place.store.blob(first.entries["0/main.conf"].content))
    with pytest.raises(ActionError, match="can't be read"):
        place.store.load(digest)


def test_a_damaged_content_is_not_believed(place: Place) -> None:
    taken = place.take()
    entry = taken.entries["0/main.conf"]
    Path(place.store.blob(entry.content)).write_text("changed")
    with pytest.raises(ActionError, match="is damaged"):
        place.store.content(entry)


def test_differences_are_told_with_secrets_masked(place: Place) -> None:
    (place.root / "main.conf").write_text("user: x\npassword: hunter2\n")
    before = place.take().entries
    (place.root / "main.conf").write_text("user: y\npassword: hunter3\n")
    (place.root / "conf.d/a.conf").unlink()
    (place.root / "conf.d/b.conf").chmod(0o600)
    after = place.take().entries
    changed = differences(before, after)
    text = "\n".join(lines(changed, [str(place.root)], place.store.content, lambda _: True))
    assert summary(changed) == (0, 2, 1)
    assert "-user: x" in text
    assert "+user: y" in text
    assert "hunter" not in text
    assert text.count("password: (masked ") == 2
    assert f"- {place.root}/conf.d/a.conf: gone" in text
    assert f"~ {place.root}/conf.d/b.conf: " in text


def test_differences_of_many_files_are_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffing, "_MOST_SHOWN", 5)
    changed = differences({}, place.take().entries)
    told = list(lines(changed, [str(place.root)], place.store.content, lambda _: True))
    assert (len(told), told[-1]) == (6, "... more than 5 lines in all")


def test_files_that_differ_in_too_much_are_not_compared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs decides, not the size."""
    file = place.root / "main.conf"
    texts = [[f"{number}\n" for number in range(50)] for _ in range(2)]
    monkeypatch.setattr(diffing, "_MOST_WORK", 1000)

    def told() -> list[str]:
        sets = []
        for text in texts:
            file.write_text("".join(text))
            sets.append(place.take().entries)
        return list(lines(differences(*sets), [str(place.root)], place.store.content, lambda _: True))

    texts[1][7] = "seven\n"
    assert "+seven" in told()
    texts[1][:25] = [f"{number} differs\n" for number in range(25)]
    assert told() == [f"! {file}: 50 -> 50 lines, too different to be shown"]


# ---- somebody may write a directory of the set, and is hostile


def test_a_symlink_in_a_directorys_place_brings_nothing_from_elsewhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept may be published, or shown to whom modes allow it: all that kept others out may be a directory."""
    other, folder = place.root.parent / "other", place.root / "conf.d"
    other.mkdir(0o700)
    (other / "c.conf").write_text("secret\n")
    real = opening.open_directory

    def flip(root: str, below: str) -> int:
        if below == "conf.d" and not folder.is_symlink():
            folder.rename(place.root / "moved")
            folder.symlink_to(other)
        return real(root, below)

    monkeypatch.setattr(looking, "open_directory", flip)
    with pytest.raises(ActionError, match=r"conf\.d: a symlink has taken a directory's place"):
        place.take()
    assert list(place.take().entries) == ["0", "0/conf.d", "0/main.conf", "0/moved", "0/moved/a.conf", "0/moved/b.conf"]


def test_of_a_file_without_an_end_little_more_is_read_than_it_says_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any symlink may lead to one: /proc/self/pagemap says that it has 0 bytes, and has 256 GiB."""
    real, counts = os.read, []

    def read(fd: int, count: int) -> bytes:
        counts.append(count)
        assert sum(counts) < 1 << 20
        return real(fd, count)

    monkeypatch.setattr(os, "read", read)
    path = Path("/proc/self/pagemap")
    assert looking.read([str(path)], [""], [looking.seen_of(path.stat())]) == [None]


def test_a_directory_of_too_many_names_is_left_as_soon_as_that_is_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "MOST_FILES", 20)
    for number in range(200):
        (place.root / f"conf.d/{number}").touch()
    names = looking.Names({}, [], [])
    with pytest.raises(ActionError, match="more than 20 files"):
        looking._look_below(0, str(place.root), [], names)
    assert len(names.seen) == 21
