"""Somebody is told: of a rule that fails and recovers, of an expectation, over kill -9, by webhooks and commands."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, shell

KEY = "a secret of ours"


class Hook:
    """A receiver on the loopback: ``took`` has the documents; ``answers`` are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.took: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = [(204, {})]
        self.before: Callable[[], None] = lambda: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
                wanted = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
                assert self.headers["webhook-signature"] == f"v1,{wanted}"
                status, headers = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
                hook.ids.append(self.headers["webhook-id"])
                if status < 300:
                    hook.took.append(json.loads(body))
                hook.before()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's word
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/xyzzy"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, event: str, count: int = 1) -> dict[str, Any]:
        """The last notice of an event, once there are so many."""

        def of() -> list[dict[str, Any]]:
            return [document for document in self.took if document["event"] == event]

        eventually(lambda: len(of()) >= count, f"{count} of {event}")
        return of()[count - 1]


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture
def actions(daemon: Daemon, hook: Hook) -> list[dict[str, Any]]:
    """A list that tells the hook."""
    key = daemon.directory / "key"
    key.write_text(KEY)
    return [{"webhook": {"url": hook.url, "sign": {"file": str(key)}}}]


def _at(document: Any, *keys: Any) -> Any:
    for key in keys:
        document = document[key]
    return document


WORK = shell('grep -q good "$1" || (echo "no good word in $1" >&2; exit 1)', "{path}")


def test_a_rules_failure_and_recovery_reach_a_webhook_and_a_command(
    daemon: Daemon, hook: Hook, actions: list[dict[str, Any]]
) -> None:
    heard = daemon.directory / "heard"
    command = {"exec": {"command": ["sh", "-c", f'echo "$FILEWATCHD_EVENT {{rule}}: $1" >>{heard}', "sh", "{message}"]}}
    notified = {f"on_{event}": [*actions, command] for event in ("failure", "recovery")}
    configure(daemon, daemon.rule(actions=WORK, retry={"attempts": 1}), defaults={"settle": "50ms", **notified})
    daemon.start()
    name = os.fsdecode(b"caf\xe9")
    (daemon.root / name).write_text("bad")
    document = hook.told("failure")
    assert document["rule"] == "recorded"
    assert "no good word in" in document["message"]
    (entry,) = document["entries"]
    assert base64.b64decode(entry["path_b64"]) == os.fsencode(daemon.root / name)
    status = ask(daemon, "status")["rules"]
    assert list(status) == ["recorded"]
    assert "no good word" in status["recorded"]["failing"]["why"]
    assert [each["name"] for each in status["recorded"]["notifications"]] == [
        "recorded:on_failure", "recorded:on_recovery"
    ]  # fmt: skip
    (daemon.root / name).write_text("good")
    assert hook.told("recovery")["message"].startswith("it works again, after a failure since ")
    eventually(lambda: len(heard.read_text().splitlines()) == 2, "the command heard both")
    assert heard.read_text().splitlines()[0].startswith("failure recorded: ")
    eventually(lambda: ask(daemon, "status")["rules"]["recorded"]["failing"] is None, "status says so")
    assert hook.url.rpartition("/")[2] not in daemon.log()


def test_an_expectation_reaches_somebody_although_nobody_answers_at_first(
    daemon: Daemon, hook: Hook, actions: list[dict[str, Any]]
) -> None:
    hook.answers = [(503, {"Retry-After": "1"}), (500, {}), (204, {})]
    configure(daemon, daemon.rule(expect={"every": "2s"}, on_finding=actions, on_recovery=actions))
    daemon.start()
    document = hook.told("finding")
    assert document["entries"][0]["key"] == "expect"
    assert document["message"].startswith("nothing has come yet")
    assert len(set(hook.ids[:3])) == 1  # three tries of one delivery
    jobs = ask(daemon, "jobs", rule="recorded:on_finding")["jobs"]
    assert jobs[-1]["trigger"] == "notice"


@pytest.mark.parametrize("answered", [False, True])
def test_a_kill_while_it_is_told_tells_it_again(
    daemon: Daemon, hook: Hook, actions: list[dict[str, Any]], answered: bool
) -> None:
    configure(daemon, daemon.rule(actions=WORK, retry={"attempts": 1}, on_failure=actions))
    daemon.start()
    process = daemon.running()

    def die() -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)

    hook.before = die
    if not answered:
        hook.answers = [(500, {}), (204, {})]
    (daemon.root / "a").write_text("bad")
    eventually(lambda: process.poll() is not None, "its death")
    hook.before = lambda: None
    daemon.process = None
    daemon.start()
    document = hook.told("failure", 2 if answered else 1)
    assert "no good word" in document["message"]
    told: tuple[Any, ...] = "rules", "recorded", "notifications", 0, "waiting"
    eventually(lambda: _at(ask(daemon, "status"), *told) == 0, "nothing is left to tell")


def test_a_reload_that_removes_them_forgets_and_a_test_can_be_asked_for(
    daemon: Daemon, hook: Hook, actions: list[dict[str, Any]], tmp_path: Path
) -> None:
    configure(daemon, daemon.rule(on_failure=actions))
    daemon.start()
    ask(daemon, "trigger", rule="recorded:on_failure")
    assert hook.told("failure")["test"] is True
    configure(daemon, daemon.rule())
    ask(daemon, "reload")
    assert ask(daemon, "status")["rules"]["recorded"]["notifications"] == []
