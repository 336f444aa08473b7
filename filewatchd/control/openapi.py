"""The control API as an OpenAPI 3.1 document, made of the table of routes: docs/reference/openapi.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import msgspec

from filewatchd import __version__
from filewatchd.control import documents
from filewatchd.control.api import LINES, Route

Schema = dict[str, Any]
_TEMPLATE = "#/components/schemas/{name}"
_COMMON = (
    (400, "An argument is wrong, unknown, or said twice."),
    (403, "The user may not ask or act; the answer says which key of the configuration would let them."),
    (404, "What the request names isn't there."),
    (431, "The request's head, with its query string, has more than 16 KiB."),
    (500, "A mistake in the daemon; its log has more."),
    (503, "The job journal can't be read or written, or there are too many connections."),
)
_TOO_LARGE = (413, "The body has more than 1 MiB.")
_ORIGIN = {
    "type": "object",
    "description": "Where a document comes from; a part of every one.",
    "properties": {
        "host": {"type": "string", "description": "The host's name."},
        "instance": {"type": "string", "description": "`daemon.instance`."},
    },
    "required": ["host", "instance"],
}
_ABOUT = (
    "HTTP/1.1 with JSON on the Unix socket control.sock in the daemon's runtime directory, for whom `control.read` and"
    " `control.act` name, root and the daemon's own user. Actions add routes below /v1/actions."
)


class Argument(NamedTuple):
    """One thing that can be said with a request."""

    name: str
    schema: Schema
    required: bool
    in_path: bool


def arguments_of(route: Route) -> Iterator[Argument]:
    """What a route takes, in the order of its type."""
    _, components = msgspec.json.schema_components([route.arguments], ref_template=_TEMPLATE)
    schema = components[route.arguments.__name__]
    in_path = set(re.findall(r"{(\w+)}", route.path))
    for name, found in schema["properties"].items():
        yield Argument(name, found, name in schema.get("required", ()), name in in_path)


def told_of(schema: Schema) -> str:
    """What is said of a value: of itself, or of what it may be."""
    told = next((each["description"] for each in (schema, *schema.get("anyOf", ())) if "description" in each), "")
    return re.sub(r"\bNone\b", "null", told)


def answers_of(routes: Iterable[Route]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """The schema of each route's answer, by the route's name, and those that they refer to."""
    arms = {route.name: get_args(route.answer) or (route.answer,) for route in routes if route.answer is not None}
    types = [documents.Problem, *(arm for each in arms.values() for arm in each)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    by_type = dict(zip(types, schemas, strict=True))
    answers = {
        name: by_type[each[0]] if len(each) == 1 else {"anyOf": [by_type[arm] for arm in each]}
        for name, each in arms.items()
    }
    return answers, dict(components)


def errors_of(route: Route) -> Sequence[tuple[int, str]]:
    """The statuses that a route may answer with but for 200, each with its meaning there."""
    common = dict(_COMMON) | (dict([_TOO_LARGE]) if route.method != "GET" else {})
    return sorted((common | dict(route.errors)).items())


def openapi(routes: Sequence[Route]) -> Schema:
    """The document over these routes."""
    answers, components = answers_of(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, answers.get(route.name))
    return {
        "openapi": "3.1.0",
        "info": {"title": "filewatchd's control API", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "http://localhost", "description": "curl --unix-socket /run/filewatchd/control.sock"}],
        "paths": paths,
        "components": {"schemas": {**components, "Origin": _ORIGIN}, "responses": _RESPONSES},
    }


def _operation(route: Route, answer: Schema | None) -> Schema:
    who = "Only who may act may use it." if route.acts else "Who may ask or act may use it."
    responses = {str(status): _response(route, answer, status, told) for status, told in errors_of(route)}
    return {
        "operationId": route.name,
        "summary": route.summary,
        "description": who,
        **_said(route),
        "responses": {"200": {"description": route.summary, "content": _content(route, answer)}, **responses},
    }


def _response(route: Route, answer: Schema | None, status: int, told: str) -> Schema:
    if status in dict(route.errors):
        return {"description": told, "content": _json(answer if status in route.told else _ref("Problem"))}
    return {"$ref": f"#/components/responses/{status}"}


def _said(route: Route) -> Schema:
    arguments = list(arguments_of(route))
    parameters = [_parameter(each) for each in arguments if each.in_path or route.method == "GET"]
    found: Schema = {"parameters": parameters} if parameters else {}
    if route.method != "GET":
        found["requestBody"] = _body([each for each in arguments if not each.in_path])
    return found


def _parameter(argument: Argument) -> Schema:
    place = "path" if argument.in_path else "query"
    schema = {key: value for key, value in argument.schema.items() if key != "description"}
    told = told_of(argument.schema)
    return {
        "name": argument.name,
        "in": place,
        "required": argument.required,
        **({"description": told} if told else {}),
        "schema": _said_in_words(schema),
    }


def _said_in_words(schema: Schema) -> Schema:
    """The schema of a parameter: one that isn't said is left out, so null is none of its values."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {key: value for key, value in choices[0].items() if key != "description"}
    return {key: value for key, value in schema.items() if value is not None or key != "default"}


def _body(arguments: Sequence[Argument]) -> Schema:
    required = [each.name for each in arguments if each.required]
    schema: Schema = {
        "type": "object",
        "properties": {each.name: each.schema for each in arguments},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _content(route: Route, answer: Schema | None) -> Schema:
    if route.media == LINES:
        told = "Lines, each a JSON object of its own as x-line says."
        return {LINES: {"schema": {"type": "string", "description": told, "x-line": answer}}}
    if route.media != "application/json":
        return {route.media: {"schema": {"type": "string"}}}
    return _json(answer)


def _json(answer: Schema | None) -> Schema:
    schema: Mapping[str, Any] = {"type": "object"} if answer is None else {"allOf": [answer, _ref("Origin")]}
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": _TEMPLATE.format(name=name)}


_RESPONSES = {
    str(status): {"description": told, "content": _json(_ref("Problem"))} for status, told in (*_COMMON, _TOO_LARGE)
}
