"""The action log."""

from __future__ import annotations

import asyncio
import logging

import pytest

from filewatchd.actions import log as package
from filewatchd.actions.base import Needs
from filewatchd.model import OK, Kind, RuleSettings
from filewatchd.testing import FakeContext, FakeJob, changed

RULE = RuleSettings(name="rule", roots=("/r",), actions=())


def logged(caplog: pytest.LogCaptureFixture, options: package.Options, *paths: str) -> list[str]:
    action = package.open(options, FakeContext(RULE))
    job = FakeJob([changed(path, "/r", Kind.CREATED) for path in paths], id=4)
    with caplog.at_level(logging.DEBUG, "filewatchd.testing"):
        assert asyncio.run(action.run(job)) == OK
    assert action.statistics() == {"lines": len(paths)}
    assert action.plan(job) == [f"log: {record.getMessage()}" for record in caplog.records]
    return [record.getMessage() for record in caplog.records]


def test_a_line_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, package.Options(), "/r/a", "/r/b") == ["created /r/a", "created /r/b"]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_level_and_message_are_the_users(caplog: pytest.LogCaptureFixture) -> None:
    options = package.Options(level="warning", message="{{{job}}} {name} %s")
    assert logged(caplog, options, "/r/a") == ["{4} a %s"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_name_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, package.Options(), "/r/a\nroot: b\x1b\udcff\u00e9") == [
        "created /r/a\\nroot: b\\x1b\\udcff\u00e9"
    ]


def test_many_lines_let_others_work() -> None:
    action = package.open(package.Options(level="debug"), FakeContext(RULE))
    action._ctx.log.setLevel(logging.DEBUG)
    job = FakeJob([changed(f"/r/{number}", "/r") for number in range(5000)])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        ticking = asyncio.ensure_future(others())
        await action.run(job)
        ticking.cancel()

    asyncio.run(main())
    assert turns >= 10


def test_mistakes_and_needs() -> None:
    (problem,) = package.check(package.Options(message="{knd}"), RULE)
    assert problem.where == ("message",)
    assert "{kind}" in problem.hint
    assert not list(package.check(package.Options(), RULE))
    assert package.needs(package.Options()) == Needs()
    assert package.rule_defaults(package.Options()) == {}


def test_it_is_reconfigured_in_place() -> None:
    action = package.open(package.Options(), FakeContext(RULE))
    assert action.reconfigure(package.Options(message="{name}"))
    assert action.plan(FakeJob([changed("/r/a", "/r")])) == ["log: a"]
