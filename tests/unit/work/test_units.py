"""Units with a service manager of a few lines, which starts the launcher itself. The real one: tests/e2e/systemd."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import eventually
from filewatchd.work import units, unitsweep
from filewatchd.work.command import Command, Finished, Unit
from filewatchd.work.manager import LostError, Manager, RefusedError
from filewatchd.work.pool import Pool
from filewatchd.work.transient import Property, path_of
from filewatchd.work.units import Units

ENV = {"PATH": "/usr/bin:/bin"}


class Systemd:
    """What `Units` asks of a manager, done with process groups."""

    def __init__(self) -> None:
        self.changed: Callable[[str, dict[str, Any]], None] = lambda path, changes: None
        self.returned: Callable[[], None] = lambda: None
        self.lost: Callable[[str], None] = lambda why: None
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.refusal: Exception | None = None
        self.silent = False  # it tells nothing by itself
        self.calls: list[str] = []

    async def start(self, name: str, properties: Sequence[Property], descriptors: Sequence[int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        ((_, words, _),) = next(each.value for each in properties if each.name == "ExecStart")
        stdin, stdout, stderr = descriptors
        process = await asyncio.create_subprocess_exec(
            *words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
        self.running[name] = process
        self._watch = asyncio.ensure_future(self._see_through(name, process))

    async def _see_through(self, name: str, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self.running.pop(name, None)
        code, number = (1, status) if status >= 0 else (2, -status)
        self.states[name] = {"ActiveState": "inactive", "Job": (0, "/"), "ExecMainCode": code, "ExecMainStatus": number}
        if not self.silent:
            self.changed(path_of(name), self.states[name])

    def _signal(self, name: str, number: int) -> None:
        if name not in self.running:
            raise RefusedError("org.freedesktop.systemd1.NoSuchUnit", name)
        os.killpg(self.running[name].pid, number)

    async def stop(self, name: str) -> None:
        self.calls.append("stop")
        self._signal(name, signal.SIGTERM)

    async def kill(self, name: str) -> None:
        self.calls.append("kill")
        self._signal(name, signal.SIGKILL)

    async def loaded(self, pattern: str) -> list[str]:
        return [name for name in self.running if name.startswith(pattern.removesuffix("*"))]

    async def state(self, name: str) -> dict[str, Any]:
        if name not in self.states:
            raise RefusedError("org.freedesktop.DBus.Error.UnknownObject", "there is no such unit")
        return self.states[name]

    async def own_unit(self) -> str:
        return ""

    async def subscribe(self) -> None:
        self.calls.append("subscribe")

    async def reset_failed(self, name: str) -> None:
        self.calls.append("reset")

    def forget(self, name: str) -> None:
        self.calls.append("forget")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    fake = Systemd()

    async def connect() -> Systemd:
        return fake

    monkeypatch.setattr(Manager, "connect", connect)
    return fake


def play(work: Callable[[Units], Awaitable[None]]) -> None:
    async def main() -> None:
        pool = Pool()
        ways = Units("0123", lambda: "test", pool)
        try:
            await work(ways)
        finally:
            await ways.stop()
            pool.close()

    asyncio.run(main())


def command(script: str, **more: Any) -> Command:
    return Command(("sh", "-c", script), **{"env": ENV, "timeout": 60.0, "unit": Unit("r", 1), **more})


def test_a_command_runs_to_its_end(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        output = bytearray()
        assert await ways.run(command("cat; exit 3", stdin=b"in"), output.extend) == Finished(3, None, False, 0)
        assert output == b"in"
        assert await ways.run(command("kill -9 $$"), output.extend) == Finished(None, 9, False, 0)
        assert ways.statistics() == {"running": [], "leftover_ended": 0}

    play(scene)


def test_what_units_wait_for_in_the_kernel_begins_before_they_are_asked_for(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    asked = threading.Event()

    def pass_grace() -> None:
        told.append("grace")
        asked.wait(60)

    monkeypatch.setattr(units, "pass_grace", pass_grace)

    async def scene(ways: Units) -> None:
        ways.foresee()
        ways.foresee()  # that goes on already
        await eventually(lambda: told, "it to begin")
        assert (await ways.run(command("true"), lambda data: None)).code == 0  # nobody waits for it
        assert told == ["grace"]
        asked.set()
        await eventually(lambda: ways._grace is not None and ways._grace.done(), "it to end")
        assert (await ways.run(command("true"), lambda data: None)).code == 0
        await eventually(lambda: len(told) == 2, "it again")

    play(scene)


def test_a_time_out_stops_and_then_kills(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        output = bytearray()
        deaf = command("trap '' TERM; echo ready; while :; do sleep 100; done", stop_timeout=0.05)
        running = asyncio.ensure_future(ways.run(deaf, output.extend))
        await eventually(lambda: b"ready" in output, "it to run")
        assert ways.statistics()["running"][0]["unit"] == "filewatchd-0123-job1-1.service"
        for run in ways._runs.values():
            ways._time_out(run)
        assert await running == Finished(None, 9, True, 0)
        assert systemd.calls[0] == "stop"

    play(scene)


def test_what_cant_be_killed_holds_up_nobody(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "KILL_GRACE", 0.05)

    async def scene(ways: Units) -> None:
        output = bytearray()
        systemd.silent = True  # as if the processes stayed
        running = asyncio.ensure_future(ways.run(command("echo ready; exec sleep 100"), output.extend))
        await eventually(lambda: b"ready" in output, "it to run")
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    play(scene)


def test_a_unit_that_is_just_being_started_isnt_taken_for_gone(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        assert (await ways.run(command("true"), lambda data: None)).code == 0
        running = asyncio.ensure_future(ways.run(command("exit 6"), lambda data: None))
        await asyncio.sleep(0)
        systemd.returned()
        assert (await running).code == 6

    play(scene)


def test_a_refusal_is_told(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        systemd.refusal = RefusedError("org.freedesktop.DBus.Error.AccessDenied", "Access denied")
        with pytest.raises(ActionError, match="systemd can't start 'sh' in a unit: Access denied"):
            await ways.run(command("true"), lambda data: None)

    play(scene)


def test_a_lost_connection_fails_what_runs_and_the_next_one_ends_it(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        output = bytearray()
        running = asyncio.ensure_future(ways.run(command("echo ready; exec sleep 100"), output.extend))
        await eventually(lambda: b"ready" in output, "it to run")
        systemd.lost("hung up")
        with pytest.raises(ActionError, match=r"'sh' was given up: .* \(hung up\)") as failed:
            await running
        assert failed.value.retryable
        await eventually(lambda: not systemd.running, "what it had started to be ended")
        assert (await ways.run(command("exit 4"), output.extend)).code == 4

    play(scene)


def test_systemd_that_was_away_is_asked_what_became_of_units(systemd: Systemd) -> None:
    async def scene(ways: Units) -> None:
        systemd.silent = True
        running = asyncio.ensure_future(ways.run(command("exit 5"), lambda data: None))
        await eventually(lambda: systemd.states, "it to end")
        systemd.returned()
        assert (await running).code == 5
        running = asyncio.ensure_future(ways.run(command("exec sleep 100"), lambda data: None))
        await eventually(lambda: [run for run in ways._runs.values() if run.started], "it to run")
        systemd.returned()
        with pytest.raises(ActionError, match="was lost sight of: there is no such unit"):
            await running
        os.killpg(next(iter(systemd.running.values())).pid, signal.SIGKILL)
        await eventually(lambda: not systemd.running, "it to be gone")

    play(scene)


def test_a_start_that_cant_ask_tries_again(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def connect() -> Systemd:
        tries.append(1)
        if len(tries) < 3:
            raise LostError("no bus yet")
        return systemd

    monkeypatch.setattr(Manager, "connect", connect)
    monkeypatch.setattr(units, "_RETRIES", (0.001,))
    monkeypatch.setattr(units, "leftovers", lambda prefix: [f"{prefix}job1-1.service"])

    async def scene(ways: Units) -> None:
        with pytest.raises(ActionError, match="commands can't run in units: no bus yet"):
            await ways.sweep()
        await eventually(lambda: ways._manager is not None, "a connection")

    play(scene)


def test_without_leftovers_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "leftovers", lambda prefix: [])

    async def scene(ways: Units) -> None:
        await ways.sweep()
        assert ways._manager is None

    play(scene)


def test_unit_files_tell_what_is_left(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert unitsweep.leftovers("filewatchd-0123-") == []
    (tmp_path / "systemd/transient").mkdir(parents=True)
    for name in ("filewatchd-0123-job1-1.service", "filewatchd-4567-job1-1.service"):
        (tmp_path / "systemd/transient" / name).touch()
    assert unitsweep.leftovers("filewatchd-0123-") == ["filewatchd-0123-job1-1.service"]


def test_a_daemon_that_wants_no_units_loads_no_d_bus() -> None:
    script = "import filewatchd.service.daemon, sys; sys.exit('dbus_fast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
