"""System calls of a reload failing in turn: afterwards the service runs a set that passed, and status agrees.

A child takes a set, applies another, puts a bad one back and publishes, with one call failing: first the first, then
the next, until there is no such call left. It does what the daemon does with an error, and tries again. Afterwards the
next life finds out what there is, without faults. strace reaches what goes by `os` and what goes by C alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filewatchd.actions.base import Command, Unfinished
from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError, StateError
from filewatchd.testing import FakeJob, Scripted
from filewatchd.testing.job import FakeSteps
from filewatchd.testing.waiting import wait_until
from tests.amounts import SOAK
from tests.unit.actions.reload.scene import FAILS, Scene, within

_BUG = 4
_TRIES = 4
#: The calls with which a set is looked at, kept, staged, put back and published, and at which distances they fail in
#: CI; 0: only in `make soak`, which has all of them at each.
FAULTS = [
    ("openat", "EMFILE", 97),
    ("openat", "EIO", 0),
    ("read", "EIO", 0),
    ("write", "ENOSPC", 31),
    ("fsync", "EIO", 0),
    ("rename", "EIO", 0),
    ("renameat2", "EIO", 1),
    ("unlink", "EIO", 0),
    ("mkdir", "ENOSPC", 0),
    ("chmod", "EPERM", 0),
    ("symlink", "ENOSPC", 0),
    ("newfstatat", "EIO", 0),
    ("readlink", "EIO", 0),
    ("flistxattr", "EIO", 0),
    ("getdents64", "EIO", 0),
]
NEVER = [("symlink", "guard"), ("symlink", "exchange"), ("readlink", "guard")]
CASES = [(mode, *fault) for mode in ("guard", "exchange", "flip") for fault in FAULTS if SOAK or fault[2]]


class World:
    """A service that reads the live file when it is told, and is ill with some texts; bad ones don't pass the check."""

    def __init__(self, place: Path, mode: str) -> None:
        place.mkdir(exist_ok=True)
        self.place, self.mode = place, mode
        self.live = place / "live" if mode != "guard" else place / "etc"
        if mode == "flip" and not (place / "first").exists():
            (place / "first").mkdir()
            self.live.symlink_to("first")
        publish = {"from": str(place / "etc"), "to": str(self.live)}
        self.options: dict[str, Any] = {"on_bad": "restore"}
        if mode != "guard":
            self.options |= {"mode": "publish", "publish": publish}
        self.running = os.open(place / "running", os.O_RDWR | os.O_CREAT)

    @property
    def text(self) -> str:
        """What the service runs."""
        return os.pread(self.running, 100, 0).decode()

    def given(self, scene: Scene) -> None:
        """What the commands do. They are others' processes, in which nothing fails."""

        def apply(_: Command) -> Scripted:
            try:
                data = (self.live / "app.conf").read_bytes()
            except OSError:  # that was ours to fail, and comes once
                return apply(_)
            os.ftruncate(self.running, 0)
            os.pwrite(self.running, data, 0)
            return Scripted()

        scene.answers |= {
            "check": lambda _: Scripted(),
            "apply": apply,
            "probe": lambda _: Scripted(FAILS) if self.text == "ill" else Scripted(),
        }


async def insist(work: Callable[[], Awaitable[Any]]) -> None:
    """As the runner does with a job's attempts."""
    for _ in range(_TRIES):
        try:
            await work()
        except (ActionError, StateError):
            continue
        return


def live(place: Path, mode: str, steps: FakeSteps, ready: Callable[[], None]) -> None:
    """A life with two changes; a job that never came to its end leaves its steps."""
    world = World(place, mode)

    async def work(scene: Scene) -> None:
        world.given(scene)
        scene.file.write_text("one")
        await scene.action.run(FakeJob())
        ready()
        for text in ("two", "ill"):
            edit(f"{place}/etc/app.conf", text)
            await insist(lambda: scene.action.run(FakeJob(steps=steps)))

    (place / "etc").mkdir()
    within(work, place, **world.options)


