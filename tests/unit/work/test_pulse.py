"""Waiting for a condition that somebody beats for."""

from __future__ import annotations

import asyncio

from filewatchd.testing import settle
from filewatchd.work.pulse import Pulse


def test_who_waits_asks_at_each_beat_and_only_then() -> None:
    async def main() -> None:
        pulse, facts, asked = Pulse(), {"ready": False}, []

        def ready() -> bool:
            asked.append(facts["ready"])
            return facts["ready"]

        waiting = [asyncio.ensure_future(pulse.until(ready)) for _ in range(2)]
        await settle()
        assert asked == [False, False]
        pulse.beat()
        await settle()
        assert asked == [False] * 4
        facts["ready"] = True
        await settle()
        assert not any(task.done() for task in waiting)
        pulse.beat()
        await asyncio.gather(*waiting)
        assert asked == [False] * 4 + [True] * 2

    asyncio.run(main())


def test_one_that_gave_up_doesnt_disturb_the_others() -> None:
    async def main() -> None:
        pulse, facts = Pulse(), {"ready": False}
        gone = asyncio.ensure_future(pulse.until(lambda: facts["ready"]))
        stays = asyncio.ensure_future(pulse.until(lambda: facts["ready"]))
        await settle()
        gone.cancel()
        await settle()
        facts["ready"] = True
        pulse.beat()
        await stays
        assert gone.cancelled()

    asyncio.run(main())
