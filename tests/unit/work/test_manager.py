"""A unit that is started, over a real bus with a service manager of a few lines on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filewatchd.work import manager
from filewatchd.work.manager import Manager, RefusedError
from filewatchd.work.transient import path_of
from tests.unit.work.bus import SystemdOnBus, message_bus, systemd_on_bus


def test_the_first_change_of_a_unit_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(systemd: SystemdOnBus, connection: Manager) -> None:
        changes: list[tuple[str, dict[str, Any]]] = []
        connection.changed = lambda path, change: changes.append((path, change))
        await connection.start("a-1.service", [], [])
        assert changes == [(path_of("a-1.service"), {"ExecMainCode": 1})]
        systemd.refusals["StartTransientUnit"] = ("org.freedesktop.DBus.Error.AccessDenied", "Access denied")
        with pytest.raises(RefusedError, match="Access denied"):
            await connection.start("a-2.service", [], [])

    async def run(address: str) -> None:
        async with systemd_on_bus(address) as systemd:
            connection = await Manager.connect(system=False)
            try:
                await test(systemd, connection)
            finally:
                connection.close()

    with message_bus(tmp_path) as address:
        monkeypatch.setattr(manager, "_user_address", lambda: address)
        asyncio.run(run(address))
