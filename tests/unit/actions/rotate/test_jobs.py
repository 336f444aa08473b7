"""Jobs with several logs, and what a rotation that was cut off may not take away."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd import codecs
from filewatchd.actions import rotate
from filewatchd.actions.rotate import copying, examining, freeing, ledger, packing
from filewatchd.actions.rotate.ledger import Archive, Ledger
from filewatchd.actions.rotate.machine import UNFINISHED, State, Step
from filewatchd.actions.rotate.places import Move, Setting
from filewatchd.errors import ActionError
from filewatchd.model import Outcome
from filewatchd.testing import FakeJob, FakeSpawn, Scripted, changed
from filewatchd.work import exchange
from filewatchd.work.inodes import inode_of
from tests.unit.actions.rotate.test_action import Place, play, until

LINES = "line\n" * 50


def all_rotated(place: Place, count: int) -> dict[str, Outcome]:
    """Some logs in one job."""
    logs = [place.root / f"app{number}.log" for number in range(count)]
    outcomes: dict[str, Outcome] = {}
    for log in logs:
        log.write_text(LINES)

    async def story() -> None:
        outcomes.update(await place.action.run(FakeJob([changed(str(log), str(place.root)) for log in logs])))
        for task in [task for name, task in place.ctx.follow_ups.items() if name.startswith("archive")]:
            await task
        await place.action.stop(0.0)

    play(story)
    assert list(outcomes) == [str(log) for log in logs]
    return outcomes


def test_logs_of_one_job_are_told_of_once(tmp_path: Path) -> None:
    place = Place(tmp_path, method="exchange", reopen={"command": ["reopen"]})
    outcomes = all_rotated(place, 40)
    assert {outcome.verdict for outcome in outcomes.values()} == {"ok"}
    assert [call.argv for call in place.spawn.commands] == [("reopen",)]
    assert len(list(tmp_path.glob("app*.log-*"))) == 40


def test_all_logs_of_a_job_fail_if_their_writer_can_not_be_told(tmp_path: Path) -> None:
    place = Place(tmp_path, method="exchange", reopen={"command": ["reopen"]})
    place.ctx.spawn = FakeSpawn(answer=lambda command: Scripted(error=ActionError("there is no reopen")))
    logs = [tmp_path / f"app{number}.log" for number in range(3)]
    for log in logs:
        log.write_text(LINES)
    found: list[Outcome] = []

    async def story() -> None:
        found.extend((await place.action.run(FakeJob([changed(str(log), str(tmp_path)) for log in logs]))).values())
        await place.action.stop(0.0)

    play(story)
    assert [(outcome.verdict, outcome.message) for outcome in found] == [("failed", "reopen: there is no reopen")] * 3


def test_logs_of_one_job_share_their_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    record = Ledger.record

    def counted(self: Ledger, steps: Any, statements: Any) -> None:
        commits.append(len(steps))
        record(self, steps, statements)

    monkeypatch.setattr(Ledger, "record", counted)
    all_rotated(Place(tmp_path), 32)
    assert sum(commits) >= 32 * 4
    assert len(commits) <= 8, "not one commit for each log"


def test_writes_are_not_watched_so_that_a_busy_log_does_not_wait_to_settle() -> None:
    assert not rotate.needs(msgspec.convert({"when": {"size": 100}}, rotate.Options)).writes


def test_several_logs_are_looked_into_together_and_one_twice_does_not_wait_for_itself(tmp_path: Path) -> None:
    logs = [tmp_path / f"app{number}.log" for number in range(3)]
    for log in logs:
        log.write_text(LINES)
    asked = [(str(log), str(tmp_path), 0) for log in (*logs, logs[0], tmp_path / "gone.log")]
    script = "import sys; fs = [open(path, 'a') for path in sys.argv[1:]]; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(logs[0]), str(logs[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        found = examining.inspect_each(asked)
        alone = [examining.inspect(*each) for each in asked[:3]]
        writer.communicate(b"")
    assert found == [*alone, alone[0], None]
    assert [facts.appending for facts in alone] == [1, 1, 0]


def row_of(log: Path, method: str) -> Archive:
    inode = inode_of(str(log))
    return Archive(
        id=1, live=str(log), state=State.BEGUN, method=method, txn="20260101-000000-00000000", ino=inode.ino,
        btime_ns=inode.btime_ns, end=log.stat().st_size,
    )  # fmt: skip


def test_a_recorded_member_outlives_the_failure_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was punched out of the log, so the unfinished archive is all that has it."""
    log = tmp_path / "app.log"
    log.write_text(LINES * 400)
    monkeypatch.setattr(packing, "short_of_space", lambda target, wanted: True)
    compress = codecs.compress
    monkeypatch.setattr(codecs, "compress", lambda *args, **more: compress(*args, **more, member=16384))
    moves = packing.pack(row_of(log, "punch"), Setting(beneath=str(tmp_path)))
    move = next(found for found in moves if isinstance(found, Move))
    moves.close()  # type: ignore[attr-defined]
    assert (move.step, move.path is not None and os.path.exists(move.path)) == (Step.MEMBER, True)


