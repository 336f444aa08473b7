"""Services told by a real systemd. `test_telling` has this module run inside a machine, where systemd is PID 1."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.probes import Probe
from filewatchd.actions.probing import probe_one
from filewatchd.actions.telling import Telling, tell
from filewatchd.clock import SystemClock
from filewatchd.errors import ActionError
from filewatchd.testing import FakeContext, FakePool
from filewatchd.work.services import Services, UnitState
from tests.e2e.running import eventually

UNITS = Path("/run/systemd/system")
NAME = "told.service"
STAYS = "ExecStart=/bin/sleep 5000\n"


def systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True, timeout=60)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    subprocess.run(["systemctl", "kill", "--signal=KILL", NAME], check=False, capture_output=True)
    subprocess.run(["systemctl", "stop", NAME], check=False, capture_output=True)
    subprocess.run(["systemctl", "reset-failed", NAME], check=False, capture_output=True)
    (UNITS / NAME).unlink(missing_ok=True)
    systemctl("daemon-reload")


def unit(text: str, *, start: bool = True) -> None:
    (UNITS / NAME).write_text(f"[Service]\n{text}")
    systemctl("daemon-reload")
    if start:
        systemctl("start", NAME)


def context() -> FakeContext:
    ctx: Any = FakeContext()
    ctx.services, ctx.clock = Services(FakePool()), SystemClock()
    return ctx  # type: ignore[no-any-return]


def told(do: str = "reload", name: str = NAME, timeout: float = 30.0) -> str:
    return asyncio.run(tell(Telling(unit=name, do=do, timeout=timeout), context()))  # type: ignore[arg-type]


def refused(do: str = "reload", name: str = NAME, timeout: float = 30.0) -> ActionError:
    with pytest.raises(ActionError) as caught:
        told(do, name, timeout)
    return caught.value


def state() -> UnitState:
    return asyncio.run(Services(FakePool()).state(NAME, 10.0))


def test_a_reload_is_waited_for_to_its_end(tmp_path: Path) -> None:
    unit(f"{STAYS}ExecReload=/bin/sh -c 'sleep 0.3; echo done >{tmp_path}/done'\n")
    assert told() == "reload of told.service done"
    assert (tmp_path / "done").exists()


def test_every_job_is_done() -> None:
    unit(f"{STAYS}ExecReload=/bin/true\n")
    for do in ("restart", "reload-or-restart", "try-restart", "try-reload-or-restart", "stop", "start"):
        told(do)
    assert state() == UnitState("loaded", "active", "running", "success")


def test_a_reload_that_fails_says_so() -> None:
    unit(f"{STAYS}ExecReload=/bin/false\n")
    error = refused()
    assert "reload of told.service: it failed; told.service is active (running)" in str(error)
    assert error.retryable


def test_a_unit_that_does_not_start_says_what_has_become_of_it() -> None:
    unit("ExecStart=/bin/false\nType=oneshot\n", start=False)
    assert "start of told.service: it failed; told.service is failed (failed), result exit-code" in str(
        refused("start")
    )


def test_a_reload_that_hangs_is_given_up_and_systemd_goes_on() -> None:
    unit(f"{STAYS}ExecReload=/bin/sleep 5000\n")
    assert "not done after 0.5 s; systemd goes on with it" in str(refused(timeout=0.5))
    assert state().active == "reloading"


def test_what_cannot_be_done_is_told_apart() -> None:
    unit(STAYS)
    assert "it has no ExecReload=" in str(refused())
    assert "there is no such unit" in str(refused(name="nothing.service"))
    systemctl("stop", NAME)
    unit(f"{STAYS}ExecReload=/bin/true\n", start=False)
    assert "isn't running" in str(refused())
    systemctl("mask", "--runtime", "other.service")
    assert "the unit is masked" in str(refused("start", "other.service"))
    systemctl("unmask", "--runtime", "other.service")


def test_systemd_executing_itself_anew_meanwhile_is_no_lost_wait() -> None:
    unit(f"{STAYS}ExecReload=/bin/sh -c 'systemctl --no-block daemon-reexec; sleep 2'\n")
    with pytest.raises(ActionError) as caught:  # what came of it can't be known, and another try is right
        told(timeout=20.0)
    assert caught.value.retryable


def test_a_probe_of_a_unit_that_dies_after_a_while() -> None:
    unit("ExecStart=/bin/sleep 1\n")
    healthy = asyncio.run(probe_one(Probe(unit=NAME, within=0.5, stay=3.0, interval=0.2), context()))
    assert not healthy.healthy
    assert "it is inactive (dead)" in healthy.message


def test_a_process_of_another_user_is_signalled_by_its_pid_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    script = (
        "trap 'echo came >$RUNTIME_DIRECTORY/came' HUP; echo $$ >$RUNTIME_DIRECTORY/pid; while :; do sleep 0.05; done"
    )
    unit(f'User=nobody\nRuntimeDirectory=told\nExecStart=/bin/sh -c "{script.replace("$", "$$")}"\n')
    pidfile, came = Path("/run/told/pid"), Path("/run/told/came")
    eventually(lambda: pidfile.exists() and pidfile.read_text().strip(), "the service has written its pid file", 10.0)
    hup = Telling(signal=signal.SIGHUP, pidfile=str(pidfile))
    assert "SIGHUP sent to process" in asyncio.run(tell(hup, context()))
    eventually(came.exists, "the signal has come", 10.0)
    pidfile.write_text("1\n")  # the service's user may write it, and would have us signal another's process
    with pytest.raises(ActionError, match="can be written by uid"):
        asyncio.run(tell(hup, context()))
