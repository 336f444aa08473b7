"""``filewatchctl rules``: the rules as they are configured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.commands.status import RULES, pause_text
from filewatchd.cli.options import examples, with_json
from filewatchd.cli.page import FAINT, STRONG, WARNING, Block, Cell, Column, Fields, Table, Text
from filewatchd.cli.text import duration

_COLUMNS = (
    Column("rule", whole=True),
    Column("state", whole=True),
    Column("roots"),
    Column("include"),
    Column("actions"),
    Column("from"),
)


@click.command(short_help="Show the rules as they are configured.", epilog=examples("filewatchctl rules --verbose"))
@click.option("-v", "--verbose", is_flag=True, help="Show every setting of each rule.")
@with_json
def rules(session: Session, verbose: bool) -> None:
    """Show the rules as they are configured, and the file and line where each stands."""
    session.tell(session.ask("rules"), settings if verbose else page)


def page(found: Mapping[str, Any]) -> Sequence[Block]:
    """A line a rule."""
    return [Table(_COLUMNS, [_row(rule) for rule in found["rules"]])]


def _row(rule: Mapping[str, Any]) -> Sequence[Text]:
    texts = (", ".join(rule[key]) for key in ("roots", "include", "actions"))
    return Cell(rule["name"], STRONG), _state(rule), *texts, Cell(os.path.basename(rule["origin"] or ""), FAINT)


def _state(rule: Mapping[str, Any]) -> Cell:
    return Cell(rule["state"], RULES.get(rule["state"], ""))


def settings(found: Mapping[str, Any]) -> Sequence[Block]:
    """A list of settings a rule."""
    return [Fields(list(_settings(rule)), rule["name"]) for rule in found["rules"]]


def _settings(rule: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    if rule["description"]:
        yield "about", rule["description"]
    yield "state", _state(rule)
    if rule["paused"]:
        yield "held", Cell(pause_text(rule["paused"]), WARNING)
    for key in ("roots", "include", "exclude", "presets", "changes"):
        yield key, ", ".join(rule[key])
    yield "ready", f"{rule['ready']}, settle {duration(rule['settle'])}, max_wait {duration(rule['max_wait'])}"
    yield "batch", rule["batch"]
    yield "on_busy", f"{rule['on_busy']}, concurrency {rule['concurrency']}"
    yield "actions", ", ".join(rule["actions"])
    yield "user", rule["user"] or "the daemon's"
    yield "from", rule["origin"] or ""