def test_a_copy_that_is_not_recorded_goes(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LINES)
    archive, setting = row_of(log, "copytruncate"), Setting(beneath=str(tmp_path))
    moves = copying.copy(archive, setting)
    assert next(moves).step is Step.COPY
    moves.close()  # type: ignore[attr-defined]
    assert (log.read_text(), len(list(tmp_path.iterdir()))) == (LINES, 2)
    assert [move.step for move in copying.discard(archive, setting)] == [Step.UNDO]
    assert [path.name for path in tmp_path.iterdir()] == ["app.log"]


@pytest.mark.parametrize("more", ["", "late line\n"])
def test_a_copy_that_is_recorded_is_finished(more: str, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LINES)
    archive, setting = row_of(log, "copytruncate"), Setting(beneath=str(tmp_path))
    moves = copying.copy(archive, setting)
    archive = archive._replace(state=State.COPIED, **next(moves).values)
    moves.close()  # type: ignore[attr-defined]
    with log.open("a") as file:
        file.write(more)
    for _ in range(2):  # the log isn't emptied yet; then it is, and only the row doesn't say so
        (move,) = copying.empty_again(archive, setting)
        assert (move.step, move.end, log.read_text()) == (Step.TRUNCATE, len(LINES + more), "")
        assert archive.plain is not None
        assert Path(archive.plain).read_text() == LINES + more


def test_a_copy_that_somebody_took_away_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LINES)
    archive = row_of(log, "copytruncate")._replace(state=State.COPIED, copy_ino=1, plain=str(tmp_path / "gone"))
    assert [move.step for move in copying.empty_again(archive, Setting(beneath=str(tmp_path)))] == [Step.UNDO]
    assert log.read_text() == LINES


def test_an_archive_is_finished_by_one_task_however_often_its_job_is_tried(tmp_path: Path) -> None:
    place = Place(tmp_path, method="exchange", compress={"codec": "gzip"}, reopen={"command": ["reopen"]})
    told = [Scripted(error=ActionError("there is no reopen"))] * 2
    place.ctx.spawn = spawn = FakeSpawn(answer=lambda command: told.pop() if told else Scripted())
    place.log.write_text(LINES)

    async def story() -> None:
        job = FakeJob([changed(str(place.log), str(tmp_path))])
        with place.log.open("a"):
            assert [each.verdict for each in (await place.action.run(job)).values()] == ["failed"]
            (task,) = [task for name, task in place.ctx.follow_ups.items() if name.startswith("archive")]
            await until(lambda: not told and bool(place.ctx.findings))
            place.log.write_text(LINES)
            assert [each.verdict for each in (await place.action.run(job)).values()] == ["ok"]
            assert task is next(task for name, task in place.ctx.follow_ups.items() if name == "archive 1")
            assert len(spawn.commands) == 3
        await asyncio.wait_for(task, 5)
        await place.action.stop(0.0)

    play(story)
    assert place.action.statistics()["lost"] == 0
    assert place.ctx.findings == {}


