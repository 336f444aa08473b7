"""systemd's units, told to reload, start or stop: jobs of the service manager, waited for to their end.

A job's call is answered as soon as systemd has queued it; how it went comes later as the signal ``JobRemoved`` with the
job's object path and a word. It may come before the answer has been read, so results are kept from before the call on.
``done`` of a reload says no more than that `ExecReload=` was run: a program that is only sent a signal there may not
have taken it yet, and health decides.

Each call has a connection of its own: it costs some milliseconds, and there is nothing that could be lost while nobody
looks. root's daemon speaks to the system's manager, anybody else's to the manager of its user, unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from filewatchd.errors import ActionError, FilewatchdError

if TYPE_CHECKING:
    from filewatchd.work.manager import Manager, RefusedError
    from filewatchd.work.web import Threads

T = TypeVar("T")

#: what a unit may be told, and how systemd's manager calls it
VERBS = {
    "reload": "ReloadUnit",
    "restart": "RestartUnit",
    "try-restart": "TryRestartUnit",
    "reload-or-restart": "ReloadOrRestartUnit",
    "try-reload-or-restart": "ReloadOrTryRestartUnit",
    "start": "StartUnit",
    "stop": "StopUnit",
}
_RESULTS = {  # org.freedesktop.systemd1(5), JobRemoved: what it means for people; whether another try may help
    "canceled": ("another job took its place", True),
    "timeout": ("systemd gave up waiting for it", True),
    "failed": ("it failed", True),
    "dependency": ("a unit that it depends on failed", True),
    "skipped": ("the unit isn't running", True),
    "invalid": ("the unit isn't running", True),
    "assert": ("an Assert...= of the unit doesn't hold", False),
    "unsupported": ("units of its type can't do that here", False),
    "collected": ("systemd forgot the job", True),
    "once": ("the unit is to be started once only", False),
    "frozen": ("the unit is frozen", True),
}
_LOADS = {  # LoadState: what is wrong with a unit
    "not-found": "there is no such unit",
    "masked": "the unit is masked (systemctl unmask lets it go)",
    "bad-setting": "its unit file has a mistake (systemd-analyze verify tells which)",
    "error": "its unit file can't be loaded (systemctl status tells why)",
}
_REFUSALS = {  # D-Bus's names of errors
    "NoSuchUnit": ("there is no such unit", False),
    "UnitMasked": ("the unit is masked (systemctl unmask lets it go)", False),
    "JobTypeNotApplicable": ("the unit can't do that: it has no ExecReload=", False),
    "AccessDenied": ("we may not: run as root, or let polkit allow org.freedesktop.systemd1.manage-units", False),
    "InteractiveAuthorizationRequired": (
        "we may not: run as root, or let polkit allow org.freedesktop.systemd1.manage-units", False
    ),
    "ShuttingDown": ("the system is going down", True),
}  # fmt: skip


class UnitState(NamedTuple):
    """How a unit is, in systemd's words."""

    load: str
    active: str
    sub: str
    result: str = ""  # how its service last ended


class Services:
    """What a rule's actions may ask of units (`filewatchd.actions.base.Services`)."""

    def __init__(self, pool: Threads) -> None:
        self._pool = pool

    async def job(self, unit: str, verb: str, seconds: float, manager: str | None = None) -> None:
        """Have a unit's job done, and wait for its end.

        Raises:
            ActionError: it can't be asked for, or ended badly; says what systemd said of it.
        """
        what = f"{verb} of {unit}"
        with _told(what):
            async with self._connected(manager) as connection:
                load = (await _state(connection, unit)).load
                if load in _LOADS:
                    raise ActionError(f"{what}: {_LOADS[load]}", retryable=False)
                result = await _timed(connection.job(VERBS[verb], unit), seconds, what)
                if result != "done":
                    raise await _failure(connection, unit, what, result)

    async def state(self, unit: str, seconds: float, manager: str | None = None) -> UnitState:
        """How a unit is.

        Raises:
            ActionError: systemd can't be asked.
        """
        with _told(f"state of {unit}"):
            async with self._connected(manager) as connection:
                return await _timed(_state(connection, unit), seconds, f"state of {unit}")

    @contextlib.asynccontextmanager
    async def _connected(self, manager: str | None) -> AsyncIterator[Manager]:
        try:
            module = await self._pool.run("", import_module, "filewatchd.work.manager")
        except ImportError as error:
            text = f"units need the extra systemd ({error}); pip install 'filewatchd[systemd]'"
            raise ActionError(text, retryable=False) from error
        connection: Manager = await module.Manager.connect(None if manager is None else manager == "system")
        try:
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What systemd refuses, as an action's errors."""
    try:
        yield
    except ActionError:
        raise
    except FilewatchdError as error:
        why, retryable = _REFUSALS.get(getattr(error, "name", ""), (str(error), True))
        raise ActionError(f"{what}: {why}", retryable=retryable) from error


async def _timed(work: Awaitable[T], seconds: float, what: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise ActionError(f"{what}: not done after {seconds:.3g} s; systemd goes on with it") from error


async def _state(connection: Manager, unit: str) -> UnitState:
    try:
        found = await connection.properties(unit)
    except FilewatchdError as error:
        refused: RefusedError | FilewatchdError = error
        if getattr(refused, "name", "") != "NoSuchUnit":
            raise
        return UnitState("not-found", "inactive", "dead")
    words = (str(found.get(name, "")) for name in ("LoadState", "ActiveState", "SubState", "Result"))
    return UnitState(*words)


async def _failure(connection: Manager, unit: str, what: str, result: str) -> ActionError:
    """What a job's bad end is told as; with what the unit has come to."""
    why, retryable = _RESULTS.get(result, (f"systemd says {result}", True))
    after = await _state(connection, unit)
    now = f"{after.active} ({after.sub})" + (f", result {after.result}" if after.result not in ("", "success") else "")
    return ActionError(f"{what}: {why}; {unit} is {now}; journalctl -u {unit} tells more", retryable=retryable)
