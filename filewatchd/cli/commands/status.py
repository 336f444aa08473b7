"""``filewatchctl status``: what the daemon does, and whether its promise is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import with_json
from filewatchd.cli.page import (
    BAD,
    FAINT,
    GOOD,
    STRONG,
    WARNING,
    Block,
    Cell,
    Column,
    Fields,
    Lines,
    Table,
    Text,
    numbers,
)
from filewatchd.cli.text import ago, counts, duration, number, path_in, size

_STATES = {"running": GOOD, "starting": WARNING, "blocked": BAD, "draining": WARNING}
_ROOTS = {"live": GOOD, "waiting": WARNING, "scanning": WARNING, "degraded": BAD, "stalled": BAD}
RULES = {"idle": FAINT, "waiting": "", "running": GOOD, "paused": WARNING, "disabled": FAINT}


@click.command(short_help="Show what the daemon does.")
@with_json
def status(session: Session) -> None:
    """Show what the daemon does: its state, rules, roots and findings, and whether its promise is kept."""
    session.tell(session.ask("status"), page)


def page(found: Mapping[str, Any]) -> Sequence[Block]:
    """The daemon, its rules, what holds them, its roots, and what somebody should look at."""
    return [
        Fields(list(_daemon(found))),
        Table(_RULES, [_rule(name, rule) for name, rule in found["rules"].items()], "Rules"),
        Lines([line for name, rule in found["rules"].items() for line in _held(name, rule)], "Held"),
        Table(_ROOT, [_root(root) for root in found["watch"]["roots"]], "Roots"),
        Table(_FINDING, [row for finding in found["findings"] for row in _finding(finding)], "Findings"),
    ]


# ---- the daemon


def _daemon(found: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    state, watch, process = found["state"], found["watch"], found["process"]
    yield "daemon", f"{found['instance']} on {found['host']}, filewatchd {found['version']}, pid {found['pid']}"
    yield "state", Cell(f"{state} for {duration(found['uptime'])}", _STATES.get(state, ""))
    yield from _promise(found["promise"])
    yield "configuration", f"{found['config']}, generation {found['generation']}"
    mistakes = (found["config_error"] or "").splitlines()
    yield from (("" if position else "reload refused", Cell(text, BAD)) for position, text in enumerate(mistakes))
    yield "log level", found["log_level"]
    limit = "" if watch["watches_limit"] is None else f" of {watch['watches_limit']:,}"
    events = number(watch["overflows"], "overflow"), number(watch["rescans"], "rescan")
    yield (
        "watching",
        f"{watch['watches']:,}{limit} watches, {', '.join(events)}, {number(found['transients'], 'transient')}",
    )
    descriptors = f"{process['descriptors']:,} of {process['descriptors_limit']:,} descriptors"
    yield "using", f"{size(process['memory'])}, {descriptors}, {duration(process['cpu_seconds'])} of processor time"


def _promise(promise: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    since = promise["in_doubt_since"]
    if since is None:
        before = f", was in doubt {number(promise['doubts'], 'time')}" if promise["doubts"] else ""
        yield "promise", Cell(f"kept{before}", GOOD)
        return
    yield "promise", Cell(f"in doubt, since {ago(since)}", BAD)
    for doubt in promise["reasons"]:
        yield "", f"{doubt['about']} {path_in(doubt, 'what')}: {doubt['why']}, since {ago(doubt['since'])}"


# ---- rules

_RULES = (
    Column("rule", whole=True),
    Column("state", whole=True),
    *numbers("changes"),
    *numbers("waiting", "running", "retry", "failed", "held", "findings", spare=True),
    Column("last job"),
)


def _rule(name: str, rule: Mapping[str, Any]) -> Sequence[Text]:
    waiting = rule["dirty"] + rule["skipped"]
    marked = [_marked(rule[key], style) for key, style in (("failed", BAD), ("held", WARNING), ("findings", WARNING))]
    plain = [
        f"{amount:,}" for amount in (rule["counters"].get("changes", 0), waiting, rule["running"], rule["retrying"])
    ]
    return Cell(name, STRONG), Cell(rule["state"], RULES.get(rule["state"], "")), *plain, *marked, _last(rule["last"])


def _marked(amount: int, style: str) -> Cell:
    return Cell(f"{amount:,}", style if amount else "")


def _last(last: Mapping[str, Any] | None) -> Text:
    if last is None:
        return Cell("none yet", FAINT)
    outcomes = counts(last["outcomes"]) or "over no path"
    return Cell(f"{outcomes}, {ago(last['time'])}", BAD if last["outcomes"].get("failed") else "")


def _held(name: str, rule: Mapping[str, Any]) -> Iterator[Text]:
    if rule["paused"]:
        yield Cell(f"{name}: {pause_text(rule['paused'])}", WARNING)
    if rule["waits"]:
        yield Cell(f"{name} waits: {rule['waits']}", WARNING)
    if rule["failing"]:
        yield Cell(f"{name} fails, since {ago(rule['failing']['since'])}: {rule['failing']['why']}", BAD)
    for told in rule["notifications"]:
        if told["waiting"] and told["last"] and told["last"]["outcomes"].get("failed"):
            what = number(told["waiting"], "thing")
            yield Cell(f"{told['name']}: {what} not told; `filewatchctl jobs list --rule {told['name']}`", WARNING)


def pause_text(pause: Mapping[str, Any]) -> str:
    """Why a rule starts no jobs, in a sentence."""
    times = [f"since {ago(pause['since'])}", f"goes on {ago(pause['until'])}" if pause["until"] else "until resumed"]
    if pause["discard"] or pause["discarded"]:
        times.append(f"{number(pause['discarded'], 'change')} discarded")
    return f"{pause['why']} ({', '.join(times)})"


# ---- roots and findings

_ROOT = (Column("root"), Column("state", whole=True), Column("backend", whole=True), Column("rules"), Column("why"))
_MOST_LINES = 12  # of a finding
_FINDING = (Column("rule", whole=True), Column("since", whole=True), Column("finding"))


def _root(root: Mapping[str, Any]) -> Sequence[Text]:
    state = root["state"]
    why = root["why"] or root["reason"]
    if root["missing"]:
        why = f"{why} (directories not watched: {root['missing']:,})"
    return path_in(root), Cell(state, _ROOTS.get(state, "")), root["backend"], ", ".join(root["rules"]), why


def _finding(finding: Mapping[str, Any]) -> Iterator[Sequence[Text]]:
    """What a check printed has several lines."""
    where = f" ({path_in(finding)})" if finding.get("path") else ""
    lines = f"{finding['message']}{where}".rstrip("\n").expandtabs().split("\n")
    shown = lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], "..."]
    yield finding["rule"], ago(finding["first"]), Cell(shown[0], WARNING)
    yield from ((" ", " ", Cell(line, WARNING)) for line in shown[1:])
