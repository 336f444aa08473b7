"""A rule that expects something says when nothing came."""

from __future__ import annotations

from typing import Any

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure


def findings(daemon: Daemon) -> list[dict[str, Any]]:
    return [finding for finding in ask(daemon, "status")["findings"] if finding["key"] == "expect"]


def test_a_finding_comes_when_nothing_does_and_goes_when_something_does(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(expect={"every": "2s"}))
    daemon.start()
    (finding,) = eventually(lambda: findings(daemon), "nothing came", 20)
    assert finding["rule"] == "recorded"
    assert finding["message"].startswith("nothing has come yet; it was expected by ")
    daemon.says("nothing has come yet")
    daemon.stop()
    (daemon.root / "while down").write_text("x")
    daemon.start()
    daemon.says("something came at last")
    eventually(lambda: findings(daemon), "nothing came again", 20)
    configure(daemon, daemon.rule())
    daemon.stop()
    daemon.start()
    assert findings(daemon) == []
