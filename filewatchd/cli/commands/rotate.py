"""``filewatchctl rotate``: rotate logs by hand, or say what a rotation would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import examples, path_arguments, with_json
from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING, Block, Cell, Lines, Text
from filewatchd.cli.text import path_in, size
from filewatchd.control.places import RequestError, action_place

_STYLES = {"ok": GOOD, "skipped": FAINT, "rejected": BAD, "failed": BAD}
_BAD = ("rejected", "failed")


@click.command(
    short_help="Rotate logs now.",
    epilog=examples(
        "filewatchctl rotate app-logs --dry-run", "filewatchctl rotate --force /var/log/app/app.log",
    ),
)  # fmt: skip
@click.argument("target", metavar="RULE|PATH")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and why by this method.")
@click.option("--force", is_flag=True, help="Also what isn't due.")
@with_json
def rotate(session: Session, target: str, dry_run: bool, force: bool) -> int:
    """Rotate the logs of RULE that are due, or the log at PATH; with --force although they aren't.

    What waits for the last writer to go is finished afterwards; `filewatchctl archive ls PATH` shows it.
    """
    name, acts = ("plan", False) if dry_run else ("rotate", True)
    said: dict[str, Any] = {} if dry_run else {"force": force or None}
    where = path_arguments(target) if "/" in target else {}
    found = _ask(session, target, action_place("rotate", name, acts=acts), said | where)
    session.tell(found, _plans if dry_run else _done)
    return 1 if any(log.get("verdict") in _BAD for log in found["logs"]) else 0


def _ask(session: Session, target: str, place: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the rule; of a path, the rule that matches it and rotates."""
    if "/" not in target:
        return session.ask(place, {"rule": target, **said}, timeout=None)
    where = path_arguments(target)
    rules = [verdict["rule"] for verdict in session.ask("explain", where)["rules"] if verdict["matches"]]
    refusal: RequestError | None = None
    for rule in rules:
        try:
            return session.ask(place, {"rule": rule, **said}, timeout=None)
        except RequestError as error:
            if error.status != 404:
                raise
            refusal = error
    raise refusal or click.ClickException(f"no rule matches {target}; `filewatchctl explain {target}` says why")


def _plans(found: Mapping[str, Any]) -> Iterator[Block]:
    lines: list[Text] = []
    for log in found["logs"]:
        due = f"due: {log['due']}" if log["due"] else "not due"
        lines.append(Cell(f"{path_in(log)}: {size(log['size'])}, {due}", GOOD if log["due"] else ""))
        lines.append(
            Cell(f"  {log['method']}: {'; '.join(log['reasons'])}", BAD if log["method"] == "refuse" else FAINT)
        )
    yield Lines(lines or ["the rule knows no log"])


def _done(found: Mapping[str, Any]) -> Iterator[Block]:
    lines = [
        Cell(
            f"{path_in(log)}: {log['verdict']}{': ' if log['why'] else ''}{log['why']}",
            _STYLES.get(log["verdict"], WARNING),
        )
        for log in found["logs"]
    ]
    yield Lines(lines or ["the rule knows no log"])
