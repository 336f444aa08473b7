"""``filewatchctl index forget``: drop what is known of a rule that isn't configured any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index.opening import kept, of_rule, opened
from filewatchd.cli.options import examples, with_json
from filewatchd.cli.page import GOOD, Block, Cell, Lines
from filewatchd.cli.text import number
from filewatchd.control.places import action_place


@click.command(short_help="Forget a rule that is gone.", epilog=examples("filewatchctl index forget old-releases"))
@click.argument("rule")
@click.option("--yes", is_flag=True, help="Don't ask, not even at a terminal.")
@with_json
def forget(session: Session, rule: str, yes: bool) -> None:
    """Forget what is known of a rule that isn't configured any more: rows, versions, changes and runs, for good.

    `index status` names such rules. Until then all is kept, for the rule may come back, or have been renamed: with
    `renamed_from` its new name takes everything over. Audits against earlier seals say that it is gone.
    """
    with opened(session) as reader:
        files = sum(reader.count(scope.root.id) for scope in of_rule(reader, rule))
    rules = kept(session)
    if rule in rules:
        raise click.ClickException(f"rule {rule} is configured; take it, or its checksum, out of the configuration")
    if not rules:
        raise click.ClickException("no rule keeps the index; if none shall, stop the daemon and remove index.db")
    session.confirm(f"Forget {number(files, 'file')} of {rule}?", yes=yes or session.as_json)
    place = action_place("checksum", "forget", acts=True)
    session.tell(session.ask(place, {"rule": rules[0], "former": rule}, timeout=None), forgotten)


def forgotten(document: Mapping[str, Any]) -> Sequence[Block]:
    """What went."""
    return [Lines([Cell(f"{document['rule']}: {number(document['files'], 'file')} forgotten", GOOD)])]
