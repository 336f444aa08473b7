"""A service's reload that has failed: when it is well again, nothing is left that failed, and that is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control import client
from filewatchd.control.places import action_place, socket_in
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, rule, shell


def act(daemon: Daemon, name: str, **arguments: str) -> None:
    place = action_place("reload", name, acts=True)
    client.ask(socket_in(str(daemon.directory / "run")), place, {"rule": "app", **arguments})


def state(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = ask(daemon, "status")["rules"]["app"]
    return found


@pytest.mark.parametrize("way", ["retry", "jobs retry", "rollback", "another file"])
def test_once_it_is_applied_no_path_has_failed_any_more(way: str, daemon: Daemon) -> None:
    flag, told, saved = daemon.directory / "down", daemon.directory / "told", daemon.root / "app.conf"
    saved.write_text("one\n")
    apply = {"command": ["test", "!", "-e", str(flag)]}
    heard = {f"on_{event}": f"[{shell('echo $1 >>$2', event, str(told))}]" for event in ("failure", "recovery")}
    reload = "reload: " + json.dumps({"apply": apply, "cooldown": 0})
    configure(daemon, rule("app", reload, roots=[str(daemon.root)], retry={"attempts": 1}, **heard))
    daemon.start()
    eventually(lambda: {job["state"] for job in ask(daemon, "jobs")["jobs"]} == {"ok"}, "the first set is looked at")
    flag.touch()
    saved.write_text("two\n")
    eventually(lambda: state(daemon)["failed"] == 1, "it fails")
    flag.unlink()
    if way == "another file":
        (daemon.root / "more.conf").write_text("x\n")
    elif way == "jobs retry":
        ask(daemon, "retry", rule="app")
    elif way == "rollback":
        act(daemon, way, version="good")
    else:
        act(daemon, way)
    eventually(lambda: state(daemon)["failed"] == 0, "nothing has failed any more", 20)
    eventually(lambda: _lines(told) == ["failure", "recovery"], "its recovery is told", 30)
    assert saved.read_text() == ("one\n" if way == "rollback" else "two\n")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
