"""The control API as a page for people, made of the table of routes: docs/reference/api.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from filewatchd.control.api import LINES, ROUTES, Route
from filewatchd.control.openapi import Schema, answers_of, arguments_of, errors_of, told_of

_HEAD = """# The control API

<!-- Made by `python -m tools.reference`; a test compares. Change api.py, arguments.py or documents.py in control. -->

HTTP/1.1 with JSON on the Unix socket `control.sock` in `daemon.runtime_dir`; `filewatchctl` speaks it, and so can
`curl`. As an OpenAPI 3.1 document it is [openapi.json](openapi.json), and `GET /v1/openapi.json` of a running
daemon, with the routes of its actions.

- **Who may.** The kernel says who connected. Root and the daemon's own user may ask and act; `control.read` and
  `control.act` name others. A stranger gets status 403 and the reason.
- **Arguments** of a GET stand in the query string, those of a POST in its body, a JSON object. `{id}` in a path is
  the argument of that name. Unknown and misspelt ones are errors.
- **Answers** are JSON objects. Each has `host` and `instance` besides what is listed here, so that those of many
  daemons can be kept in one place. Fields are added over time; none is taken away or changes its meaning.
- **Paths.** One that isn't valid UTF-8 has U+FFFD in `path` and its bytes, as base64, in `path_b64`. In a query
  string its bytes may be percent-encoded as they are.
- **Times** are RFC 3339 with microseconds, durations seconds as numbers.
- **Errors** are `{"error": TEXT}` with a status of HTTP's own meaning. Any route may answer 400 (an argument is
  wrong), 403 (who asks may not), 404 (what is named isn't there), 413 (more than 1 MiB of body), 500 (a mistake in
  the daemon) and 503 (the job journal can't be read or written, or there are too many connections). HTTP itself
  adds 405, 408, 431 and 501.
- **Bounds.** A request's head has 16 KiB at most and its body 1 MiB, and it has 10 s to arrive; each 64 KiB of an
  answer have 10 s to be taken. There may be 1,000 connections, or a quarter of the descriptors that the daemon may
  have. Strangers may hold a quarter of those, and strangers with who may only read three quarters. One that asks
  nothing is closed after 60 s, or to make room.

Actions may add routes below `/v1/actions/ACTION/`: see [write an action](../how-to/write-an-action.md).

"""


def reference(routes: Sequence[Route] = ROUTES) -> str:
    """The page over these routes."""
    answers, components = answers_of(routes)
    used: list[str] = []
    parts = [_HEAD, "| route | | who may | |\n|---|---|---|---|\n", *map(_row, routes), "\n"]
    for route in routes:
        parts += _section(route, answers.get(route.name), components, used)
    parts.append("## Parts of answers\n\n")
    for name in used:  # which grows meanwhile
        told = told_of(components[name])
        parts += [f"### Part: {name}\n\n{told}\n\n", *_table(components[name], used), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def _row(route: Route) -> str:
    return f"| [`{route.name}`](#{route.name}) | `{route.method} {route.path}` | {_who(route)} | {route.summary} |\n"


def _who(route: Route) -> str:
    return "act" if route.acts else "ask"


def _section(route: Route, answer: Schema | None, components: dict[str, Schema], used: list[str]) -> Iterator[str]:
    yield f"## {route.name}\n\n`{route.method} {route.path}`, for who may {_who(route)}. {route.summary}\n\n"
    arguments = list(arguments_of(route))
    if arguments:
        yield "| argument | type | default | |\n|---|---|---|---|\n"
        for each in arguments:
            default = "required" if each.required else _value(each.schema.get("default"))
            yield f"| `{each.name}` | {_type(each.schema, used)} | {default} | {told_of(each.schema)} |\n"
        yield "\n"
    yield from _answer(route, answer, components, used)
    own = dict(route.errors)
    for status, told in errors_of(route):
        if status in own:
            yield f"Status {status}: {told}\n\n"
    yield f"```sh\n{_curl(route)}\n```\n\n"


def _answer(route: Route, answer: Schema | None, components: dict[str, Schema], used: list[str]) -> Iterator[str]:
    if answer is None:
        yield f"Answer: `{route.media}`.\n\n"
        return
    names = [choice["$ref"].rpartition("/")[2] for choice in answer.get("anyOf", [answer])]
    for name in names:
        what = "Each line is" if route.media == LINES else "Answer"
        yield f"{what}: {told_of(components[name])}\n\n"
        yield from _table(components[name], used)
        yield "\n"


def _table(schema: Schema, used: list[str]) -> Iterator[str]:
    yield "| field | type | |\n|---|---|---|\n"
    required = schema.get("required", ())
    for name, found in schema.get("properties", {}).items():
        left_out = "" if name in required else ", or left out"
        yield f"| `{name}` | {_type(found, used)}{left_out} | {told_of(found)} |\n"


def _type(schema: Schema, used: list[str]) -> str:
    """A type in words; what it refers to is told of further below."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in used:
            used.append(name)
        return f"[{name}](#part-{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(choice, used) for choice in schema["anyOf"])
    if "enum" in schema:
        return " ".join(_value(value) for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), used)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{_type(schema['additionalProperties'], used)} by name"
    return _NAMES.get(kind, kind)


_NAMES = {"string": "text", "integer": "integer", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}


def _value(value: Any) -> str:
    return f"`{json.dumps(value)}`"


_EXAMPLES: dict[str, Any] = {"id": 17, "rule": "reports", "path": "/srv/in/a.csv", "level": "debug", "since": "0"}


def _curl(route: Route) -> str:
    """A command that asks for it, as it stands."""
    said = {
        a.name: _EXAMPLES[a.name] for a in arguments_of(route) if a.required or a.name in _SHOWN.get(route.name, ())
    }
    path = route.path.format(**said)
    rest = {name: value for name, value in said.items() if f"{{{name}}}" not in route.path}
    start = "curl --unix-socket /run/filewatchd/control.sock"
    if route.method == "GET":
        query = "&".join(f"{name}={value}" for name, value in rest.items())
        return f"{start} 'http://localhost{path}?{query}'" if query else f"{start} http://localhost{path}"
    data = f" -d '{json.dumps(rest)}'" if rest else " -X POST"
    return f"{start} http://localhost{path}{data}"


_SHOWN = {
    "explain": ("path",), "changes": ("since",), "retry": ("rule",), "drop": ("id",), "resume": ("rule",),
}  # fmt: skip
