"""``filewatchctl log-level, shutdown, doctor, health, metrics``: the daemon itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import Duration, examples, with_json
from filewatchd.cli.page import BAD, GOOD, Block, Cell, Lines
from filewatchd.cli.text import ago, duration, number
from filewatchd.control.places import RequestError

_LEVELS = ("debug", "info", "warning", "error")
_WALK = 600.0  # seconds that doctor may walk trees


@click.command("log-level", short_help="Log more or less.", epilog=examples("filewatchctl log-level debug --for 10m"))
@click.argument("level", type=click.Choice(_LEVELS))
@click.option("--for", "seconds", type=Duration(), metavar="DURATION",
              help="Go back to the configuration's level after so long.")  # fmt: skip
@with_json
def log_level(session: Session, level: str, seconds: float | None) -> None:
    """Log more or less, until the next reload or for a time."""
    session.tell(session.ask("level", {"level": level, "seconds": seconds}), levelled)


def levelled(found: Mapping[str, Any]) -> Sequence[Block]:
    """The level, and until when."""
    until = "until the next reload" if found["until"] is None else f"goes back {ago(found['until'])}"
    return [Lines([f"log level {found['level']} (it was {found['was']}); {until}"])]


@click.command(short_help="Let the daemon finish, and end.")
@click.option("--yes", is_flag=True, help="Don't ask, not even at a terminal.")
@with_json
def shutdown(session: Session, yes: bool) -> None:
    """Let the daemon finish what runs, and end. What changes from then on is caught up at its next start."""
    session.confirm("End the daemon?", yes=yes)
    session.tell(session.ask("shutdown"), ending)


def ending(found: Mapping[str, Any]) -> Sequence[Block]:
    """What it waits for."""
    waits = f"waits for {number(found['running'], 'job')}, at most {duration(found['grace'])}"
    return [Lines([f"the daemon ends; it {waits}" if found["running"] else "the daemon ends"])]


@click.command(
    short_help="Find out why something doesn't work.",
    epilog="Exit code 3: there are findings. `filewatchd doctor` examines a configuration without a daemon.",
)
@click.option("--quick", is_flag=True, help="Don't walk trees: no watches counted, no patterns tried.")
@with_json
def doctor(session: Session, quick: bool) -> int:
    """Examine limits, roots, backends, patterns and state, with the daemon's own view; say what mends what."""
    from filewatchd.cli import examination

    found = session.ask("doctor", {"quick": quick or None}, timeout=_WALK)
    session.tell(found, lambda document: examination.page(document, quick=quick))
    return 3 if examination.unwell(found) else 0


@click.command(short_help="Say whether the daemon is well.")
@with_json
def health(session: Session) -> int:
    """Say whether the daemon is well: exit code 0, else 1 and why not. For probes."""
    try:
        found = session.ask("health")
    except RequestError as error:
        if "healthy" not in error.more:
            raise
        found = error.more
    session.tell(found, wellness)
    return 0 if found["healthy"] else 1


def wellness(found: Mapping[str, Any]) -> Sequence[Block]:
    """Well or not, and why not."""
    if found["healthy"]:
        return [Lines([Cell(f"healthy: {found['state']}", GOOD)])]
    return [Lines([Cell(f"not healthy: {found['state']}", BAD), *found["why"]])]


@click.command(short_help="Print the metrics.")
@with_json
def metrics(session: Session) -> None:
    """Print the metrics in Prometheus' text format."""
    text = session.text("metrics")
    session.tell({"metrics": text}, lambda document: [Lines(document["metrics"].splitlines())])