def test_what_a_cancelled_job_had_swapped_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, method="exchange", compress={"codec": "gzip"})
    place.log.write_text(LINES)

    async def story() -> None:
        reopen = place.action._finishing.reopen
        monkeypatch.setattr(place.action._finishing, "reopen", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await place.action.run(FakeJob([changed(str(place.log), str(tmp_path))]))
        monkeypatch.setattr(place.action._finishing, "reopen", reopen)
        assert [row.state for row in place.action._ledger.unfinished()] == [State.SWAPPED]
        await place.action._heal()
        await place.ctx.follow_ups["archive 1"]
        assert place.action._ledger.unfinished() == []
        await place.action.stop(0.0)

    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    play(story)
    (archive,) = tmp_path.glob("app.log-*.gz")
    assert gzip.decompress(archive.read_bytes()).decode() == LINES


def test_lines_that_came_after_the_end_are_one_archive_though_a_kill_came_in_between(tmp_path: Path) -> None:
    place = Place(tmp_path, method="exchange")
    place.log.write_text(LINES)
    ledger, rotation = place.action._ledger, place.action._rotation
    archive = ledger.begin(row_of(place.log, "exchange"))
    for step in (Step.SWAP, Step.CLOSE):
        archive = ledger.step(archive, step, plain=str(place.log), end=len(LINES))
    rotation._go_on(archive)
    rotation._go_on(archive)
    assert [(row.id, row.begin, row.state) for row in ledger.of(str(place.log))] == [
        (1, 0, State.CLOSED), (2, len(LINES), State.SWAPPED),
    ]  # fmt: skip


def test_a_rotation_that_was_finished_at_the_second_try_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its schedule doesn't ask for another, and whoever asked for it is told."""
    place = Place(tmp_path, method="copy", when={"every": "1d"})
    place.log.write_text(LINES)
    rename, failed = exchange.rename_free, [OSError(28, "No space left on device")]

    def renamed(*names: Any) -> None:
        if failed:
            raise failed.pop()
        rename(*names)

    monkeypatch.setattr(packing, "rename_free", renamed)

    async def story() -> None:
        job = FakeJob([changed(str(place.log), str(tmp_path))])
        await place.action.run(job)
        place.action._ledger.logs.ask()
        (outcome,) = (await place.action.run(job)).values()
        assert (outcome.verdict, outcome.retryable) == ("failed", True)
        assert (
            outcome.message == f"{place.log} can't be rotated: No space left on device; free space on this filesystem"
        )
        (outcome,) = (await place.action.run(job)).values()
        assert (outcome.verdict, outcome.message) == ("ok", "copy: what was begun before is finished")
        with place.log.open("a") as log:
            log.write("one more\n")
        (outcome,) = (await place.action.run(job)).values()
        assert (outcome.verdict, outcome.message) == ("skipped", "it isn't due")
        await place.action.stop(0.0)

    play(story)
    assert len(list(tmp_path.glob("app.log-*"))) == 1


def test_a_log_that_can_not_be_opened_just_now_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.log.write_text(LINES)

    def full(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(examining, "inode_of", full)
            (outcome,) = (await place.action.run(FakeJob([changed(str(place.log), str(tmp_path))]))).values()
        assert (outcome.verdict, outcome.retryable) == ("failed", True)
        assert "app.log can't be opened: Too many open files; raise the open-files limit" in outcome.message
        assert examining.sizes([str(place.log), str(tmp_path / "none")]) == [len(LINES), -1]
        await place.action.stop(0.0)

    play(story)


def test_an_archive_that_could_not_be_deleted_is_deleted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, method="exchange", keep={"count": 1})
    delete, failed = freeing._delete, [OSError(5, "Input/output error")]

    def deleted(*asked: Any) -> Any:
        if failed:
            raise failed.pop()
        return delete(*asked)

    monkeypatch.setattr(freeing, "_delete", deleted)

    async def story() -> None:
        for _ in range(2):
            place.log.write_text(LINES)
            await place.run()
        assert not failed
        await place.action._finishing.expiring.all()  # as each hour
        await place.action.stop(0.0)

    play(story)
    assert len(list(tmp_path.glob("app.log-*"))) == 1


def test_what_is_left_is_asked_of_an_index(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for statement in ("SELECT * FROM {archives} WHERE %s ORDER BY id", "SELECT count(*) FROM {archives} WHERE %s"):
        plan = place.ctx.tables.execute("EXPLAIN QUERY PLAN " + statement % ledger._LEFT)
        assert "archives_left" in str(plan), plan
    left = {state for state in State if state not in (State.DONE, State.GONE, State.NONE)}
    assert left == UNFINISHED | {State.EXPIRING}


@pytest.mark.parametrize("taken", [True, False], ids=["the log", "something else"])
def test_what_is_not_there_is_a_loss_only_if_it_is_the_log(
    taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, method="exchange", compress={"codec": "gzip"})
    place.log.write_text(LINES)
    finishing = place.action._finishing
    finish = finishing.rotation.finish
    tries: list[Archive] = []

    async def failing(archive: Archive) -> None:
        if not tries:
            tries.append(archive)
            if taken:
                Path(ledger.where_plain(archive)).unlink()
            raise FileNotFoundError(2, "No such file or directory")
        await finish(archive)

    async def story() -> None:
        monkeypatch.setattr(finishing.rotation, "finish", failing)
        await place.action.run(FakeJob([changed(str(place.log), str(tmp_path))]))
        task = place.ctx.follow_ups["archive 1"]
        await until(lambda: bool(place.ctx.findings))
        if not taken:
            finishing._driven[1].set()
        await asyncio.wait_for(task, 5)
        await place.action.stop(0.0)

    play(story)
    assert place.action.statistics()["lost"] == int(taken)
    assert (len(list(tmp_path.glob("app.log-*.gz"))), bool(place.ctx.findings)) == (int(not taken), taken)
