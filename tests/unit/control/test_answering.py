"""From a request to its answer: routes, arguments, what is wrong with them, who may, and what is logged of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.control import access, arguments, documents, http
from filewatchd.control.account import Account
from filewatchd.control.api import ROUTES, Peer, RequestError, Stream, Told
from filewatchd.control.server import ControlServer
from filewatchd.errors import StateError

ME = Peer(1, os.geteuid(), os.getegid())
STRANGER = Peer(1, 65533, 65533)


async def explain(asked: arguments.Explain, peer: Peer) -> documents.Explained:
    if asked.rule is not None:
        raise RequestError(404, f"there is no rule {asked.rule}")
    return documents.Explained(path=asked.path or "")


async def pause(asked: arguments.Pause, peer: Peer) -> documents.Flushed:
    if asked.reason == "state":
        raise StateError("the disk is full")
    raise RuntimeError("a bug")


async def health(asked: arguments.Arguments, peer: Peer) -> Told:
    return Told(503, documents.Health(healthy=False, state="blocked", why=["the disk is full"]))


async def changes(asked: arguments.Changes, peer: Peer) -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}\n"

    return Stream(pieces())


async def nothing(asked: arguments.Arguments, peer: Peer) -> documents.Document:
    return documents.Document()


HANDLERS: dict[str, Any] = {route.name: nothing for route in ROUTES}
HANDLERS |= {"explain": explain, "pause": pause, "health": health, "changes": changes}


async def at_once(function: Any, *given: Any) -> Any:
    return function(*given)


def server(rights: access.Access | None = None) -> ControlServer:
    made = ControlServer("/nowhere", lambda: {"host": "h"}, lambda: rights or access.Access(), blocking=at_once)
    made.answer_by(HANDLERS)
    return made


def answer(
    method: str, target: str, body: bytes | None = b"", peer: Peer = ME, rights: access.Access | None = None
) -> tuple[int, dict[str, Any], http.Reply]:
    reply = asyncio.run(server(rights).answer(peer, frozenset(), http.Request(method, target, body)))
    return reply.status, json.loads(reply.body) if isinstance(reply.body, bytes) else {}, reply


def test_a_document_says_where_it_comes_from() -> None:
    assert answer("GET", "/v1/explain?path=/a%20b")[:2] == (200, {"host": "h", "path": "/a b"})
    assert answer("HEAD", "/v1/explain?path=/a")[0] == 200


def test_a_document_may_have_another_status() -> None:
    status, document, _ = answer("GET", "/v1/health")
    assert (status, document["healthy"]) == (503, False)


def test_another_method_is_told_which_there_are() -> None:
    status, document, reply = answer("OPTIONS", "/v1/explain")
    assert (status, reply.headers) == (405, (("Allow", "GET, HEAD"),))
    assert document == {"host": "h", "error": "/v1/explain takes GET"}


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "told"),
    [
        ("GET", "/v1/explain?path=a%00b", b"", 400, "path: there is a NUL in it"),
        ("GET", "/v1/explain?pth=a", b"", 400, "there is no argument pth; there are path, "),
        ("GET", "/v1/explain?path=a&path=b", b"", 400, "an argument is given twice"),
        ("GET", "/v1/jobs?state=null", b"", 400, "state: null is no value; leave it out"),
        ("GET", "/v1/explain?" + "&".join(f"a{n}=1" for n in range(60)), b"", 400, "can't be read"),
        ("GET", "/v1/explain", b"{}", 400, "in the query string, not in a body"),
        ("GET", "/v1/explain?path=", b"", 400, "path: expected `str` of length >= 1"),
        ("GET", "/v1/jobs/0", b"", 400, "id: expected `int` >= 1"),
        ("GET", "/v1/jobs/x", b"", 400, "id: expected `int"),
        ("GET", "/v1/jobs/1?id=2", b"", 400, "id is said twice"),
        ("GET", "/v1/jobs/1/2", b"", 404, "there is no /v1/jobs/1/2"),
        ("POST", "/v1/pause", None, 413, "more bytes than any request needs"),
        ("POST", "/v1/pause", b'{"rule": "a", "rule": "b"}', 400, "rule is said twice"),
        ("POST", "/v1/pause", b'{"rule": "a", "seconds": NaN}', 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": "a", "seconds": 1e999}', 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": "\\ud800"}', 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": "\xff"}', 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": ' + b"[" * 100_000, 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": ' + b"1" * 100_000 + b"}", 400, "the body isn't JSON"),
        ("POST", "/v1/pause", b'{"rule": "a\\u0000"}', 400, "rule: there is a NUL in it"),
        ("POST", "/v1/pause?rule=a", b"", 400, "arguments go into the body"),
        ("POST", "/v1/pause", b"{}", 400, "Object missing required field `rule`"),
        ("POST", "/v1/pause", b'{"rule": "a", "reason": "state"}', 503, "the disk is full"),
        ("POST", "/v1/pause", b'{"rule": "a"}', 500, "internal error; the log has more"),
        ("POST", "/v1/trigger", b'{"rule": "a", "paths": ["/a", "/\\u0000"]}', 400, "paths: there is a NUL in it"),
    ],
)
def test_what_is_wrong_is_said(method: str, target: str, body: bytes | None, status: int, told: str) -> None:
    found, document, _ = answer(method, target, body)
    assert found == status
    assert told in document["error"]


def test_a_name_that_isnt_utf_8_can_be_told_of() -> None:
    status, document, _ = answer("GET", "/v1/explain?rule=%FF%ED%A0%80")
    assert (status, document["error"]) == (404, "there is no rule \ufffd\ufffd\ufffd\ufffd")


@given(
    st.sampled_from(("GET", "POST", "HEAD", "PUT")),
    st.one_of(st.sampled_from([route.path for route in ROUTES]), st.text(max_size=30).map(lambda text: f"/{text}")),
    st.one_of(st.text(max_size=60), st.sampled_from(("path=%ff", "since=0&limit=1", "%", "a=b;c", "id=1", "rule=%00"))),
    st.one_of(st.binary(max_size=60), st.sampled_from((b"{}", b"[]", b'{"rule": 1}', b'{"id": 1.5}', b'{"a": {}}'))),
)
def test_no_request_is_answered_by_a_bug(method: str, path: str, query: str, body: bytes) -> None:
    status, _, _ = answer(method, f"{path}?{query}", body)
    assert status != 500 or path not in ("/v1/explain", "/v1/health", "/v1/changes")


# ---- who may


@pytest.mark.parametrize(
    ("rights", "method", "allowed"),
    [
        (access.Access(), "GET", False),
        (access.Access(read=access.Named(frozenset({65533}))), "GET", True),
        (access.Access(read=access.Named(frozenset({65533}))), "POST", False),
        (access.Access(act=access.Named(frozenset({65533}))), "GET", True),
        (access.Access(act=access.Named(gids=frozenset({65533}))), "POST", True),
    ],
)
def test_who_may_do_what(rights: access.Access, method: str, allowed: bool) -> None:
    target = "/v1/explain?path=/a" if method == "GET" else "/v1/pause"
    status, document, _ = answer(method, target, b'{"rule": "a"}' if method == "POST" else b"", STRANGER, rights)
    assert (status == 403) is not allowed
    if not allowed:
        key = "read" if method == "GET" else "act"
        assert document["error"].endswith(f"name the user, or a @group of theirs, under control.{key}")


def test_nothing_is_read_of_what_strangers_would_say() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert server()._answerer(one).body() == http.BODY
        with mock.patch("filewatchd.control.access.peer_of", return_value=STRANGER):
            assert server()._answerer(one).body() == 0
            act = access.Access(act=access.Named(frozenset({STRANGER.uid})))
            assert server(act)._answerer(one).body() == http.BODY
    assert answer("POST", "/v1/pause", None, STRANGER)[0] == 403


def test_refusals_are_logged_and_dont_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    account = Account(at_once, lambda: now[0])
    (route,) = (route for route in ROUTES if route.name == "pause")

    def refused(times: int) -> list[str]:
        caplog.clear()
        for _ in range(times):
            reason = asyncio.run(account.refused(STRANGER, route, "control.act"))
            assert reason.startswith("uid 65533 may not act on this daemon")
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        return caplog.messages

    with caplog.at_level(logging.WARNING, "filewatchd.control"):
        assert refused(500) == ["uid 65533, pid 1 was refused: pause needs control.act"]
        now[0] += 61
        assert refused(3) == [
            "uid 65533, pid 1 was refused: pause needs control.act; 499 more since the last such line"
        ]


def test_an_act_is_logged_with_who_did_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "filewatchd.control"):
        answer("POST", "/v1/pause", b'{"rule": "a", "reason": "state"}', Peer(7, 0, 0))
    assert "root (uid 0), pid 7: pause {'rule': 'a', 'reason': 'state', 'discard': False}" in caplog.messages


def test_a_directory_of_users_that_doesnt_answer_holds_up_nobody_for_long() -> None:
    async def never(function: Any, uid: int) -> str:
        await asyncio.Event().wait()
        return ""

    (route,) = (route for route in ROUTES if route.name == "status")
    account = Account(never, lambda: 0.0, patience=0.01)
    reason = asyncio.run(account.refused(Peer(1, 0, 0), route, "control.read"))
    assert reason.startswith("uid 0 may not ask this daemon")


def test_few_users_are_remembered() -> None:
    asked: list[int] = []

    async def look_up(function: Any, uid: int) -> str:
        asked.append(uid)
        return f"uid {uid}"

    account = Account(look_up, lambda: 0.0)
    (route,) = (route for route in ROUTES if route.name == "status")

    async def ask(uids: range) -> None:
        for uid in uids:
            await account.refused(Peer(1, uid, uid), route, "control.read")

    asyncio.run(ask(range(1, 1002)))
    asked.clear()
    asyncio.run(ask(range(1000, 1002)))
    assert asked == []
    asyncio.run(ask(range(1, 2)))
    assert asked == [1]
