"""``filewatchctl config``: take the configuration anew, and see what would change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import examples, with_json
from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING, Block, Cell, Lines, Text

_BUILT_IN = "built-in"  # the origin of a value that nobody wrote


@click.group(short_help="Reload the configuration, or compare.")
def config() -> None:
    """Reload the configuration, or see what a reload would change."""


@config.command(
    short_help="Read the configuration anew.",
    epilog=examples("filewatchctl config reload"),
)
@with_json
def reload(session: Session) -> None:
    """Read the configuration anew, whole or not at all, and wait until it is in force.

    With a mistake in it the old one goes on, the mistakes are told, and the exit code is 78. `filewatchd check` says
    the same without a daemon.
    """
    session.tell(session.ask("reload", timeout=None), reloaded)


def reloaded(found: Mapping[str, Any]) -> Sequence[Block]:
    """What is in force now."""
    unchanged = len(found["unchanged"])
    lines: list[Text] = [Cell(f"generation {found['generation']} is in force", GOOD)]
    lines += _rules(found)
    lines += [Cell(f"unchanged rules: {unchanged}", FAINT)] if unchanged else []
    lines += [Cell(f"{key} changes with the next start", WARNING) for key in found["until_restart"]]
    lines += [Cell(f"warning: {warning}", WARNING) for warning in found["warnings"]]
    return [Lines(lines)]


def _rules(found: Mapping[str, Any]) -> Iterator[Text]:
    marks = (("added", "+", GOOD), ("removed", "-", BAD), ("changed", "~", WARNING))
    return (Cell(f"{mark} rule {rule}", style) for key, mark, style in marks for rule in found[key])


@config.command(
    short_help="Show what differs, or would.",
    epilog=examples("filewatchctl config diff", "filewatchctl config diff --from 3 --to 4"),
)
@click.option("--from", "older", type=click.IntRange(1), metavar="N", help="The older generation (default: in force).")
@click.option("--to", "newer", type=click.IntRange(1), metavar="N", help="The newer one (default: the files on disk).")
@with_json
def diff(session: Session, older: int | None, newer: int | None) -> None:
    """Show what differs between two generations, or what a reload would change."""
    session.tell(session.ask("diff", {"from_generation": older, "to_generation": newer}), differences)


def differences(found: Mapping[str, Any]) -> Sequence[Block]:
    """Rules that come and go, and each value that differs."""
    to = found["to_generation"]
    what = "the files on disk" if to is None else f"generation {to}"
    head = f"from generation {found['from_generation']} to {what}"
    lines = [*_rules(found), *(line for value in found["values"] for line in _value(value, found))]
    return [Lines([f"{head}:" if lines else f"{head} nothing changes"]), Lines(lines)]


def _value(value: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Text]:
    """A value that differs; of a rule that comes what is written down, of one that goes nothing more."""
    where = f"  [{value['origin']}]" if value["origin"] else ""
    if _is_of(found["removed"], value) or (_is_of(found["added"], value) and value["origin"] == _BUILT_IN):
        return
    yield f"{value['key']}:"
    if not _is_of(found["added"], value):
        yield Cell(f"  - {_said(value['old'])}", BAD)
    yield Cell(f"  + {_said(value['new'])}{where}", GOOD)


def _is_of(rules: Sequence[str], value: Mapping[str, Any]) -> bool:
    return any(value["key"].startswith(f"rules.{rule}.") for rule in rules)


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
