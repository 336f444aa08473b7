"""Signals: in their order, and none before there is somebody to take it."""

from __future__ import annotations

import asyncio
import os
import signal

from filewatchd.service.signals import Signals
from filewatchd.testing.waiting import eventually


def test_what_comes_while_the_daemon_opens_waits() -> None:
    told: list[str] = []

    async def story() -> None:
        seen = asyncio.Event()
        signals = Signals(
            lambda name: told.append(f"drain {name}"),
            lambda name: told.append(f"stop {name}"),
            lambda: told.append("reload"),
            lambda: told.append("report"),
        )
        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, seen.set)
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2):
                os.kill(os.getpid(), number)
            await asyncio.wait_for(seen.wait(), 20)
            assert told == []
            signals.let_in()
            assert sorted(told) == ["drain SIGTERM", "reload"]
            os.kill(os.getpid(), signal.SIGINT)
            await eventually(lambda: "stop SIGINT" in told, "it comes at once")
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR2)
            signals.close()

    asyncio.run(story())
