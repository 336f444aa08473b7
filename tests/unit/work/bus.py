"""A message bus of its own with a service manager of a few lines on it. The real one: tests/e2e/systemd."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType, RequestNameReply, Variant
from dbus_fast.aio import MessageBus

from filewatchd.work.transient import path_of

NAME, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"


class SystemdOnBus:
    """Answers as systemd does. ``units`` has states, ``results`` how the next jobs end, ``calls`` what was asked."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.units: dict[str, dict[str, str]] = {}
        self.results: list[str] = []
        self.refusals: dict[str, tuple[str, str]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.early = False  # a job's end is told before its call is answered
        self.held: list[Message] = []  # ends of jobs that are told later
        self.hold = False
        self.silent = ""  # the call that isn't answered
        self._jobs = 0

    def take(self, message: Message) -> Message | bool | None:
        """One call."""
        if message.message_type is not MessageType.METHOD_CALL or message.path == "/org/freedesktop/DBus":
            return None
        member, body = str(message.member), [str(word) for word in message.body]
        self.calls.append((member, *body))
        if member == self.silent:
            return True
        if member in self.refusals:
            name, text = self.refusals[member]
            return Message.new_error(message, name, text)
        if member == "LoadUnit":
            return Message.new_method_return(message, "o", [f"{PATH}/unit/{body[0].encode().hex()}"])
        if member == "GetAll":
            unit = bytes.fromhex(str(message.path).rpartition("/")[2]).decode()
            missing = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
            state: dict[str, Any] = {k: Variant("s", v) for k, v in self.units.get(unit, missing).items()}
            return Message.new_method_return(message, "a{sv}", [state])
        if member == "StartTransientUnit":  # a change comes before the answer
            changed = [f"{NAME}.Service", {"ExecMainCode": Variant("i", 1)}, []]
            properties = "org.freedesktop.DBus.Properties"
            self.bus.send(Message.new_signal(path_of(body[0]), properties, "PropertiesChanged", "sa{sv}as", changed))
        if member.endswith("Unit"):
            return self._job(message, body[0])
        return Message.new_method_return(message)

    async def connections(self) -> int:
        """How many names there are on the bus: one of each connection, and some that stay."""
        bus = "org.freedesktop.DBus"
        answer = await self.bus.call(Message(bus, "/org/freedesktop/DBus", bus, "ListNames"))
        assert answer is not None
        return len(answer.body[0])

    def _job(self, message: Message, unit: str) -> Message | None:
        self._jobs += 1
        job = f"{PATH}/job/{self._jobs}"
        result = self.results.pop(0) if self.results else "done"
        removed = Message.new_signal(PATH, f"{NAME}.Manager", "JobRemoved", "uoss", [self._jobs, job, unit, result])
        answer = Message.new_method_return(message, "o", [job])
        if self.hold:
            self.held.append(removed)
        first, second = (removed, answer) if self.early else (answer, removed)
        self.bus.send(first)
        if not self.hold:
            self.bus.send(second)
        return None


@contextlib.contextmanager
def message_bus(folder: Path) -> Iterator[str]:
    """A bus; gives its address."""
    address = f"unix:path={folder}/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1", f"--address={address}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            yield address
        finally:
            daemon.kill()


@contextlib.asynccontextmanager
async def systemd_on_bus(address: str) -> AsyncIterator[SystemdOnBus]:
    """The manager, on the bus there."""
    bus = await MessageBus(bus_address=address).connect()
    manager = SystemdOnBus(bus)
    bus.add_message_handler(manager.take)
    assert await bus.request_name(NAME) is RequestNameReply.PRIMARY_OWNER
    yield manager
    bus.disconnect()