def edit(path: str, text: str) -> None:
    """Somebody saves; should it be this that fails, they save again."""
    while True:
        try:
            edited = os.open(path, os.O_WRONLY)
        except OSError:
            continue
        os.pwrite(edited, text.encode(), 0)
        os.close(edited)
        return


def child(place: Path, mode: str, go: int, told: int) -> int:
    steps = FakeSteps()

    def ready() -> None:
        os.write(told, b"ready\n")
        with contextlib.suppress(OSError):  # the first read that may fail
            os.read(go, 1)

    try:
        live(place, mode, steps, ready)
    except BaseException:  # noqa: BLE001 - the parent fails with it
        os.write(told, traceback.format_exc().encode())
        return _BUG
    return 0


class Told(NamedTuple):
    """The child's exit status, what it said, and whether a call failed."""

    status: int
    said: str
    injected: bool


def under_fault(place: Path, mode: str, call: str, error: str, number: int) -> Told:
    """Let a child live whose ``number``-th ``call`` after its first set fails."""
    go, told, trace = os.pipe(), os.pipe(), place.parent / f"{place.name}.trace"
    pid = os.fork()
    if pid == 0:
        os._exit(child(place, mode, go[0], told[1]))
    os.close(told[1])
    with os.fdopen(told[0], errors="replace") as pipe:
        first = pipe.readline()
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
        strace = subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), *inject, "-p", str(pid)])
        wait_until(lambda: "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), "strace holds the child")
        os.write(go[1], b"x")
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    strace.wait(20)
    for fd in go:
        os.close(fd)
    assert first == "ready\n", first + said
    return Told(os.waitstatus_to_exitcode(status), said, "(INJECTED)" in trace.read_text(errors="replace"))


async def judge(world: World) -> list[str]:
    """The next life: what the service runs is on the live path, or the record says that nobody knows.

    Returns what is left beside the files.
    """
    scene = Scene(world.place, **world.options)
    world.given(scene)
    scene.ctx.interrupted = [Unfinished(1, FakeSteps())]
    await scene.action.recover()
    await scene.ctx.follow_ups["look"]
    for _ in range(4):
        if not scene.ctx.requested:
            break
        scene.ctx.requested.clear()
        await scene.action.run(FakeJob())
        await scene.action._look()
    record = scene.record
    on_disk = (world.live / "app.conf").read_text()
    assert world.text in ("one", "two", "ill")
    assert world.live.is_symlink() is (world.mode == "flip")
    assert (record.state, record.sure, world.text == on_disk) in (
        (State.SYNCED, True, True),
        (State.HELD, True, True),
        (State.HELD, False, True),
        (State.HELD, False, False),
    )
    if record.state is State.SYNCED:
        assert on_disk in ("one", "two")
    return [path.name for path in (*world.place.glob(".live.filewatchd-new*"), *world.place.glob("etc/.filewatchd*"))]


@pytest.mark.skipif(shutil.which("strace") is None and "CI" not in os.environ, reason="strace is not installed")
@pytest.mark.parametrize(("mode", "call", "error", "stride"), CASES, ids=["-".join(case[:3]) for case in CASES])
def test_every_call_failing_in_turn(tmp_path: Path, mode: str, call: str, error: str, stride: int) -> None:
    number, stride = 1, 1 if SOAK else stride
    while True:
        place = tmp_path / f"{number}"
        told = under_fault(place, mode, call, error, number)
        assert told.status == 0, told.said
        world = World(place, mode)
        left = asyncio.run(judge(world))
        assert left == [] or call == "unlink"  # what the system won't remove is told
        os.close(world.running)
        if not told.injected:
            assert (world.live / "app.conf").read_text() == "two"  # the ill one was put back
            assert number > 1 or (call, mode) in NEVER
            break
        shutil.rmtree(place)
        number += stride
