"""Webhooks, posted to a server on the loopback; and every template of the how-to, loaded and posted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import webhook
from filewatchd.actions.registry import packages
from filewatchd.actions.webhook import Options
from filewatchd.config.load import load
from filewatchd.errors import ActionError
from filewatchd.model import OK, Entry, Event, Notice, RuleSettings, Trigger
from filewatchd.notation import MalformedError
from filewatchd.testing import FakeContext, FakeJob, changed
from filewatchd.testing.clock import START
from filewatchd.values import Secret
from tests.unit.loopback import Asked, Server, answer, serving

HOST = socket.gethostname()
RULE = RuleSettings("backups", ("/srv",), ())
HOWTO = Path(__file__).parents[3] / "docs/how-to/be-told.md"
MEAN = 'no "space" left\n} {rule} \\ \udcff'  # a message that would break out of whatever it is put into


def noticed(event: Event = Event.FAILURE, count: int = 1) -> FakeJob:
    entries = tuple(Entry(f"key{n}", MEAN, f"/srv/\udcff{n}", 1, 2, 1, 6) for n in range(count))
    return FakeJob(id=7, rule="backups", trigger=Trigger.NOTICE, notice=Notice("backups", event, entries, 5))


def posted(
    job: FakeJob, *answers: bytes | None, check: Callable[[ActionError], None] | None = None, **keys: Any
) -> list[Asked]:
    async def run() -> list[Asked]:
        async with serving(*answers) as server:
            action = webhook.open(Options(**{"url": server.url, **keys}), FakeContext(RULE))
            if check is None:
                assert await action.run(job) == OK
                assert action.statistics() == {"sent": 1, "refused": 0}
            else:
                with pytest.raises(ActionError) as caught:
                    await action.run(job)
                check(caught.value)
                assert action.statistics() == {"sent": 0, "refused": 1}
            return server.asked

    return asyncio.run(run())


# ---- what is sent


def test_the_changes_of_a_job_are_a_document() -> None:
    (asked,) = posted(FakeJob([changed("/srv/a"), changed("/srv/\udcff")], id=7, rule="backups"))
    assert (asked.method, asked.headers["content-type"]) == ("POST", "application/json")
    document = json.loads(asked.body)
    assert document["rule"] == "backups"
    assert [change["path"] for change in document["changes"]] == ["/srv/a", "/srv/\ufffd"]
    assert asked.headers["webhook-id"] == f"{HOST}.backups.7"
    assert asked.headers["webhook-timestamp"] == str(START)
    assert "webhook-signature" not in asked.headers


def test_a_notice_is_a_document() -> None:
    document = json.loads(posted(noticed(Event.FINDING, 2))[0].body)
    assert (document["event"], document["more"], document["host"], document["test"]) == ("finding", 5, HOST, False)
    assert document["message"] == MEAN.replace("\udcff", "\ufffd") + " (/srv/\ufffd0) (and 6 more)"
    assert document["entries"][1] == {
        "key": "key1", "message": MEAN.replace("\udcff", "\ufffd"), "path": "/srv/\ufffd1",
        "path_b64": base64.b64encode(b"/srv/\xff1").decode(), "first": "1970-01-01T00:00:00.000000Z",
        "last": "1970-01-01T00:00:00.000000Z", "times": 1, "job": 6,
    }  # fmt: skip


def test_placeholders_fill_strings_and_never_break_out_of_them() -> None:
    made = {"text": "*{rule}* {event}: {message}", "n": 5, "all": "{document}", "list": ["{key}", {"{rule}": "{{}}"}]}
    found = json.loads(posted(noticed(), json=made)[0].body)
    said = MEAN.replace("\udcff", "\ufffd")
    assert found["text"] == f"*backups* failure: {said} (/srv/\ufffd0) (and 5 more)"
    assert found["all"]["entries"][0]["message"] == said
    assert found["list"] == ["key0", {"{rule}": "{}"}]
    assert found["n"] == 5


def test_a_body_is_plain_text() -> None:
    (asked,) = posted(noticed(count=30), body="{count} in {rule}\n{details}", method="PUT")
    lines = asked.body.decode().split("\n")
    assert (asked.method, asked.headers["content-type"]) == ("PUT", "text/plain; charset=utf-8")
    assert lines[0] == "35 in backups"
    assert lines[-1] == "... and 15 more"


def test_a_url_with_placeholders_stays_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("12:a/b?c#d\n")

    async def run() -> None:
        async with serving() as server:
            options = Options(url=f"{server.url}/bot{{token}}/{{key}}", secrets={"token": Secret(f"{tmp_path}/token")})
            await webhook.open(options, FakeContext(RULE)).run(noticed())
            assert server.asked[0].target == "/hook/bot12:a%2Fb%3Fc%23d/key0"

    asyncio.run(run())


@pytest.mark.parametrize("text", ["secret of ours", "whsec_" + base64.b64encode(b"secret of ours").decode()])
def test_a_request_is_signed_as_standard_webhooks_have_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(f"{text}\n")
    (asked,) = posted(noticed(), sign=Secret(file=f"{tmp_path}/key"))
    signed = f"{HOST}.backups.7.{START}.".encode() + asked.body
    wanted = base64.b64encode(hmac.new(b"secret of ours", signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{wanted}"


def test_secrets_are_read_anew_for_each_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving() as server:
            headers: dict[str, str | Secret] = {
                "Authorization": Secret(file=f"{tmp_path}/token"),
                "Content-Type": "x/y",
            }
            action = webhook.open(Options(url=Secret(file=f"{tmp_path}/url"), headers=headers), FakeContext(RULE))
            (tmp_path / "url").write_text(server.url)
            with pytest.raises(ActionError, match="token") as caught:
                await action.run(noticed())
            assert caught.value.retryable
            for word in ("one", "two"):
                (tmp_path / "token").write_text(word)
                await action.run(noticed())
            assert [asked.headers["authorization"] for asked in server.asked] == ["one", "two"]
            assert server.asked[0].headers["content-type"] == "x/y"
            (tmp_path / "url").write_text("ftp://x/")
            with pytest.raises(ActionError, match="none of http or https") as caught:
                await action.run(noticed())
            assert not caught.value.retryable
            assert action.plan(noticed())[0].startswith("POST a secret URL: no ")

    asyncio.run(run())


# ---- what comes back


@pytest.mark.parametrize(
    ("given", "why", "retryable", "after"),
    [
        (answer(500, b"no database\n"), "answered 500: no database", True, 0),
        (answer(503, Retry_After="120"), "answered 503", True, 120),
        (answer(429, Retry_After="Sun, 15 Jun 2025 15:07:40 GMT"), "answered 429", True, 60),
        (answer(503, Retry_After="soon"), "answered 503", True, 0),
        (answer(404, Retry_After="120"), "answered 404", False, 0),
        (answer(401, b"who are you"), "answered 401: who are you", False, 0),
        (
            answer(302, Location="http://evil.example/x?y"),
            r"sends to http://evil\.example/\.\.\., which isn't",
            False,
            0,
        ),
        (answer(301, Location="/x"), "sends to elsewhere", False, 0),
        (answer(301, Location="http://[x"), "sends to what is no URL", False, 0),
        (answer(301, Location="http://x:99999/"), "sends to what is no URL", False, 0),
        (None, "no answer within 0.2 s", True, 0),
    ],
)
def test_what_is_no_success(given: bytes | None, why: str, retryable: bool, after: float) -> None:
    def check(error: ActionError) -> None:
        assert re.search(why, str(error))
        assert error.retryable is retryable
        assert abs(error.after - after) < 2

    assert len(posted(noticed(), given, check=check, timeout=0.2)) == 1


def test_secrets_that_an_answer_repeats_are_not_shown(tmp_path: Path) -> None:
    """Servers tell what they didn't like: a whole request, as often as not."""
    words = {name: f"hunter-{name}/2" for name in ("header", "word", "sign")}
    for name, word in words.items():
        (tmp_path / name).write_text(word)
    said = "\n".join([*words.values(), json.dumps(words), "hunter-word%2F2", "bad token"])

    async def run() -> None:
        async with serving(answer(400, f"{said} /hook/hunter-url".encode())) as server:
            (tmp_path / "url").write_text(f"{server.url}/hunter-url")
            options = Options(
                url=Secret(file=f"{tmp_path}/url"), headers={"X-Token": Secret(file=f"{tmp_path}/header")},
                secrets={"word": Secret(file=f"{tmp_path}/word")}, sign=Secret(file=f"{tmp_path}/sign"), body="{word}",
            )  # fmt: skip
            job = noticed()
            with pytest.raises(ActionError) as caught:
                await webhook.open(options, FakeContext(RULE)).run(job)
            assert "hunter" not in str(caught.value) + job.text
            assert ("bad token" in job.text, "answered 400: ***" in str(caught.value)) == (True, True)

    asyncio.run(run())


