"""How a service is told to take up what has changed: a unit's job, a signal, a command or an HTTP request.

What actions share: rotation's ``reopen``, reload's ``apply``. An option of the type `Telling` is checked with
`problems`, added to the action's `Needs` with `needs`, shown in a plan with `describe`, and done with `tell`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal, Protocol

from msgspec import Meta, Struct

from filewatchd.actions import ways
from filewatchd.actions.base import Command, Context, Needs, Problem
from filewatchd.actions.command import argv, environment
from filewatchd.actions.command.check import check_env, check_program
from filewatchd.actions.command.outcome import Tail, outcome_of, signal_name
from filewatchd.actions.weburl import Url, header_problems, revealed, secrets_of
from filewatchd.errors import ActionError
from filewatchd.model import OK, RuleSettings
from filewatchd.notation import MalformedError
from filewatchd.security import others_may_write
from filewatchd.values import Duration, PathTo, Secret, Signal, User, of_form
from filewatchd.work import pids, web

Where = tuple[str | int, ...]
UnitName = Annotated[
    str,
    of_form(
        "name of a unit", r"^[A-Za-z0-9:_.\\@-]{1,246}\.[a-z]+$", "write it whole, with its type: nginx.service",
        examples=["nginx.service"],
    ),
]  # fmt: skip
_WAYS = ("unit", "signal", "command", "http")
_BELONG = {  # key: the way it says more about
    "do": "unit", "manager": "unit", "pidfile": "signal", "program": "signal",
    "user": "command", "env": "command", "cwd": "command",
    "method": "http", "headers": "http", "body": "http", "ca": "http",
}  # fmt: skip
TIMEOUT = 90.0  # seconds; systemd's own for a job


class Telling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a service is told: `unit` with `do`, `signal` with `pidfile`, `http`, or a command (a list alone is one)."""

    short: ClassVar[str] = "command"

    unit: Annotated[UnitName | None, Meta(description="Have systemd do a job of this unit, and wait for it.")] = None
    do: Annotated[
        Literal["reload", "restart", "try-restart", "reload-or-restart", "try-reload-or-restart", "start", "stop"]
        | None,
        Meta(description="Which job of the unit; `reload` if nothing is said."),
    ] = None
    manager: Annotated[
        Literal["system", "user"] | None,
        Meta(description="Whose unit: the system's (root's default), or the daemon's user's."),
    ] = None
    signal: Annotated[Signal | None, Meta(description="Send this signal to the process that `pidfile` names.")] = None
    pidfile: Annotated[PathTo | None, Meta(description="The file in which the process has written its number.")] = None
    program: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="What the process must run: an executable's name, or its whole path."),
    ] = None
    command: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1)] | None,
        Meta(description="Run this program with these arguments."),
    ] = None
    user: Annotated[User | None, Meta(description="Run the command as this user instead of the rule's.")] = None
    env: Annotated[dict[str, str | Secret], Meta(description="Variables to add to the command's environment.")] = {}
    cwd: Annotated[PathTo | None, Meta(description="The command's working directory.")] = None
    http: Annotated[Url | None, Meta(description="Send a request to this URL; an answer of 2xx is success.")] = None
    method: Annotated[
        Literal["GET", "POST", "PUT"] | None, Meta(description="The request's method; `POST` if nothing is said.")
    ] = None
    headers: Annotated[dict[str, str | Secret], Meta(description="The request's headers.")] = {}
    body: Annotated[str, Meta(description="The request's body.")] = ""
    ca: Annotated[PathTo | None, Meta(description="A file of the authorities to verify the server by.")] = None
    timeout: Annotated[Duration, Meta(description="How long that may take.")] = TIMEOUT

    def __post_init__(self) -> None:
        ways.check(self, _WAYS, _BELONG, "write one of unit, signal, command and http")
        if self.signal is not None and self.pidfile is None:
            raise MalformedError("a signal needs to know to whom", "add pidfile: PATH")

    @property
    def way(self) -> str:
        """Which of them: unit, signal, command or http."""
        return ways.way_of(self, _WAYS)


# ---- before it is done


def needs(telling: Telling | None) -> Needs:
    """What telling so needs of the daemon, to be added to the action's own."""
    if telling is None:
        return Needs()
    if telling.unit is not None:
        return Needs(extras=("systemd",))
    return Needs(capabilities=("CAP_KILL",) if telling.signal is not None and os.geteuid() == 0 else ())


def problems(telling: Telling | None, rule: RuleSettings, where: Where = ()) -> Iterator[Problem]:
    """What is wrong with it, as far as can be known without doing it. ``where``: the option's key path."""
    found = _CHECKS[telling.way](telling, rule) if telling is not None and telling.way in _CHECKS else ()
    for problem in found:
        yield problem._replace(where=(*where, *problem.where))


