"""A third-party action in a real daemon: what it needs, what a reload does to it, and files it wants to itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from filewatchd.cli.daemon import main
from filewatchd.control.api import socket_in
from tests.e2e.plugins import install
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, lines, quiet, rule
from tests.e2e.test_reload import reload


@pytest.fixture
def daemon(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return daemon


def record(daemon: Daemon, name: str = "record") -> Path:
    return daemon.directory / name


def probe(daemon: Daemon, name: str = "record", /, **options: Any) -> str:
    return "probe: " + json.dumps({"record": str(record(daemon, name)), **options})


def until(daemon: Daemon, *expected: str, name: str = "record") -> None:
    eventually(
        lambda: lines(record(daemon, name)) == list(expected), f"{expected}, not {lines(record(daemon, name))}", 20
    )


def test_a_reload_gives_new_options_to_the_action_that_is_there(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(actions=probe(daemon, mark="1"), settle="0s"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    until(daemon, "open 1", "recover 0 1", "begin 0 1", "end 1 1")
    configure(daemon, daemon.rule(actions=probe(daemon, mark="2"), settle="1ms"))
    reload(daemon, 2)
    (daemon.root / "b").write_text("x")
    before = ["open 1", "recover 0 1", "begin 0 1", "end 1 1"]
    until(daemon, *before, "reconfigure 2", "begin 0.001 2", "end 2 2")


def test_one_that_cant_take_them_is_opened_anew_and_undoes_no_running_job(daemon: Daemon) -> None:
    os.mkfifo(f"{record(daemon)}.door")
    configure(daemon, daemon.rule(actions=probe(daemon, mark="1", wait=True), settle="0s"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    before = ["open 1", "recover 0 1", "begin 0 1"]
    until(daemon, *before)
    configure(daemon, daemon.rule(actions=probe(daemon, mark="2", anew=True), settle="0s"))
    reload(daemon, 2)
    until(daemon, *before, "open 2", "recover 0 2")
    Path(f"{record(daemon)}.door").write_text("go")
    until(daemon, *before, "open 2", "recover 0 2", "end 1 1", "stop 1")


def test_a_reload_that_fails_gives_the_old_options_back(daemon: Daemon) -> None:
    two = [rule("other", probe(daemon, "other", mark="1"), roots=[str(daemon.root)])]
    configure(daemon, daemon.rule(actions=probe(daemon, mark="1"), settle="0s"), *two)
    daemon.start()
    broken = rule("other", probe(daemon, "other", mark="2", broken=True), roots=[str(daemon.root)])
    configure(daemon, daemon.rule(actions=probe(daemon, mark="2"), settle="1ms"), broken)
    daemon.signal(signal.SIGHUP)
    daemon.says("rule other: action probe can't take its options")
    until(daemon, "open 1", "recover 0 1", "reconfigure 2", "reconfigure 1")
    (daemon.root / "a").write_text("x")
    until(daemon, "open 1", "recover 0 1", "reconfigure 2", "reconfigure 1", "begin 0 1", "end 1 1")
    quiet(daemon)


def test_a_renamed_rules_action_keeps_its_tables(daemon: Daemon) -> None:
    configure(daemon, rule("old", probe(daemon), roots=[str(daemon.root)], settle="0s"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: "end 1 " in lines(record(daemon)), "the first job", 20)
    renamed = rule("new", probe(daemon), roots=[str(daemon.root)], settle="0s", renamed_from="old")
    configure(daemon, renamed)
    reload(daemon, 2)
    (daemon.root / "b").write_text("x")
    eventually(lambda: "end 2 " in lines(record(daemon)), "the second job knows the first one's path", 20)


@pytest.mark.parametrize(("uses", "alone"), [(("exclusive", "shared"), True), (("shared", "shared"), False)])
def test_two_rules_actions_on_one_file(daemon: Daemon, uses: tuple[str, str], alone: bool) -> None:
    for name in ("one", "two"):
        os.mkfifo(f"{record(daemon, name)}.door")
    rules = [
        rule(name, probe(daemon, name, wait=True, use=use), roots=[str(daemon.root)], settle="0s")
        for name, use in zip(("one", "two"), uses, strict=True)
    ]
    configure(daemon, *rules)
    daemon.start()
    (daemon.root / "a").write_text("x")

    def begun() -> list[str]:
        return [name for name in ("one", "two") if "begin 0 " in lines(record(daemon, name))]

    if not alone:
        eventually(lambda: begun() == ["one", "two"], "both work", 20)
        for name in ("one", "two"):
            Path(f"{record(daemon, name)}.door").write_text("go")
        return
    (first,) = eventually(begun, "one works", 20)
    eventually(lambda: running(daemon) == {"one": 1, "two": 1}, "both jobs run", 20)
    assert begun() == [first]
    Path(f"{record(daemon, first)}.door").write_text("go")
    eventually(lambda: begun() == ["one", "two"], "the other one works", 20)
    (second,) = {"one", "two"} - {first}
    Path(f"{record(daemon, second)}.door").write_text("go")


def running(daemon: Daemon) -> dict[str, int]:
    """How many jobs of each rule run, and that the statistics hold what actions say of themselves."""
    offset = len(daemon.log())
    daemon.signal(signal.SIGUSR1)
    pattern = re.compile(r"statistics (\{.*\})$", re.MULTILINE)
    (text,) = eventually(lambda: pattern.findall(daemon.log(), offset), "statistics", 20)
    rules = json.loads(text)["rules"]
    assert all(state["actions"][0]["name"] == "probe" for state in rules.values())
    return {name: state["running"] for name, state in rules.items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extras": ["warp"]}, "the action probe can't work so: filewatchd has no extra warp"),
        ({"events": ["open"]}, "the action probe asks for events that no backend tells of: open"),
        ({"capabilities": ["CAP_WARP"]}, "the action probe asks for CAP_WARP, which Linux doesn't know"),
    ],
)
def test_what_an_action_needs_and_cant_have_is_told(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], options: dict[str, object], message: str
) -> None:
    configure(daemon, daemon.rule(actions=probe(daemon, **options)))
    assert main(["check", "--config", str(daemon.config)]) == 78
    assert f"{daemon.config}:8:16: {message}" in capsys.readouterr().err


def test_a_capability_that_is_lacking_is_a_warning(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filewatchd.capabilities._effective", lambda: 1 << 21)
    wanted = ["CAP_SYS_ADMIN", "CAP_LEASE"]
    configure(daemon, daemon.rule(actions=probe(daemon, capabilities=wanted)))
    assert main(["check", "--config", str(daemon.config)]) == 0
    said = capsys.readouterr().err
    assert "the action probe needs CAP_LEASE" in said
    assert "CAP_SYS_ADMIN" not in said


def test_mistakes_hide_no_others(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    command = {"command": ["nosuchprogram", "{pth}"], "user": "nosuchuser", "stop_signal": "TREM"}
    configure(daemon, daemon.rule(actions="exec: " + json.dumps(command), settle="5"))
    assert main(["check", "--config", str(daemon.config)]) == 78
    said = capsys.readouterr().err
    for wrong in (
        "nosuchprogram on PATH",
        "no placeholder {pth}",
        "no user named 'nosuchuser'",
        "'TREM'",
        "5 has no unit",
    ):
        assert wrong in said


def test_an_action_brings_routes(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example action's, with everything that the daemon's own routes have: access, mistakes, a place in OpenAPI."""
    seals = daemon.directory / "seals"
    seals.mkdir()
    example = Path(__file__).parents[1] / "plugin"
    site = daemon.directory / "example"
    info = site / "filewatchd_example_action-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "filewatchd_example_action").symlink_to(example / "filewatchd_example_action")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: filewatchd-example-action\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[filewatchd.actions]\nseal = filewatchd_example_action\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    configure(daemon, daemon.rule(actions="seal: " + json.dumps({"into": str(seals)})))
    daemon.start()
    (daemon.root / "a").write_text("x")
    assert ask(daemon, "flush")["done"]
    path = str(daemon.root / "a")
    status, document = request(daemon, "GET", "/v1/actions/seal/seals?rule=recorded")
    assert (status, document["seals"].keys()) == (200, {path})
    assert document["instance"] == "main"
    assert request(daemon, "GET", "/v1/actions/seal/seals?limit=0")[0] == 400
    assert request(daemon, "GET", "/v1/actions/seal/forget")[0] == 405
    assert request(daemon, "GET", "/v1/actions/exec/seals")[0] == 404
    assert request(daemon, "POST", "/v1/actions/seal/forget", {"path": path})[0] == 200
    assert request(daemon, "POST", "/v1/actions/seal/forget", {"path": path}) == (
        409,
        {**{key: document[key] for key in ("host", "instance")}, "error": f"{path} has no seal"},
    )
    daemon.says(": seal.forget {")
    assert "/v1/actions/seal/forget" in request(daemon, "GET", "/v1/openapi.json")[1]["paths"]


def request(daemon: Daemon, method: str, target: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    with contextlib.closing(http.client.HTTPConnection("localhost")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(socket_in(str(daemon.directory / "run")))
        connection.request(method, target, json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
