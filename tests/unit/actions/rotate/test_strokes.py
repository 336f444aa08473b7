"""Several archives in one call of the worker: they go side by side, and one that fails stops no other."""

from __future__ import annotations

import os
from errno import EIO
from pathlib import Path

import pytest

from filewatchd.actions.rotate import strokes, swapping
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.places import Names, Setting
from filewatchd.actions.rotate.strokes import Task
from filewatchd.work.inodes import inode_of


def swaps(place: Path, count: int, names: Names | None = None) -> list[Task]:
    """A swap of each of some logs."""
    found = []
    for number in range(count):
        log = place / f"app{number}.log"
        log.write_text("line\n")
        inode = inode_of(str(log))
        row = Archive(
            number, str(log), State.BEGUN, "exchange", f"20260101-000000-{number:08}", inode.ino, inode.btime_ns
        )
        named = names and names._replace(base=f"app{number}.log-then")
        found.append(Task(strokes.name_of(swapping.swap), row, Setting(beneath=str(place)), named))
    return found


def test_steps_of_several_logs_come_together_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    tasks = swaps(tmp_path, 4)
    (tmp_path / "app1.log").unlink()
    series = strokes.strokes(tasks)
    first = {came.number: came for came in next(series)}
    assert [number for number, came in first.items() if came.move and came.move.step is Step.SWAP] == [0, 2, 3]
    failure = first[1].failure
    assert failure is not None
    assert isinstance(failure.error(), FileNotFoundError)
    assert [came.number for came in next(series)] == [0, 2, 3]
    assert list(series) == []
    assert (tmp_path / "app0.log").read_text() == ""
    assert not list(tmp_path.glob(".app1.log.*"))


def test_a_folder_that_several_share_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append((os.fstat(fd).st_ino, os.path.isdir(f"/proc/self/fd/{fd}")))
    )
    list(strokes.strokes(swaps(tmp_path, 4)))
    assert [ino for ino, folder in synced if folder] == [tmp_path.stat().st_ino]
    assert len(synced) == 5


def test_whose_sync_fails_leaves_nothing_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, fsync, calls = swaps(tmp_path, 3), os.fsync, list[int]()

    def failing(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(EIO, os.strerror(EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    came = [each for some in strokes.strokes(tasks) for each in some]
    assert [each.number for each in came if each.failure is not None and each.failure.errno == EIO] == [1]
    assert sorted(each.number for each in came if each.move is not None) == [0, 2]
    assert (tmp_path / "app1.log").read_text() == "line\n"
    assert not list(tmp_path.glob(".app1.log.*"))


def test_what_stays_as_it_is_has_its_name_with_the_swap_and_takes_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "app0.log-then").write_text("somebody's\n")
    tasks = swaps(tmp_path, 1, Names("", "", 99))
    (move,) = [each.move for some in strokes.strokes(tasks) for each in some if each.move is not None]
    assert (move.step, *move.also) == (Step.SWAP, Step.NAME, Step.FREE)
    assert move.path == str(tmp_path / "app0.log-then-2")
    assert Path(move.path).read_text() == "line\n"
    assert (tmp_path / "app0.log-then").read_text() == "somebody's\n"