def _check_signal(telling: Telling, _rule: RuleSettings) -> Iterator[Problem]:
    path = telling.pidfile or ""
    why, above = others_may_write(path), os.path.dirname(path)
    if why is None or telling.program is not None or not os.path.isdir(above):
        return
    owner = os.stat(above).st_uid
    if owner == 0 or others_may_write(path, user=owner) is not None:
        hint = "have the service write it where only root and the service's user may write"
        yield Problem(f"this pid file won't be believed: {why}", hint, ("pidfile",))


def _check_command(telling: Telling, rule: RuleSettings) -> Iterator[Problem]:
    yield from check_env(telling.env)
    if telling.cwd is not None and not os.path.isdir(telling.cwd):
        yield Problem(f"the working directory {telling.cwd} doesn't exist", "create it, or correct it", ("cwd",))
    command = telling.command or ("",)
    if not command[0]:
        yield Problem("the command is empty", "name a program", ("command",))
    else:
        yield from check_program(_Checked(command, telling.cwd, telling.env, telling.user), rule)


def _check_http(telling: Telling, _rule: RuleSettings) -> Iterator[Problem]:
    yield from header_problems(telling.headers)
    if telling.ca is not None and not os.path.isfile(telling.ca):
        yield Problem(f"there is no file {telling.ca}", "correct the path", ("ca",))


_CHECKS = {"signal": _check_signal, "command": _check_command, "http": _check_http}


class _Checked(Struct, frozen=True):
    """A command as `check_program` wants it."""

    command: tuple[str, ...]
    cwd: str | None
    env: dict[str, str | Secret]
    user: str | None
    shell: bool = False
    unit: bool = False


def describe(telling: Telling) -> str:
    """What will be done, in words."""
    if telling.unit is not None:
        return f"{telling.do or 'reload'} {telling.unit}"
    if telling.signal is not None:
        return f"send {signal_name(telling.signal)} to the process of {telling.pidfile}"
    if telling.http is not None:
        return f"{telling.method or 'POST'} {web.shown(telling.http)}"
    return f"run: {argv.quoted(telling.command or ())}"


# ---- doing it


def nothing(data: bytes) -> None:
    """What is printed goes nowhere."""


async def tell(
    telling: Telling, ctx: Context, output: Callable[[bytes], None] = nothing, env: dict[str, str] | None = None
) -> str:
    """Tell the service. Returns what has been done, in words. Cancelling it ends a command.

    Args:
        telling: how.
        ctx: the action's.
        output: gets what a command prints.
        env: variables for a command, beside those that are configured.

    Raises:
        ActionError: it could not be told, or said that it failed; says whether another try may help.
    """
    if telling.unit is not None:
        await ctx.services.job(telling.unit, telling.do or "reload", telling.timeout, telling.manager)
        return f"{telling.do or 'reload'} of {telling.unit} done"
    if telling.signal is not None:
        pid = await ctx.pool.run("", pids.signal_pidfile, telling.pidfile or "", telling.signal, telling.program)
        return f"{signal_name(telling.signal)} sent to process {pid}"
    if telling.http is not None:
        return await _request(telling, ctx)
    return await run(telling, ctx, output, telling.timeout, env)


async def _request(telling: Telling, ctx: Context) -> str:
    headers = await ctx.pool.run("", revealed, telling.headers)
    asked = web.Request(
        telling.http or "", telling.method or "POST", headers, telling.body.encode(), telling.timeout, telling.ca
    )
    reply = (await web.ask(asked, ctx.pool)).without(secrets_of(telling.headers, headers))
    if 200 <= reply.status < 300:
        return f"{web.shown(asked.url)} answered {reply.status}"
    said = f": {reply.text}" if reply.text else ""
    retryable = reply.status >= 500 or reply.status in (408, 425, 429)
    raise ActionError(f"{web.shown(asked.url)} answered {reply.status}{said}", retryable=retryable)


class Runnable(Protocol):
    """The part of an option that says how a command is run."""

    @property
    def command(self) -> tuple[str, ...] | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def env(self) -> dict[str, str | Secret]: ...
    @property
    def cwd(self) -> str | None: ...


async def run(
    option: Runnable,
    ctx: Context,
    output: Callable[[bytes], None],
    seconds: float,
    env: dict[str, str] | None = None,
) -> str:
    """Run a command, which succeeds with exit status 0.

    Raises:
        ActionError: it failed, or couldn't be started.
    """
    user = option.user or ctx.rule.user
    variables = environment.base(await ctx.pool.run("users", environment.account, user))
    if option.env:
        variables |= await ctx.pool.run("", environment.reveal, option.env)
    tail = Tail(output)
    command = Command(
        option.command or (), {**variables, **(env or {})}, option.cwd, user, timeout=seconds, stop_timeout=5.0
    )
    outcome = outcome_of(await ctx.spawn.run(command, tail), seconds, tail)
    if outcome is not OK:
        raise ActionError(f"{command.argv[0]}: {outcome.message}")
    return f"{command.argv[0]}: done"
