"""The control socket's answers, before there is anything to answer of."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, MagicMock

import pytest

from filewatchd.control.api import Peer, RequestError
from filewatchd.control.arguments import Flush
from filewatchd.jobs.flush import Left
from filewatchd.service.asking import Asking, rules_of

_ROOT = Peer(1, 0, 0)


def test_a_flush_that_comes_early_waits_until_the_rules_have_their_roots() -> None:
    """The socket is there first. What a flush finds nothing of, it would call done."""

    async def scene() -> None:
        engine, rooting, configured = MagicMock(pipelines={}), AsyncMock(), asyncio.Event()
        engine.flush = AsyncMock()
        engine.left.return_value = Left([], [], [], [], [])
        rooting.stalled = list
        asking = Asking(engine, rooting, MagicMock(), configured)
        assert (await asking.flush(Flush(timeout=0.01), _ROOT)).done is False
        rooting.flush.assert_not_awaited()
        configured.set()
        assert (await asking.flush(Flush(timeout=10), _ROOT)).done is True
        rooting.flush.assert_awaited_once()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("b:on_failure", None),
        ("b:on_finding", "rule b has no notification on_finding; there are b:on_failure, b:on_recovery"),
        ("a:on_failure", "rule a has no notification on_failure; there are none"),
        ("c:on_failure", "there is no rule c:on_failure; there are a, b"),
        ("c", "there is no rule c; there are a, b"),
        ("off", "rule off is disabled; set `enabled: true` to put it to work"),
    ],
)
def test_why_there_is_no_such_rule_is_said(wanted: str, said: str | None) -> None:
    engine = MagicMock(rules=["a", "b"], pipelines=dict.fromkeys(["a", "b", "b:on_recovery", "b:on_failure"]))
    engine.generations.digest = {"a": "1", "b": "2", "off": "3"}.get
    if said is None:
        assert rules_of(engine, wanted) == [wanted]
    else:
        with pytest.raises(RequestError) as raised:
            rules_of(engine, wanted)
        assert str(raised.value) == said
