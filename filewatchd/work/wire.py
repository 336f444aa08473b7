"""What goes between the daemon and a worker (`filewatchd.work.worker`): one JSON object a line.

The worker runs with a user's rights, and that user may be hostile and have taken it over. So what comes from it is
JSON and no pickle, a line has a limit, and values are converted by the annotations of the function that was asked
for: what doesn't fit is an error. Python's own JSON is used because a path may hold lone surrogates, which it writes
as escapes and others refuse.
"""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import msgspec

from filewatchd.errors import ActionError

LONGEST = 16 << 20  # bytes of a line
_REPEATED = (Generator, Iterable, Iterator)


def pack(message: dict[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(msgspec.to_builtins(message), separators=(",", ":")).encode("ascii") + b"\n"


def unpack(line: bytes) -> dict[str, Any]:
    """A line's message.

    Raises:
        ValueError: it is none.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    return message


# ---- functions


def name_of(work: Callable[..., Any]) -> str:
    """How a function is named to the worker.

    Raises:
        TypeError: it isn't found by its module and name.
    """
    name = f"{work.__module__}:{work.__qualname__}"
    if "<" in name or "." in work.__qualname__:
        raise TypeError(f"{name} can't be run elsewhere: it must be a function of a module")
    return name


def function_of(name: str) -> Callable[..., Any]:
    """The function of this name."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


def arguments_for(work: Callable[..., Any], values: list[Any]) -> list[Any]:
    """Arguments as the function's annotations have them.

    Raises:
        msgspec.ValidationError: one doesn't fit.
    """
    hints = typing.get_type_hints(work)
    named = list(inspect.signature(work).parameters)
    return [_converted(value, hints.get(name, Any)) for name, value in zip(named, values, strict=False)]


def result_of(work: Callable[..., Any], value: Any) -> Any:
    """A result, or one of a series, as the function's annotation has it.

    Raises:
        msgspec.ValidationError: it doesn't fit.
    """
    kind = typing.get_type_hints(work).get("return", Any)
    if typing.get_origin(kind) in _REPEATED and inspect.isgeneratorfunction(work):
        kind = typing.get_args(kind)[0]
    return _converted(value, kind)


def _converted(value: Any, kind: Any) -> Any:
    return None if kind is type(None) or kind is None else msgspec.convert(value, kind, strict=True)


# ---- errors


def told(error: BaseException) -> dict[str, Any]:
    """An error as it travels."""
    if isinstance(error, ActionError):
        return {"kind": "action", "message": str(error), "retryable": error.retryable}
    if isinstance(error, OSError) and error.errno is not None:
        return {"kind": "os", "errno": error.errno, "message": error.strerror or "", "path": _path(error.filename)}
    return {"kind": "other", "message": f"{type(error).__name__}: {error}"}


def _path(name: Any) -> str | None:
    return name if isinstance(name, str) else None


class _Told(msgspec.Struct):
    kind: str
    message: str = ""
    retryable: bool = True
    errno: int = 0
    path: str | None = None


def error_from(told_: Any) -> Exception:
    """The error that a message tells of."""
    error = msgspec.convert(told_, _Told)
    if error.kind == "action":
        return ActionError(error.message, retryable=error.retryable)
    if error.kind == "os":
        return OSError(error.errno, error.message, error.path)
    return RuntimeError(error.message)
