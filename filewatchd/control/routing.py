"""From a request's method, target and body to a route and its arguments."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from filewatchd.control.api import RequestError, Route
from filewatchd.control.arguments import Arguments


class _Place(NamedTuple):
    """A route's path, cut at the slashes; a parameter's segment is None, its name stands in ``names``."""

    segments: tuple[str | None, ...]
    names: tuple[str, ...]


def _place(path: str) -> _Place:
    parts = path.split("/")
    names = tuple(part[1:-1] for part in parts if part.startswith("{"))
    return _Place(tuple(None if part.startswith("{") else part for part in parts), names)


class Routing:
    """Finds routes; those with no parameter in their path first."""

    def __init__(self, routes: Sequence[Route]) -> None:
        places = [(_place(route.path), route) for route in routes]
        self._places = sorted(places, key=lambda each: len(each[0].names))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the parameters in its path. HEAD asks as GET does.

        Raises:
            RequestError: there is none at this path (404), or none of this method (405).
        """
        parts = path.split("/")
        there = [(place, route) for place, route in self._places if _fits(place, parts)]
        for place, route in there:
            if route.method == ("GET" if method == "HEAD" else method):
                values = [part for part, segment in zip(parts, place.segments, strict=True) if segment is None]
                return route, dict(zip(place.names, map(_unquoted, values), strict=True))
        if there:
            methods = sorted({route.method for _, route in there})
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise RequestError(405, f"{path} takes {' or '.join(methods)}", allow=allowed)
        known = ", ".join(dict.fromkeys(route.path for _, route in self._places))
        raise RequestError(404, f"there is no {path}; there are {known}")


def _fits(place: _Place, parts: Sequence[str]) -> bool:
    if len(parts) != len(place.segments):
        return False
    return all(segment in (None, part) for segment, part in zip(place.segments, parts, strict=True))


def _unquoted(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogateescape")


def arguments_of(route: Route, parameters: Mapping[str, str], query: str, body: bytes | None) -> Arguments:
    """A request's arguments as the route's own type.

    Raises:
        RequestError: they aren't what the route takes (400), or too many bytes (413).
    """
    if body is None:
        raise RequestError(413, "the body has more bytes than any request needs")
    if body and route.method == "GET":
        raise RequestError(400, f"{route.path} takes its arguments in the query string, not in a body")
    given: dict[str, Any] = _in_query(query) if route.method == "GET" else _in_body(query, body)
    strict = route.method != "GET"
    doubled = [name for name in parameters if name in given]
    if doubled:
        raise RequestError(400, f"{doubled[0]} is said twice: in the path and besides")
    try:
        arguments = msgspec.convert({**given, **parameters}, route.arguments, strict=strict)
    except msgspec.ValidationError as error:
        raise RequestError(400, _in_words(str(error), route)) from None
    for name, value in msgspec.structs.asdict(arguments).items():
        if value is None and given.get(name) is not None:  # msgspec takes the word null for none in a query
            raise RequestError(400, f"{name}: null is no value; leave it out")
        if any("\0" in text for text in (value if isinstance(value, tuple) else (value,)) if isinstance(text, str)):
            raise RequestError(400, f"{name}: there is a NUL in it, which no name can have")
    return arguments


_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_WRONG = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)


def _in_words(error: str, route: Route) -> str:
    """What msgspec finds wrong, as a sentence about the argument."""
    known = ", ".join(field.name for field in msgspec.structs.fields(route.arguments)) or "none"
    if found := _UNKNOWN.match(error):
        return f"there is no argument {found[1]}; there are {known}"
    if found := _WRONG.match(error):
        return f"{found[2]}: {found[1][0].lower()}{found[1][1:]}"
    return f"{error}; arguments are: {known}"


def _in_query(query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="surrogateescape", max_num_fields=50)
    except ValueError as error:
        raise RequestError(400, f"the query string can't be read: {error}") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise RequestError(400, "an argument is given twice")
    return given


def _in_body(query: str, body: bytes) -> dict[str, Any]:
    if query:
        raise RequestError(400, "arguments go into the body, as a JSON object")
    if not body:
        return {}
    try:
        found = msgspec.json.decode(body)  # which takes nothing that isn't JSON, such as NaN or half a surrogate pair
        if isinstance(found, dict):
            json.loads(body, object_pairs_hook=_once)  # which alone tells that a name is there twice
    except _TwiceError as error:
        raise RequestError(400, f"{error} is said twice") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body isn't JSON: {error}") from None
    if not isinstance(found, dict):
        raise RequestError(400, "the body must be a JSON object")
    return found


class _TwiceError(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found
