"""``filewatchctl flush, trigger, pause, resume``: wait for the rules' work, ask for some, hold it, let it go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import TIMEOUT, Session
from filewatchd.cli.options import Duration, Rule, examples, path_arguments, rule_option, with_json
from filewatchd.cli.page import BAD, GOOD, WARNING, Block, Cell, Lines, Text
from filewatchd.cli.text import number, path_in

_ERROR = 1

# ---- flush


@click.command(
    short_help="Wait until all that happened is worked.",
    epilog=examples("filewatchctl flush --rule compress-drop --timeout 30s && use the results"),
)
@rule_option
@click.option("--timeout", type=Duration(), default="60s", show_default=True, metavar="DURATION",
              help="Wait no longer (exit code 75).")  # fmt: skip
@with_json
def flush(session: Session, rule: str | None, timeout: float) -> int:
    """Return once all that happened before has been worked; say what wasn't waited for, and why."""
    found = session.ask("flush", {"rule": rule, "timeout": timeout}, timeout=timeout + TIMEOUT)
    session.tell(found, flushed)
    return 0 if found["done"] else 75


_LEFT = {
    "held": "held open by a writer",
    "backoff": "waits for its retry",
    "failed": "failed; `filewatchctl jobs retry` tries it again",
    "skipped": "left by on_busy: skip",
    "stalled": "its filesystem doesn't answer",
}


def flushed(found: Mapping[str, Any]) -> Sequence[Block]:
    """Whether all is done, and what is left."""
    left = [line for key, why in _LEFT.items() for line in _left(found[key], why)]
    left += [
        Cell(f"rule {rule} is paused; `filewatchctl resume {rule}` lets it go on", WARNING) for rule in found["paused"]
    ]
    head = (
        Cell("done: all that happened before", GOOD)
        if found["done"]
        else Cell("the time is over, not all is done", BAD)
    )
    return [Lines([head]), Lines(left, "Not waited for")]


def _left(paths: Sequence[Mapping[str, Any]], why: str) -> Iterator[Text]:
    return (Cell(f"{path_in(path)}: {why}", WARNING) for path in paths)


# ---- trigger


@click.command(
    short_help="Ask a rule for a job by hand.",
    epilog=examples("filewatchctl trigger compress-drop /srv/drop/orders.csv", "filewatchctl trigger report --dry-run"),
)
@click.argument("rule", type=Rule())
@click.argument("paths", type=click.Path(), nargs=-1, metavar="[PATH]...")
@click.option("--dry-run", is_flag=True, help="Only say what it would do, step by step.")
@with_json
def trigger(session: Session, rule: str, paths: Sequence[str], dry_run: bool) -> int:
    """Ask RULE for a job by hand: over these paths, changed or not, or over no path.

    Exit code 1 if the rule doesn't match one of them; it is asked for the others.
    """
    said: dict[str, list[str]] = {}
    for path in paths:
        for name, value in path_arguments(path, "paths").items():
            said.setdefault(name, []).append(value)
    found = session.ask("trigger", {"rule": rule, "dry_run": dry_run or None, **said})
    session.tell(found, triggered)
    return _ERROR if found["refused"] else 0


def triggered(found: Mapping[str, Any]) -> Sequence[Block]:
    """What was asked for, or what it would do."""
    from filewatchd.cli.commands.explain import planned

    refused = [Cell(f"{path_in(path)}: {found['rule']} doesn't match it", WARNING) for path in found["refused"]]
    over = number(found["paths"], "path") if found["paths"] else "no path"
    held = [Cell(f"it has to wait: {found['held']}", WARNING)] if found.get("held") else []
    if refused and not found["paths"]:
        return [Lines(refused), Lines(["nothing is asked for"])]
    if found["dry_run"]:
        told = f"{found['rule']} would do this over {over}; nothing was done"
        return [*planned(found), Lines(refused), Lines([told, *held])]
    return [Lines(refused), Lines([f"asked {found['rule']} for a job over {over}", *held])]


# ---- pause and resume


@click.command(
    short_help="Hold a rule.",
    epilog=examples('filewatchctl pause compress-drop --for 30m --reason "the disk is being replaced"'),
)
@click.argument("rule", type=Rule())
@click.option("--for", "seconds", type=Duration(), metavar="DURATION",
              help="Go on by itself after so long; not before `filewatchctl resume` unless this is said.")  # fmt: skip
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at status.")
@click.option(
    "--discard", is_flag=True, help="Take what changes meanwhile as handled: it is told of, and never worked."
)
@with_json
def pause(session: Session, rule: str, seconds: float | None, reason: str, discard: bool) -> None:
    """Hold RULE, also over restarts: it goes on watching and starts no job; what changes is worked afterwards."""
    said = {"rule": rule, "seconds": seconds, "reason": reason or None, "discard": discard or None}
    session.tell(session.ask("pause", said), paused)


def paused(found: Mapping[str, Any]) -> Sequence[Block]:
    """The rule, and until when."""
    from filewatchd.cli.commands.status import pause_text

    return [Lines([f"{found['rule']}: {pause_text(found['paused'])}"])]


@click.command(short_help="Let rules go on that are held.", epilog=examples("filewatchctl resume compress-drop"))
@click.argument("rule", type=Rule(), required=False, metavar="[RULE]")
@with_json
def resume(session: Session, rule: str | None) -> None:
    """Let RULE go on, or all: those that are paused, or held by a loop, by their limit or by a failed recovery.

    Without RULE it also acknowledges that state was lost.
    """
    session.tell(session.ask("resume", {"rule": rule}), resumed)


def resumed(found: Mapping[str, Any]) -> Sequence[Block]:
    """Which rules go on, and which don't."""
    lines: list[Text] = [Cell(f"{rule} goes on", GOOD) for rule in found["resumed"]]
    lines += [Cell(f"{rule} is held: {why}", WARNING) for rule, why in found["held"].items()]
    if found["acknowledged"]:
        lines.append("the loss of state is acknowledged")
    return [Lines(lines or ["no rule was held"])]
