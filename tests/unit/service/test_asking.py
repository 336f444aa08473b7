"""The control socket's answers, before there is anything to answer of."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, MagicMock

from filewatchd.control.api import Peer
from filewatchd.control.arguments import Flush
from filewatchd.jobs.flush import Left
from filewatchd.service.asking import Asking

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
