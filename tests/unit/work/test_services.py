"""Jobs of units, over a real bus with a service manager of a few lines on it. The real one: tests/e2e/systemd."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import FakePool, eventually
from filewatchd.work import manager
from filewatchd.work.services import VERBS, Services, UnitState
from tests.unit.work.bus import SystemdOnBus, message_bus, systemd_on_bus

ACTIVE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success"}


def on_bus(
    folder: Path, monkeypatch: pytest.MonkeyPatch, test: Callable[[SystemdOnBus, Services], Awaitable[None]]
) -> None:
    async def run(address: str) -> None:
        async with systemd_on_bus(address) as systemd:
            systemd.units["nginx.service"] = dict(ACTIVE)
            await test(systemd, Services(FakePool()))

    with message_bus(folder) as address:
        monkeypatch.setattr(manager, "_user_address", lambda: address)
        asyncio.run(run(address))


async def job(services: Services, verb: str = "reload", unit: str = "nginx.service", seconds: float = 5.0) -> None:
    await services.job(unit, verb, seconds, "user")


async def refused(services: Services, verb: str = "reload", unit: str = "nginx.service") -> ActionError:
    with pytest.raises(ActionError) as caught:
        await job(services, verb, unit)
    return caught.value


@pytest.mark.parametrize("early", [False, True])
def test_a_job_is_waited_for_whenever_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        systemd.early = early
        for verb, member in VERBS.items():
            await job(services, verb)
            assert systemd.calls[-1] == (member, "nginx.service", "replace")
        assert ("Subscribe",) in systemd.calls

    on_bus(tmp_path, monkeypatch, test)


@pytest.mark.parametrize(
    ("result", "why", "retryable"),
    [
        ("failed", "it failed; nginx.service is active (running)", True),
        ("timeout", "systemd gave up waiting", True),
        ("skipped", "isn't running", True),
        ("unsupported", "can't do that", False),
        ("something new", "systemd says something new", True),
    ],
)
def test_a_jobs_bad_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str, why: str, retryable: bool
) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        systemd.results = [result]
        error = await refused(services)
        assert why in str(error)
        assert error.retryable is retryable

    on_bus(tmp_path, monkeypatch, test)


def test_what_cannot_be_asked_for_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        assert "there is no such unit" in str(await refused(services, unit="nothing.service"))
        systemd.units["nginx.service"]["LoadState"] = "masked"
        assert "the unit is masked" in str(await refused(services))
        assert not [call for call in systemd.calls if call[0] == "ReloadUnit"]
        systemd.units["nginx.service"] = dict(ACTIVE)
        systemd.refusals["ReloadUnit"] = ("org.freedesktop.systemd1.JobTypeNotApplicable", "no")
        assert "it has no ExecReload=" in str(await refused(services))
        systemd.refusals["ReloadUnit"] = ("org.freedesktop.DBus.Error.AccessDenied", "no")
        error = await refused(services)
        assert "let polkit allow" in str(error)
        assert not error.retryable

    on_bus(tmp_path, monkeypatch, test)


def test_a_job_that_takes_too_long_is_left_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        systemd.hold = True
        with pytest.raises(ActionError, match=r"not done after 0\.1 s; systemd goes on with it"):
            await job(services, seconds=0.1)

    on_bus(tmp_path, monkeypatch, test)


def test_a_bus_that_goes_away_meanwhile_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        systemd.hold = True
        asking = asyncio.ensure_future(job(services))
        await eventually(lambda: systemd.held, "the job's call")
        await systemd.bus.release_name("org.freedesktop.systemd1")
        await systemd.bus.request_name("org.freedesktop.systemd1")
        with pytest.raises(ActionError, match="executed itself anew"):
            await asking

    on_bus(tmp_path, monkeypatch, test)


def test_who_gives_up_connecting_leaves_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        before, systemd.silent = await systemd.connections(), "Subscribe"
        asking = asyncio.ensure_future(services.state("nginx.service", 5.0, "user"))
        async with asyncio.timeout(10):
            while ("Subscribe",) not in systemd.calls:
                await systemd.connections()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            while await systemd.connections() > before:
                pass

    on_bus(tmp_path, monkeypatch, test)


def test_a_units_state_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, services: Services) -> None:
        assert await services.state("nginx.service", 5.0, "user") == UnitState("loaded", "active", "running", "success")
        assert (await services.state("nothing.service", 5.0, "user")).load == "not-found"

    on_bus(tmp_path, monkeypatch, test)


def test_without_a_bus_it_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_user_address", lambda: f"unix:path={tmp_path}/nothing")

    async def run() -> None:
        error = await refused(Services(FakePool()))
        assert f"{tmp_path}/nothing" in str(error)
        assert error.retryable

    asyncio.run(run())
