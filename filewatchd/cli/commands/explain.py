"""``filewatchctl explain``: why a path matches rules or doesn't, and what a rule would do now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import Rule, examples, path_arguments, with_json
from filewatchd.cli.page import BAD, FAINT, GOOD, STRONG, Block, Cell, Lines, Text
from filewatchd.cli.story import moved
from filewatchd.cli.text import ago, moment, number, path_in, size


@click.command(
    short_help="Say why a path matches rules or doesn't.",
    epilog=examples("filewatchctl explain /srv/drop/orders.csv", "filewatchctl explain --rule compress-drop"),
)
@click.argument("path", type=click.Path(), required=False)
@click.option("--rule", type=Rule(), metavar="RULE", help="With PATH: this rule alone. Without: what it would do now.")
@with_json
def explain(session: Session, path: str | None, rule: str | None) -> None:
    """Say of every rule whether it would match PATH, and exactly why or why not; PATH needn't exist.

    With --rule alone: what the rule would do now, step by step, without doing any of it.
    """
    if path is None and rule is None:
        raise click.UsageError("Say what to explain: a PATH, or --rule RULE.", click.get_current_context())
    where = path_arguments(path) if path is not None else {}
    session.tell(session.ask("explain", {"rule": rule, **where}), page if path is not None else plan)


def page(found: Mapping[str, Any]) -> Sequence[Block]:
    """A part a rule, those that match first."""
    verdicts = sorted(found["rules"], key=lambda verdict: not verdict["matches"])
    matching = sum(verdict["matches"] for verdict in verdicts)
    head = f"{path_in(found)} ({found['exists']}) is matched by {matching} of {number(len(verdicts), 'rule')}"
    return [Lines([head]), *(Lines(list(_verdict(verdict)), _title(verdict)) for verdict in verdicts)]


def _title(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['rule']}: {'matches' if verdict['matches'] else 'does not match'}"


def _verdict(verdict: Mapping[str, Any]) -> Iterator[Text]:
    yield Cell(verdict["why"], GOOD if verdict["matches"] else STRONG)
    for reason in verdict["reasons"]:
        mark = "yes" if reason["passed"] else "no"
        where = f"  [{reason['where']}]" if reason["where"] else ""
        style = FAINT if reason["passed"] else BAD
        yield Cell(f"{mark:<3}  {reason['about']:<8} {reason['text']}{where}", style)
    if verdict["pending"] is not None:
        yield f"now: {_pending(verdict['pending'])}"
    if verdict["known"] is not None:
        yield Cell(f"last handled: {_known(verdict['known'])}", FAINT)


_PENDING = {
    "dirty": "changed, and waiting",
    "taken": "in a job",
    "backoff": "waiting for its retry",
    "failed": "failed; it waits for `filewatchctl jobs retry` or a change",
    "skipped": "left while its rule was busy",
    "held": "held open by a writer",
}


def _pending(pending: Mapping[str, Any]) -> str:
    parts = [_PENDING.get(pending["state"], pending["state"])]
    parts += [f"since {ago(pending['since'])}"] if pending["since"] else []
    parts += [f"due {ago(pending['due'])}"] if pending["due"] else []
    parts += [f"job {pending['job']}"] if pending["job"] else []
    parts += [f"noticed: {', '.join(pending['events'])}"] if pending["events"] else []
    parts += [f"open for writing by {', '.join(pending['writers'])}"] if pending["writers"] else []
    return "; ".join(parts)


def _known(known: Mapping[str, Any]) -> str:
    modified = f", modified {moment(known['mtime_ns'])}" if known.get("mtime_ns") is not None else ""
    return f"{size(known['size'])}{modified}, inode {known['inode']}"


def plan(found: Mapping[str, Any]) -> Sequence[Block]:
    """What a rule would do now, path by path."""
    return [*planned(found), Lines([_rest(found)])]


def planned(found: Mapping[str, Any]) -> Sequence[Block]:
    """Changes with the steps that their rule's actions would take, and those over all of them at once."""
    lines = [line for change in found.get("planned") or () for line in _steps(change)]
    more = found.get("more") or 0
    lines += [Cell(f"and {number(more, 'change')} more", FAINT)] if more else []
    return [Lines(lines), Lines(list(found.get("together") or ()), "Together" if lines else "")]


def _steps(change: Mapping[str, Any]) -> Iterator[Text]:
    yield f"{change['kind']} {moved(change)}"
    yield from (Cell(f"  {step}", FAINT) for step in change["steps"])


def _rest(found: Mapping[str, Any]) -> str:
    changes = len(found["planned"]) + (found.get("more") or 0)
    if not changes:
        return f"{found['rule']} has nothing to do: no change waits"
    return f"{found['rule']} would work {number(changes, 'change')}; nothing was done"
