"""systemd, spoken to over D-Bus: org.freedesktop.systemd1(5). Imported when the first unit is wanted, and only then.

root's daemon speaks to the system's manager, anybody else's to the manager of its user. Every call has a limit. A
connection that breaks, or on which a call isn't answered in time, is given up whole, as nobody knows then what has
been done: whoever connects again looks first at what there is.

Signals are sent for a unit once somebody has subscribed; the unit's object path is known before the unit is, so it is
watched before it is started and no change is missed. Each signal carries all properties that may change. systemd
leaves the bus for a moment when it executes itself anew (``systemctl daemon-reexec``): the units go on, and what they
are by then is read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, InvalidAddressError

from filewatchd.errors import FilewatchdError
from filewatchd.work.transient import Property, path_of

PATIENCE = 20.0  # seconds for an answer, and for systemd to come back to the bus
_MOST_ENDED = 256  # results of jobs that are kept: ours comes at once before the answer to its call, if at all
_SYSTEMD = "org.freedesktop.systemd1"
_MANAGER = "/org/freedesktop/systemd1"
_UNITS = f"{_MANAGER}/unit/"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = "org.freedesktop.DBus"
_JOBS = f"type='signal',sender='{_SYSTEMD}',path='{_MANAGER}',member='JobRemoved'"
_OWNER = f"type='signal',sender='{_BUS}',member='NameOwnerChanged',arg0='{_SYSTEMD}'"


class LostError(FilewatchdError):
    """The connection is lost, or couldn't be made: says why."""


