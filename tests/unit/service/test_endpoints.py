"""Routes that actions bring: what becomes of an endpoint, of its arguments, and of one that can't be."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from filewatchd.actions.base import Caller, Endpoint
from filewatchd.control.api import Peer, RequestError, Told
from filewatchd.control.openapi import arguments_of, openapi
from filewatchd.control.routing import arguments_of as read
from filewatchd.errors import ActionError
from filewatchd.service.endpoints import Endpoints, route_of

ME = Peer(1, 0, 0, frozenset({4}), True)


class Asked(Struct, frozen=True, kw_only=True):
    """What may be said."""

    word: Annotated[str, Meta(description="A word.")]
    times: int = 1
    more: list[str] = msgspec.field(default_factory=list)


class Said(Struct, kw_only=True):
    """What is answered."""

    text: str


SAY = Endpoint("say", "Say a word.", Said, Asked)
STOP = Endpoint("stop", "Say no more.", Said, acts=True)


class Speaker:
    def __init__(self, rule: str) -> None:
        self.rule = rule

    async def answer(self, endpoint: str, arguments: Any) -> Said:
        if endpoint == "stop":
            raise ActionError("it can't be stopped")
        assert isinstance(arguments, Asked)
        return Said(text=f"{self.rule}: {arguments.word * arguments.times}")


def endpoints(package: object, *rules: str, action: type[Any] = Speaker) -> Endpoints:
    pipelines = {rule: SimpleNamespace(actions=[SimpleNamespace(name="speak", action=action(rule))]) for rule in rules}
    engine: Any = SimpleNamespace(pipelines=pipelines)
    packages: Any = {"speak": package}
    return Endpoints(engine, packages)


def ask(found: Endpoints, name: str, query: str = "", body: bytes = b"") -> Any:
    (route, handler), *_ = [each for each in found.routes().items() if each[0].name == f"speak.{name}"]

    async def asked() -> Any:
        return await handler(read(route, {}, query, body), ME)

    told = asyncio.run(asked())
    assert isinstance(told, Told)
    return told.document


def test_an_endpoint_is_a_route_with_a_rule_and_its_own_arguments() -> None:
    say, stop = route_of("speak", SAY), route_of("speak", STOP)
    assert (say.method, say.path, say.acts) == ("GET", "/v1/actions/speak/say", False)
    assert (stop.method, stop.path, stop.acts) == ("POST", "/v1/actions/speak/stop", True)
    assert {each.name for each in arguments_of(say)} == {"rule", "word", "times", "more"}
    document = openapi([say, stop])
    operation = document["paths"]["/v1/actions/speak/say"]["get"]
    assert operation["summary"] == "Say a word."
    (word,) = (each for each in operation["parameters"] if each["name"] == "word")
    assert (word["required"], word["description"]) == (True, "A word.")
    assert "Said" in document["components"]["schemas"]


def test_the_rules_action_answers() -> None:
    found = endpoints(SimpleNamespace(endpoints=(SAY, STOP)), "one", "two")
    assert ask(found, "say", "rule=two&word=ho&times=2") == Said(text="two: hoho")
    with pytest.raises(RequestError, match="say which rule is meant; one, two have the action speak"):
        ask(found, "say", "word=ho")
    with pytest.raises(RequestError, match="there is no rule three with the action speak"):
        ask(found, "say", "word=ho&rule=three")
    with pytest.raises(RequestError, match="missing required field `word`"):
        ask(found, "say", "rule=one")
    with pytest.raises(RequestError, match="it can't be stopped") as refused:
        ask(found, "stop", body=b'{"rule": "one"}')
    assert refused.value.status == 409


class Judge(Speaker):
    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Said:
        return Said(text=f"{endpoint}: uid {caller.uid}, pid {caller.pid}, {sorted(caller.groups)}, {caller.acts}")


def test_who_asks_is_told_to_an_action_that_wants_to_know() -> None:
    found = endpoints(SimpleNamespace(endpoints=(SAY, STOP)), "one", action=Judge)
    assert ask(found, "stop") == Said(text=f"stop: uid {ME.uid}, pid {ME.pid}, [0, 4], True")


def test_one_rule_alone_needs_no_name() -> None:
    assert ask(endpoints(SimpleNamespace(endpoints=(SAY,)), "one"), "say", "word=ho") == Said(text="one: ho")


@pytest.mark.parametrize(
    "wrong",
    [
        Endpoint("Say/It", "A name that is no path's.", Said),
        Endpoint("say", "Arguments that are no struct.", Said, dict),
        "say",
    ],
)
def test_what_cant_be_a_route_is_told_once(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = endpoints(SimpleNamespace(endpoints=(wrong,)), "one")
    with caplog.at_level(logging.ERROR, "filewatchd.control"):
        assert not found.routes()
        assert not found.routes()
    assert caplog.messages == ["the action speak brings routes that can't be made; report it to its authors"]


def test_a_package_without_endpoints_has_none() -> None:
    assert not endpoints(SimpleNamespace(), "one").routes()
