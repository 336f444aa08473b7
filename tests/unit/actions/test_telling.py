"""Services are told: units, processes, commands, servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from filewatchd.actions import reload
from filewatchd.actions.probes import Probe
from filewatchd.actions.probing import look
from filewatchd.actions.telling import Telling, UnitName, describe, needs, problems, tell
from filewatchd.config.load import load
from filewatchd.errors import ActionError, ConfigError
from filewatchd.model import RuleSettings
from filewatchd.notation import MalformedError
from filewatchd.testing import DONE, FakeContext, FakeSpawn, Scripted
from filewatchd.values import Secret
from tests.unit.loopback import answer, serving

RULE = RuleSettings(name="rule", roots=("/",), actions=(), user="nobody")
UNIT = Telling(unit="nginx.service")


def told(option: Telling, ctx: FakeContext) -> str:
    return asyncio.run(tell(option, ctx))


def test_a_unit_is_reloaded_if_nothing_else_is_said() -> None:
    ctx = FakeContext()
    assert told(UNIT, ctx) == "reload of nginx.service done"
    told(Telling(unit="nginx.service", do="try-restart"), ctx)
    assert ctx.services.jobs == [("nginx.service", "reload"), ("nginx.service", "try-restart")]
    ctx.services.errors.append(ActionError("it failed"))
    with pytest.raises(ActionError, match="it failed"):
        told(UNIT, ctx)


def test_a_process_is_signalled(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    pidfile = tmp_path / "x.pid"
    with subprocess.Popen(["sleep", "60"]) as process:
        pidfile.write_text(f"{process.pid}\n")
        option = Telling(signal=signal.SIGUSR1, pidfile=str(pidfile), program="sleep")
        assert told(option, FakeContext()) == f"SIGUSR1 sent to process {process.pid}"
        assert process.wait(5) == -signal.SIGUSR1


def test_a_command_runs_as_the_rules_user_or_its_own() -> None:
    failing = Scripted(DONE._replace(code=3), b"syntax error\n")
    ctx = FakeContext(RULE, spawn=FakeSpawn(Scripted(), failing))
    assert told(Telling(command=("true",), env={"A": "b"}, timeout=5.0), ctx) == "true: done"
    with pytest.raises(ActionError, match="nginx: exit status 3: syntax error"):
        told(Telling(command=("nginx", "-s", "reload"), user="root"), ctx)
    first, second = ctx.spawn.commands  # type: ignore[attr-defined]
    assert (first.user, first.timeout, first.env["A"]) == ("nobody", 5.0, "b")
    assert (second.user, second.argv) == ("root", ("nginx", "-s", "reload"))


@pytest.mark.parametrize(
    ("status", "why", "retryable"),
    [
        (204, None, True),
        (500, "answered 500: broken", True),
        (429, "429", True),
        (404, "404", False),
        (302, "302", False),
    ],
)
def test_a_server_is_asked(tmp_path: Path, status: int, why: str | None, retryable: bool) -> None:
    (tmp_path / "token").write_text("xyzzy\n")

    async def run() -> None:
        async with serving(answer(status, b"broken\n")) as server:
            headers: dict[str, str | Secret] = {"Authorization": Secret(file=f"{tmp_path}/token")}
            option = Telling(http=server.url, headers=headers, body="now")
            if why is None:
                assert "answered 204" in await tell(option, FakeContext())
            else:
                with pytest.raises(ActionError, match=why) as caught:
                    await tell(option, FakeContext())
                assert caught.value.retryable is retryable
            (asked,) = server.asked
            assert (asked.method, asked.headers["authorization"], asked.body) == ("POST", "xyzzy", b"now")

    asyncio.run(run())


def test_a_secret_that_a_server_repeats_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xyzzy\n")
    headers: dict[str, str | Secret] = {"Authorization": Secret(file=f"{tmp_path}/token")}

    async def run() -> None:
        async with serving(answer(403, b"xyzzy is no token"), answer(403, b"xyzzy is no token")) as server:
            with pytest.raises(ActionError, match=r"answered 403: \*\*\* is no token"):
                await tell(Telling(http=server.url, headers=headers), FakeContext())
            said = await look(Probe(http=server.url, headers=headers), FakeContext(), 5)
            assert said == "answered 403: *** is no token"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "nothing says how"),
        ({"unit": "a.service", "http": "http://x/"}, "both unit and http are given"),
        ({"signal": 1}, "to whom"),
        ({"signal": 1, "pidfile": "/run/x.pid", "do": "reload"}, "do says nothing about signal"),
        ({"unit": "a.service", "user": "root"}, "user says nothing about unit"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        Telling(**keys)


def test_what_it_needs_and_how_it_is_shown() -> None:
    hup = Telling(signal=1, pidfile="/run/x.pid")
    assert needs(UNIT).extras == ("systemd",)
    assert needs(None) == needs(Telling(command=("true",)))
    assert needs(hup).capabilities == (("CAP_KILL",) if os.geteuid() == 0 else ())
    assert describe(UNIT) == "reload nginx.service"
    assert describe(hup) == "send SIGHUP to the process of /run/x.pid"
    assert describe(Telling(command=("a", "b c"))) == "run: a 'b c'"
    assert describe(Telling(http="http://127.0.0.1:9/-/reload?key=1")) == "POST http://127.0.0.1:9/..."


def test_an_extra_that_is_missing_is_one_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filewatchd.config.rules.lacks", lambda extra: (f"the extra {extra} is not installed", "pip"))
    config = tmp_path / "filewatchd.yaml"
    action = "reload: {mode: guard, check: ['true'], apply: {unit: a.service}, healthy: {unit: a.service}}"
    config.write_text(f"version: 1\nrules:\n  - {{name: a, roots: [in], actions: [{action}]}}\n")
    with pytest.raises(ConfigError) as caught:
        load(config, registry={"reload": reload}, environ={}, flags={})
    assert [mistake.message for mistake in caught.value.mistakes] == [
        "the action reload can't work so: the extra systemd is not installed"
    ]
    assert (caught.value.file, caught.value.line, caught.value.hint) == (str(config), 3, "pip")


def test_mistakes_are_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def messages(option: Telling) -> list[tuple[str, Any]]:
        return [(problem.message, problem.where) for problem in problems(option, RULE, ("apply",))]

    assert messages(UNIT) == []
    ((message, where),) = messages(Telling(command=("there-is-no-such-program",)))
    assert (message, where) == ("there is no program there-is-no-such-program on PATH", ("apply", "command", 0))
    ((message, where),) = messages(Telling(http="http://x/", headers={"a b": "c"}))
    assert where == ("apply", "headers", "a b")
    tmp_path.chmod(0o777)
    ((message, where),) = messages(Telling(signal=1, pidfile=f"{tmp_path}/x.pid"))
    assert "won't be believed: everybody may write" in message
    tmp_path.chmod(0o755)
    assert messages(Telling(signal=1, pidfile=f"{tmp_path}/x.pid")) == []


@pytest.mark.parametrize("written", ["nginx", "nginx.", ".service", "a b.service", 7])
def test_a_unit_is_named_whole(written: object) -> None:
    reader = next(meta.extra["reader"] for meta in get_args(UnitName) if isinstance(meta, msgspec.Meta) and meta.extra)
    assert reader.read("nginx.service") == "nginx.service"
    with pytest.raises(MalformedError, match="is no name of a unit") as raised:
        reader.read(written)
    assert "nginx.service" in raised.value.hint
