"""The routes that actions bring: /v1/actions/ACTION/NAME, for the actions of the rules that run.

They come and go with reloads. A package is imported when a rule uses it, never for its routes' sake.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from filewatchd.actions.base import ActionPackage, Answering, AnsweringTo, Caller, Endpoint
from filewatchd.control import arguments
from filewatchd.control.api import ACTIONS, Handler, Peer, RequestError, Route, Told
from filewatchd.errors import ActionError
from filewatchd.jobs.engine import Engine
from filewatchd.jobs.runner import OpenAction

log = logging.getLogger("filewatchd.control")

_NAME = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_ERRORS = ((409, "The action can't; the answer says why."),)


class Endpoints:
    """Makes routes and handlers of what the actions in use bring."""

    def __init__(self, engine: Engine, packages: Mapping[str, ActionPackage]) -> None:
        self._engine = engine
        self._packages = packages
        self._known: dict[str, Sequence[tuple[Endpoint, Route]]] = {}  # by action

    def routes(self) -> Mapping[Route, Handler]:
        """Those there are now."""
        return {
            route: partial(self._answer, action, endpoint)
            for action in sorted({opened.name for _, opened in self._opened()})
            for endpoint, route in self._of(action)
        }

    def _opened(self) -> Iterator[tuple[str, OpenAction]]:
        for name, pipeline in self._engine.pipelines.items():
            yield from ((name, opened) for opened in pipeline.actions)

    def _of(self, action: str) -> Sequence[tuple[Endpoint, Route]]:
        """A package's routes; what it got wrong is told once, and takes nothing else along."""
        if action not in self._known:
            try:
                endpoints = tuple(getattr(self._packages[action], "endpoints", ()))
                self._known[action] = [(endpoint, route_of(action, endpoint)) for endpoint in endpoints]
            except Exception:
                log.exception("the action %s brings routes that can't be made; report it to its authors", action)
                self._known[action] = ()
        return self._known[action]

    async def _answer(self, action: str, endpoint: Endpoint, asked: Any, peer: Peer) -> Told:
        opened = self._asked(action, asked.rule)
        own = None
        if endpoint.arguments is not None:
            said = msgspec.structs.asdict(asked)
            own = endpoint.arguments(**{name: said[name] for name in _fields(endpoint.arguments)})
        try:
            if isinstance(opened.action, AnsweringTo):
                caller = Caller(peer.uid, peer.pid, peer.groups | {peer.gid}, peer.acts)
                return Told(200, await opened.action.answer_to(endpoint.name, own, caller))
            if not isinstance(opened.action, Answering):
                raise TypeError(f"the action {action} has endpoints, and no method to answer")
            return Told(200, await opened.action.answer(endpoint.name, own))
        except ActionError as error:
            raise RequestError(409, str(error)) from error

    def _asked(self, action: str, rule: str | None) -> OpenAction:
        """The opened action of this rule; where only one rule has it, it needn't be said."""
        found = {name: opened for name, opened in self._opened() if opened.name == action}
        if rule is None and len(found) == 1:
            return next(iter(found.values()))
        rules = ", ".join(found)
        if rule is None:
            raise RequestError(400, f"say which rule is meant; {rules} have the action {action}")
        if rule not in found:
            raise RequestError(404, f"there is no rule {rule} with the action {action}; there are {rules}")
        return found[rule]


def route_of(action: str, endpoint: Endpoint) -> Route:
    """The route of an action's endpoint.

    Raises:
        ValueError: it has a name that no path can have, or takes an argument `rule` of its own.
    """
    if not _NAME.fullmatch(endpoint.name):
        raise ValueError(f"{endpoint.name!r} is no endpoint's name")
    own = endpoint.arguments
    fields = [] if own is None else [_field(field) for field in msgspec.structs.fields(own)]
    taken: Any = msgspec.defstruct(
        f"{action}_{endpoint.name}".replace("-", "_"),
        [("rule", arguments.Rule | None, None), *fields],
        bases=(arguments.Arguments,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    method, path = "POST" if endpoint.acts else "GET", f"{ACTIONS}{action}/{endpoint.name}"
    name = f"{action}.{endpoint.name}"
    return Route(name, method, path, endpoint.acts, endpoint.summary, taken, endpoint.answer, errors=_ERRORS)


def _fields(own: type[Any]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(own)]


def _field(field: Any) -> tuple[Any, ...]:
    if field.name == "rule":
        raise ValueError("an endpoint takes `rule` by itself")
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    return field.name, field.type
