"""How a command fails: what it tells of it, to people or as JSON, and its exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import click

from filewatchd.cli.asking import tell_json
from filewatchd.control.places import ACTIONS, RequestError
from filewatchd.errors import ConfigError, FilewatchdError
from filewatchd.notation import one_line

ERROR, FINDINGS, USAGE, UNANSWERED, TIMEOUT, FORBIDDEN, BAD_CONFIG, INTERRUPTED = 1, 3, 64, 69, 75, 77, 78, 130

_CODES = {400: USAGE, 403: FORBIDDEN, 413: USAGE, 422: BAD_CONFIG}
_NAME = "filewatchctl"


class Failure(NamedTuple):
    """Why a command didn't do what was asked. ``usage``: the line to show before. ``fields``: more, of JSON."""

    code: int
    text: str
    usage: str = ""
    fields: Mapping[str, Any] = {}


def failure(error: click.ClickException | RequestError | FilewatchdError) -> Failure:
    """What an error comes to."""
    if isinstance(error, click.UsageError):
        return Failure(USAGE, _with_help(error), error.ctx.get_usage() if error.ctx is not None else "")
    if isinstance(error, click.ClickException):
        return Failure(ERROR, error.format_message())
    if isinstance(error, RequestError):
        return _refused(error)
    if isinstance(error, ConfigError):
        return Failure(error.exit_code, str(error), fields={"mistakes": [asdict(each) for each in error.mistakes]})
    return Failure(error.exit_code, _with_remedy(error))


def tell(found: Failure, *, as_json: bool) -> None:
    """Say it: JSON goes to standard output, text to standard error."""
    if as_json:
        tell_json({"error": found.text, "exit_code": found.code, **found.fields})
        return
    if found.usage:
        print(found.usage, file=sys.stderr)
    mistakes = found.fields.get("mistakes")
    if mistakes is not None:
        _tell_mistakes(mistakes)
    else:
        print(f"{_NAME}: " + "\n".join(map(one_line, found.text.split("\n"))), file=sys.stderr)


def _with_help(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else _NAME
    message = re.sub(r"\s+", " ", error.format_message()).rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see {path} --help"


def _with_remedy(error: FilewatchdError) -> str:
    if error.exit_code != UNANSWERED:
        return str(error)
    return f"{error}\nname a socket with --socket or FILEWATCHCTL_SOCKET; `filewatchd doctor` examines without a daemon"


def _refused(error: RequestError) -> Failure:
    text = str(error)
    if error.status in (404, 405) and (found := _NO_ROUTE.match(text)):
        text = f"the daemon doesn't know {found[1]}; it is older than this command"
        if action := _OF_ACTION.match(found[1]):
            text = f"no rule of the daemon's has the action {action[1]}; `filewatchctl rules` shows what they have"
    return Failure(_CODES.get(error.status, ERROR), f"{text}{_nearest(text)}", fields=error.more)


_NO_ROUTE = re.compile(r"(?:there is no )?(/v1/[^; ]+)")
_OF_ACTION = re.compile(rf"{ACTIONS}([\w-]+)/")
_UNKNOWN = re.compile(r"there is no rule (.+?)(?: with the action [\w-]+)?; there are (.+)", re.DOTALL)


def _nearest(text: str) -> str:
    """The rule that was perhaps meant by one that there isn't."""
    import difflib

    found = _UNKNOWN.fullmatch(text)
    near = difflib.get_close_matches(found[1], found[2].split(", "), 1) if found is not None else ()
    return f"; did you mean {near[0]}?" if near else ""


def _tell_mistakes(mistakes: Sequence[Mapping[str, Any]]) -> None:
    from filewatchd.cli.mistakes import tell_mistakes
    from filewatchd.errors import Mistake

    names = ("file", "line", "column", "message", "hint")
    tell_mistakes([Mistake(**{name: each[name] for name in names}) for each in mistakes], as_json=False)
