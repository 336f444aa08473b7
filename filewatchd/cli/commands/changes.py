"""``filewatchctl changes``: the history of changes, and on as it grows."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import examples, path_arguments, rule_option, with_json
from filewatchd.cli.text import local
from filewatchd.notation import one_line

_COLOURS = {"created": "green", "modified": "yellow", "deleted": "red", "moved": "cyan", "metadata": "blue"}


@click.command(
    short_help="Show the changes that rules had.",
    epilog=examples("filewatchctl changes --follow --rule compress-drop", "filewatchctl changes --since 0 --json"),
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what changes from now, until Ctrl-C.")
@rule_option
@click.option("--path", type=click.Path(), help="Only this path, and what is below it.")
@click.option("--since", metavar="CURSOR", help="Only changes after the one with this cursor; 0: all that are kept.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many.")
@with_json
def changes(session: Session, follow: bool, path: str | None, **which: Any) -> None:
    """Show the changes that rules had, oldest first: the last 100 unless told otherwise.

    With --json each is an object on a line. A program keeps the last `cursor`, and goes on after it with --since CURSOR
    without a gap, over restarts of either side.
    """
    where = path_arguments(path) if path is not None else {}
    if follow:  # Python misses a signal that comes between its last look for one and a read that waits
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for line in session.lines("changes", {"follow": follow or None, **which, **where}):
        click.echo(line.decode().rstrip("\n") if session.as_json else _text(json.loads(line)), color=coloured())


def coloured() -> bool | None:
    """None: click decides by whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _text(change: Mapping[str, Any]) -> str:
    from filewatchd.cli.story import moved

    if "missed" in change:
        return click.style(f"{change['missed']:,} changes were forgotten before they could be told", fg="red")
    kind = click.style(f"{change['kind']:<8}", fg=_COLOURS.get(change["kind"]))
    return f"{local(change['time'])}  {kind}  {', '.join(change['rules']):<14}  {one_line(moved(change))}"
