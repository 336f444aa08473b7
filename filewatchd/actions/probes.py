"""Probes as options have them: what is asked, by HTTP, by connecting, of systemd, or by a command; and their mistakes.

`probing` asks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from filewatchd.actions import telling, ways
from filewatchd.actions.base import Needs, Problem
from filewatchd.actions.command import argv
from filewatchd.actions.telling import UnitName, Where
from filewatchd.actions.weburl import Url, header_problems
from filewatchd.model import RuleSettings
from filewatchd.notation import MalformedError
from filewatchd.values import Duration, PathTo, Reader, Secret, User, annotation
from filewatchd.work import web

_WAYS = ("http", "tcp", "unit", "command")
_BELONG = {
    "status": "http", "contains": "http", "headers": "http", "ca": "http", "state": "unit", "manager": "unit",
    "user": "command", "env": "command", "cwd": "command",
}  # fmt: skip


def parse_endpoint(value: object) -> str:
    """``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        MalformedError: it isn't one.
    """
    text = value if isinstance(value, str) else ""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise MalformedError(f"{value!r} is no host and port", "write 127.0.0.1:8080, or [::1]:8080")
    if (":" in bare) != host.startswith("["):
        raise MalformedError(f"{value!r} is no host and port", "write an IPv6 address in brackets: [::1]:8080")
    return text


Endpoint = Annotated[
    str, annotation(Reader("host and port", parse_endpoint), type="string", examples=["127.0.0.1:5432", "[::1]:8080"])
]


class Probe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a service shows that it is healthy: `http`, `tcp`, `unit`, or a command (a list alone is one)."""

    short: ClassVar[str] = "command"

    http: Annotated[Url | None, Meta(description="GET this URL. Redirects aren't followed.")] = None
    status: Annotated[
        int | tuple[int, ...] | None, Meta(description="The answer's status, or several; any 2xx if nothing is said.")
    ] = None
    contains: Annotated[str | None, Meta(description="What the first 64 KiB of the answer must contain.")] = None
    headers: Annotated[dict[str, str | Secret], Meta(description="The request's headers.")] = {}
    ca: Annotated[PathTo | None, Meta(description="A file of the authorities to verify the server by.")] = None
    tcp: Annotated[Endpoint | None, Meta(description="Connect to this host and port.")] = None
    unit: Annotated[UnitName | None, Meta(description="Ask systemd how this unit is.")] = None
    state: Annotated[
        Literal["active", "inactive"] | None, Meta(description="What the unit must be; `active` if nothing is said.")
    ] = None
    manager: Annotated[
        Literal["system", "user"] | None,
        Meta(description="Whose unit: the system's, or the daemon's user's."),
    ] = None
    command: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1)] | None,
        Meta(description="Run this; exit status 0 is healthy."),
    ] = None
    user: Annotated[User | None, Meta(description="Run the command as this user instead of the rule's.")] = None
    env: Annotated[dict[str, str | Secret], Meta(description="Variables to add to the command's environment.")] = {}
    cwd: Annotated[PathTo | None, Meta(description="The command's working directory.")] = None
    within: Annotated[Duration, Meta(description="By when it must be healthy.")] = 10.0
    stay: Annotated[Duration, Meta(description="For how long it must stay so.")] = 0.0
    interval: Annotated[Duration, Meta(description="Pause between two looks, at most.")] = 1.0
    timeout: Annotated[Duration, Meta(description="How long one look may take.")] = 5.0

    def __post_init__(self) -> None:
        ways.check(self, _WAYS, _BELONG, "write one of http, tcp, unit and command; several probes are a list")
        for key, least in (("interval", 0.05), ("timeout", 0.01)):
            if getattr(self, key) < least:
                raise MalformedError(f"{key} is too short", f"write {least * 1000:g}ms or more")

    @property
    def way(self) -> str:
        """Which of them: http, tcp, unit or command."""
        return ways.way_of(self, _WAYS)


def listed(probes: Probe | Sequence[Probe] | None) -> tuple[Probe, ...]:
    """One probe, several or none, as several."""
    if probes is None:
        return ()
    return (probes,) if isinstance(probes, Probe) else tuple(probes)


def longest(probes: Sequence[Probe]) -> float:
    """Seconds the probes take at most."""
    return max((probe.within + probe.stay + probe.timeout for probe in probes), default=0.0)


def needs(probes: Sequence[Probe]) -> Needs:
    """What probing so needs of the daemon, to be added to the action's own."""
    return Needs(extras=("systemd",) if any(probe.unit is not None for probe in probes) else ())


def problems(probes: Sequence[Probe], rule: RuleSettings, where: Where = ()) -> Iterator[Problem]:
    """What is wrong with them. ``where``: the option's key path, or the list's."""
    for index, probe in enumerate(probes):
        inside = (*where, index) if len(probes) > 1 else where
        for problem in _problems(probe, rule):
            yield problem._replace(where=(*inside, *problem.where))


def _problems(probe: Probe, rule: RuleSettings) -> Iterator[Problem]:
    if probe.command is not None:
        as_told = telling.Telling(command=probe.command, user=probe.user, env=probe.env, cwd=probe.cwd)
        yield from telling.problems(as_told, rule)
    yield from header_problems(probe.headers)


def describe(probe: Probe) -> str:
    """What is asked, in words."""
    return {
        "http": lambda: f"GET {web.shown(probe.http or '')}",
        "tcp": lambda: f"connect to {probe.tcp}",
        "unit": lambda: f"{probe.unit} is {probe.state or 'active'}",
        "command": lambda: argv.quoted(probe.command or ()),
    }[probe.way]()
