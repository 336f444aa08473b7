"""``filewatchctl top``: a live view, drawn by textual."""

from __future__ import annotations

import sys

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import examples
from filewatchd.extras import lacks


@click.command(
    short_help="Watch what the daemon does, live.",
    epilog=examples("filewatchctl top"),
)
@click.pass_obj
def top(session: Session) -> int:
    """Watch what the daemon does, live: rules and how fast they change, running jobs, the last failures.

    The keys are shown at the bottom: they pause a rule or let it go on, retry what failed, and open a job's story.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException("top needs a terminal; `filewatchctl status` tells the same once")
    if (missing := lacks("tui")) is not None:
        raise click.ClickException(f"{missing[0]}; {missing[1]}")
    from filewatchd.cli.top.app import Top

    session.ask("status")  # before the screen is taken: nobody there, or no right to ask
    return Top(session.ask).run() or 0
