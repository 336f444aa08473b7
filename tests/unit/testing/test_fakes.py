"""The public fakes keep their own promises."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from filewatchd import testing
from filewatchd.actions.base import Action, ActionPackage, Command, Context, JobContext, Schedule, Spawn
from filewatchd.errors import ActionError
from filewatchd.model import OK, RuleSettings
from filewatchd.testing import (
    FakeClock,
    FakeContext,
    FakeJob,
    FakeSpawn,
    FakeTimers,
    FaultyFS,
    RecordingAction,
    RecordingOptions,
    Scripted,
    ScriptedBackend,
    changed,
    next_time,
    settle,
    wait_until,
)
from filewatchd.watch.backends.base import Backend


def test_they_are_what_the_protocol_says() -> None:
    """Checked by mypy."""
    record = RecordingAction()
    package: ActionPackage = record
    action: Action = record
    context: Context = FakeContext()
    job: JobContext = FakeJob()
    spawn: Spawn = FakeSpawn()
    backend: Backend = ScriptedBackend()
    assert all((package, action, context, job, spawn, backend))


def test_every_public_name_is_there() -> None:
    assert {name for name in testing.__all__ if not hasattr(testing, name)} == set()


# ---- the clock


def test_timers_fire_in_their_order_and_at_their_time() -> None:
    clock, fired = FakeClock(monotonic=0.0), list[tuple[str, float]]()
    for name, when in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("late", 9.0)):
        clock.call_at(when, lambda name=name: fired.append((name, clock.monotonic())))  # type: ignore[misc]
    cancel = clock.call_at(2.5, lambda: fired.append(("cancelled", 0.0)))
    cancel()
    clock.advance(5)
    assert fired == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert (clock.monotonic(), clock.next_timer) == (5.0, 9.0)


def test_the_wall_moves_along_and_can_be_set() -> None:
    clock = FakeClock(wall=1000.0)
    clock.advance(1.5)
    assert clock.wall_ns() == 1_001_500_000_000
    clock.set_wall(5.0)
    clock.advance(1)
    assert clock.wall_ns() == 6_000_000_000


def test_sleepers_wake_in_order_also_those_that_sleep_again() -> None:
    async def main() -> None:
        clock, woken = FakeClock(monotonic=0.0), list[tuple[str, float]]()

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("slow", 5.0))
            group.create_task(sleeper("quick", 1.0, 1.0, 1.0))
            await clock.run_for(2.5)
            assert woken == [("quick", 1.0), ("quick", 2.0)]
            await clock.run_for(10.0)
        assert woken[2:] == [("quick", 3.0), ("slow", 5.0)]

    asyncio.run(main())


# ---- timers


def test_a_missed_time_fires_once() -> None:
    clock, fired = FakeClock(), list[float]()
    timers = FakeTimers(clock)
    timers.every("often", 10.0, lambda: fired.append(clock.monotonic()))
    timers.cancel("unknown")
    clock.advance(35)
    assert len(fired) == 3
    timers.at("past", clock.wall_ns() / 1e9 - 100, lambda: fired.append(-1.0))
    clock.advance(0)
    assert fired[3:] == [-1.0]
    timers.cancel("often")
    clock.advance(100)
    assert len(fired) == 4


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(90.0), "2025-06-15T12:01:30+00:00"),
        (Schedule("hour"), "2025-06-15T13:00:00+00:00"),
        (Schedule("hour", at="00:30"), "2025-06-15T12:30:00+00:00"),
        (Schedule("day", at="03:30"), "2025-06-16T03:30:00+00:00"),
        (Schedule("day", at="03:30", timezone="America/New_York"), "2025-06-16T07:30:00+00:00"),
        (Schedule("week"), "2025-06-16T00:00:00+00:00"),
        (Schedule("week", weekday="sun", at="11:00"), "2025-06-22T11:00:00+00:00"),
        (Schedule("month", at="01:00"), "2025-07-01T01:00:00+00:00"),
    ],
)
def test_the_calendar(schedule: Schedule, expected: str) -> None:
    noon = datetime(2025, 6, 15, 12, tzinfo=UTC)  # a Sunday
    found = datetime.fromtimestamp(next_time(schedule, noon.timestamp()), UTC)
    assert found.isoformat() == expected


# ---- spawning, recording, waiting


def test_scripted_commands() -> None:
    async def main() -> None:
        said: list[bytes] = []
        spawn = FakeSpawn(Scripted(output=b"one"), Scripted(error=ActionError("no")))
        command = Command(("true",), {})
        assert (await spawn.run(command, said.append)).code == 0
        with pytest.raises(ActionError, match="no"):
            await spawn.run(command, said.append)
        assert (await spawn.run(command, said.append)).code == 0
        assert (said, spawn.commands) == ([b"one"], [command] * 3)

    asyncio.run(main())


def test_the_recorder_holds_answers_and_counts() -> None:
    async def main() -> None:
        action = RecordingAction(per_path=True)
        action.open(RecordingOptions(note="n"), FakeContext())
        assert action.needs(None).per_path
        assert await action.run(FakeJob([changed("/r/a")])) == OK
        action.hold = asyncio.Event()
        task = asyncio.ensure_future(action.run(FakeJob([changed("/r/b")])))
        await settle()
        task.cancel()
        await asyncio.wait([task])
        assert (action.paths, action.cancelled) == (["/r/a", "/r/b"], 1)
        assert action.plan(FakeJob([changed("/r/a")])) == ["record modified /r/a"]

    asyncio.run(main())


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match="in vain for rain"):
        wait_until(lambda: False, "rain", patience=0.0)


def test_the_context_opens_safely_below_its_roots_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    context = FakeContext(RuleSettings(name="r", roots=(str(tmp_path),), actions=()))
    os.close(context.safe_open(str(tmp_path / "file")))
    with pytest.raises(PermissionError, match="below no root"):
        context.safe_open("/etc/passwd")


# ---- faults


def save(directory: Path) -> None:
    """A way of writing that survives a failure anywhere."""
    new, old = directory / "new", directory / "file"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(fd, b"new")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(new, old)


def test_each_call_fails_in_its_turn(tmp_path: Path) -> None:
    with FaultyFS(below=str(tmp_path)) as counting:
        save(tmp_path)
    assert counting.calls == 4
    for number, name in enumerate(("open", "write", "fsync", "replace"), 1):
        (tmp_path / "file").write_bytes(b"old")
        with FaultyFS(fail=number, error=errno.ENOSPC) as faulty, pytest.raises(OSError, match="No space"):
            save(tmp_path)
        assert faulty.failed == [name]
        assert (tmp_path / "file").read_bytes() == b"old"
    save(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_other_places_and_chosen_calls_only(tmp_path: Path) -> None:
    with FaultyFS(["mkdir"], fail=1, below=str(tmp_path / "here"), sticky=True) as faulty:
        os.mkdir(tmp_path / "here")
        for name in ("a", "b"):
            with pytest.raises(OSError, match="Input/output error"):
                os.mkdir(tmp_path / "here" / name)
        (tmp_path / "here" / "file").touch()
    assert faulty.failed == ["mkdir", "mkdir"]