class RefusedError(FilewatchdError):
    """systemd answered with an error. ``name`` is D-Bus's name for it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name.rpartition(".")[2]


class Manager:
    """A connection to the service manager.

    Attributes:
        changed: called with a watched unit's object path and the properties that changed.
        returned: called when systemd is back on the bus after it had left.
        lost: called once when the connection is given up, with the reason.
    """

    def __init__(self, bus: MessageBus) -> None:
        self.changed: Callable[[str, dict[str, Any]], None] = lambda path, changes: None
        self.returned: Callable[[], None] = lambda: None
        self.lost: Callable[[str], None] = lambda why: None
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._absent: asyncio.TimerHandle | None = None
        self._ended: dict[str, str] = {}  # jobs that have ended: how
        self._waiting: dict[str, asyncio.Future[str]] = {}  # jobs of ours that run
        bus.add_message_handler(self._take)
        self._watcher = self._loop.create_task(self._watch())

    @classmethod
    async def connect(cls, system: bool | None = None) -> Manager:
        """Connect and subscribe. ``system``: to the system's manager or a user's own; None: to the one that is ours.

        Raises:
            LostError: there is no bus, or no systemd on it.
        """
        system = os.geteuid() == 0 if system is None else system
        try:
            async with asyncio.timeout(PATIENCE):
                bus = await _message_bus(system).connect()
        except (OSError, EOFError, DBusError, AuthError, InvalidAddressError) as error:  # a time-out is an OSError
            raise LostError(f"no connection to {_place(system)}: {_said(error)}") from error
        manager = cls(bus)
        try:
            await manager._call("AddMatch", "s", _OWNER, to=_BUS)
            await manager.subscribe()
        except BaseException as error:  # who waited for it may have given up: nothing is left open
            manager.close()
            if not isinstance(error, RefusedError):
                raise
            raise LostError(f"systemd doesn't answer at {_place(system)}: {error}") from error
        return manager

    def close(self) -> None:
        """Hang up: units that we hold are let go."""
        self._give_up("closed", tell=False)

    # ---- what can be asked

    async def subscribe(self) -> None:
        """Ask for signals of units; once more does no harm."""
        await self._call("Subscribe")

    async def own_unit(self) -> str:
        """The service this process runs in; empty if in none."""
        try:
            (path,) = await self._call("GetUnitByPID", "u", os.getpid())
            (name,) = await self._call("Get", "ss", f"{_SYSTEMD}.Unit", "Id", path=path, interface=_PROPERTIES)
        except RefusedError:
            return ""
        return str(name.value) if str(name.value).endswith(".service") else ""

    async def start(self, name: str, properties: Sequence[Property], descriptors: Sequence[int]) -> None:
        """Have a transient unit started; its signals begin. Returns when systemd has taken it on."""
        said = [[each.name, Variant(each.signature, each.value)] for each in properties]
        await asyncio.gather(  # the bus takes one after the other, so no change is missed
            self._call("AddMatch", "s", _changes_of(name), to=_BUS),
            self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", said, [], descriptors=descriptors),
        )

    async def stop(self, name: str) -> None:
        """Have a unit stopped: its signal, its grace, then what is left is killed."""
        await self._call("StopUnit", "ss", name, "replace")

    async def kill(self, name: str) -> None:
        """Kill all processes of a unit."""
        await self._call("KillUnit", "ssi", name, "all", 9)

    async def processes(self, name: str) -> int:
        """How many processes a unit has."""
        (found,) = await self._call("GetUnitProcesses", "s", name)
        return len(found)

    async def state(self, name: str) -> dict[str, Any]:
        """All properties of a unit. Of one that isn't there, too, systemd would tell some."""
        (found,) = await self._call("GetAll", "s", "", path=path_of(name), interface=_PROPERTIES)
        state = _plain(found)
        if state.get("LoadState") == "not-found":
            raise RefusedError("NoSuchUnit", f"systemd has no unit {name} any more")
        return state

    async def properties(self, name: str) -> dict[str, Any]:
        """All properties of a unit of any name, which systemd loads for that; aliases are followed."""
        (path,) = await self._call("LoadUnit", "s", name)
        (found,) = await self._call("GetAll", "s", "", path=path, interface=_PROPERTIES)
        return _plain(found)

    async def job(self, member: str, name: str) -> str:
        """Have a job of a unit done, such as ``ReloadUnit``; returns systemd's word for how it ended."""
        await self._call("AddMatch", "s", _JOBS, to=_BUS)
        (path,) = await self._call(member, "ss", name, "replace")
        if path in self._ended:  # the end may be read before the answer
            return self._ended[path]
        ended: asyncio.Future[str] = self._loop.create_future()
        self._waiting[path] = ended
        try:
            await asyncio.wait({ended, self._over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[path]
        if not ended.done():
            raise LostError(self._over.result())
        return ended.result()

    async def loaded(self, pattern: str) -> list[str]:
        """The names of the units that systemd has in memory and that match."""
        (found,) = await self._call("ListUnitsByPatterns", "asas", [], [pattern])
        return [unit[0] for unit in found]

    async def reset_failed(self, name: str) -> None:
        """Have a unit that failed forgotten."""
        await self._call("ResetFailedUnit", "s", name)

    def forget(self, name: str) -> None:
        """A unit's end has been read: its signals end, and it may go. Nobody waits for an answer."""
        if not self._over.done():
            self._send("RemoveMatch", _changes_of(name), to=_BUS)
            self._send("UnrefUnit", name)

    def give_up(self, why: str) -> None:
        """This connection is of no use any more."""
        self._give_up(why, tell=True)

    # ---- messages

    async def _call(
        self,
        member: str,
        signature: str = "",
        *body: Any,
        to: str = _SYSTEMD,
        path: str = _MANAGER,
        interface: str = "",
        descriptors: Sequence[int] = (),
    ) -> list[Any]:
        message = _message(member, signature, body, to, path, interface)
        message.unix_fds = list(descriptors)
        call: asyncio.Future[Any] = asyncio.ensure_future(self._bus.call(message))
        await asyncio.wait({call, self._over}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            self.give_up(f"systemd didn't answer {member} for {PATIENCE:g} s")
            call.cancel()
            raise LostError(self._over.result())
        if call.exception() is not None or call.result() is None:
            self.give_up(str(call.exception() or "hung up"))
            raise LostError(self._over.result())
        reply = call.result()
        if reply.message_type is MessageType.ERROR:
            raise RefusedError(reply.error_name or "", " ".join(map(str, reply.body)))
        return list(reply.body)

    def _send(self, member: str, word: str, to: str = _SYSTEMD) -> None:
        message = _message(member, "s", (word,), to, _MANAGER, "")
        message.flags = MessageFlag.NO_REPLY_EXPECTED
        self._bus.send(message).add_done_callback(lambda sent: sent.cancelled() or sent.exception())

    def _take(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "PropertiesChanged" and (message.path or "").startswith(_UNITS):
            self.changed(str(message.path), _plain(message.body[1]))
        elif message.member == "JobRemoved":
            self._job_ended(str(message.body[1]), str(message.body[3]))
        elif message.member == "NameOwnerChanged" and message.body[0] == _SYSTEMD:
            self._came_or_went(present=bool(message.body[2]))

    def _job_ended(self, path: str, result: str) -> None:
        waiting = self._waiting.get(path)
        if waiting is None:
            self._ended[path] = result  # somebody else's, mostly
            while len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]
        elif not waiting.done():
            waiting.set_result(result)

    def _came_or_went(self, *, present: bool) -> None:
        if self._absent is not None:
            self._absent.cancel()
            self._absent = None
        if present:
            for ended in self._waiting.values():  # a signal may have been missed: what has come of it nobody tells
                if not ended.done():
                    ended.set_result("lost while systemd executed itself anew")
            self.returned()
        else:
            self._absent = self._loop.call_later(PATIENCE, self.give_up, "systemd has left the bus")

    async def _watch(self) -> None:
        """Notice the end of the connection."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - whatever broke it, it is broken
            self.give_up(f"the bus has hung up ({_said(error)})")
        else:
            self.give_up("the bus has hung up")

    def _give_up(self, why: str, *, tell: bool) -> None:
        if self._over.done():
            return
        self._over.set_result(why)
        if self._absent is not None:
            self._absent.cancel()
        self._bus.disconnect()
        if tell:
            self.lost(why)


def _message(member: str, signature: str, body: Sequence[Any], to: str, path: str, interface: str) -> Message:
    if to == _BUS:
        path, interface = "/org/freedesktop/DBus", _BUS
    return Message(
        destination=to, path=path, interface=interface or f"{_SYSTEMD}.Manager", member=member, signature=signature,
        body=list(body),
    )  # fmt: skip


def _message_bus(system: bool) -> MessageBus:
    if system:
        return MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
    return MessageBus(bus_address=_user_address(), negotiate_unix_fd=True)


def _user_address() -> str:
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={directory}/bus"


def _place(system: bool) -> str:
    if system:
        return "the system bus (install dbus, or start dbus.socket)"
    return f"the bus of its user, {_user_address()} (loginctl enable-linger gives a user a manager of its own)"


def _changes_of(name: str) -> str:
    return f"type='signal',sender='{_SYSTEMD}',path='{path_of(name)}',member='PropertiesChanged'"


def _plain(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: value.value for name, value in properties.items()}


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