def test_what_counts_as_success_can_be_said() -> None:
    posted(noticed(), answer(302), status=(302,))
    posted(noticed(), answer(204))


def test_the_environments_proxy_is_used_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving() as server:
            monkeypatch.setitem(os.environ, "http_proxy", server.url)
            for proxy, count in (("environment", 1), (server.url, 2)):
                action = webhook.open(Options(url="http://hooks.example.net/x", proxy=proxy), FakeContext(RULE))
                assert await action.run(noticed()) == OK
                assert [asked.target for asked in server.asked] == ["http://hooks.example.net/x"] * count
            direct = webhook.open(Options(url=server.url, proxy="none"), FakeContext(RULE))
            await direct.run(noticed())
            assert server.asked[-1].target == "/hook"

    asyncio.run(run())


# ---- options


def test_mistakes_are_found_before(tmp_path: Path) -> None:
    wrong = Options(
        url="http://x/{nothing}",
        json={"a": ["{messages}"], "b": {"message": None}},
        headers={"Host": "x", "A": Secret(file=f"{tmp_path}/nothing")},
        sign=Secret(file=f"{tmp_path}/key"),
        secrets={"token": Secret(file=f"{tmp_path}/token")},
        ca=f"{tmp_path}/ca.pem",
    )
    found = {problem.where: problem for problem in webhook.check(wrong, RULE)}
    assert set(found) == {
        ("json", "a", 0), ("json", "b"), ("url",), ("headers", "Host"), ("headers", "A"), ("sign",),
        ("secrets", "token"), ("ca",),
    }  # fmt: skip
    assert "{message}" in found["json", "a", 0].hint
    assert found["json", "b"].hint == 'write "{message}"'
    assert not list(webhook.check(Options(url="http://x/{id}", json={"a": "{document}"}), RULE))
    for keys in ({"json": {}, "body": ""}, {"timeout": 0.0}, {"secrets": {"rule": Secret(file="/x")}}):
        with pytest.raises(MalformedError):
            Options(url="http://x/", **keys)


@pytest.mark.parametrize("text", ["none", "environment", "http://p:3128", "http://me:pass@p:3128"])
def test_a_proxy(text: str) -> None:
    assert webhook.parse_proxy(text) == text


@pytest.mark.parametrize("text", ["", "p:3128", "socks5://p", "http://", True])
def test_what_is_no_proxy(text: object) -> None:
    with pytest.raises(MalformedError):
        webhook.parse_proxy(text)


# ---- the how-to's templates

BLOCKS = re.findall(r"^### ([^\n]*)\n.*?^```yaml\n(.*?)^```", HOWTO.read_text(), re.MULTILINE | re.DOTALL)


def test_the_how_to_has_the_usual_services() -> None:
    assert len(BLOCKS) >= 8


@pytest.mark.parametrize(("service", "text"), [pytest.param(*block, id=block[0].split(",")[0]) for block in BLOCKS])
def test_every_template_of_the_how_to_is_loaded_and_posted(tmp_path: Path, service: str, text: str) -> None:
    tmp_path.chmod(0o755)

    async def each(test: Callable[[Server, str], Awaitable[None]]) -> None:
        async with serving() as server:
            here = f"http://127.0.0.1:{server.port}"
            for name in set(re.findall(r"secrets/(\w+)", text)):
                secret = f"{here}/secret" if re.search(rf"url: \{{file: \S*{name}\}}", text) else "Bearer xyzzy"
                (tmp_path / name).write_text(secret)
            local = re.sub(r"https?://[\w.:-]+", here, text.replace("/etc/filewatchd/secrets", str(tmp_path)))
            await test(server, local)

    async def test(server: Server, local: str) -> None:
        inside = "".join(f"    {line}\n" for line in local.splitlines())
        rule = f"  - name: backups\n    roots: [{tmp_path}/in]\n    user: root\n    actions: [{{log: {{}}}}]\n{inside}"
        found = load(Path("/x.yaml"), registry=packages(), environ={}, flags={}, text=f"version: 1\nrules:\n{rule}")
        (settings,) = found.rules
        for event in Event:
            for spec in getattr(settings, f"on_{event.value}"):
                action = webhook.open(spec.options, FakeContext(settings))
                assert await action.run(noticed(event)) == OK
                asked = server.asked[-1]
                if asked.headers["content-type"] == "application/json":
                    json.loads(asked.body)
                said = asked.body.decode()
                assert "backups" in said
                assert "{" + "rule}" not in said.replace("} {rule} ", "")
        assert len(server.asked) >= 1

    asyncio.run(each(test))


@pytest.mark.parametrize(
    ("message", "path", "line"),
    [
        ("exit status 1", "/srv/a", "exit status 1 (/srv/a)"),
        ("/srv/a is gone", "/srv/a", "/srv/a is gone"),
        ("held", None, "held"),
    ],
)
def test_a_line_says_of_which_file_it_is(message: str, path: str | None, line: str) -> None:
    assert Entry("failed", message, path, 0, 0).line == line
    assert Notice("r", Event.FAILURE, (Entry("failed", message, path, 0, 0),)).message == line
