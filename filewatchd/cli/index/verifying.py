"""``filewatchctl index verify``: has the daemon hold files against the index, and shows how far it is."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index.opening import Scope, kept, opened, rules_in, said_argument, scopes
from filewatchd.cli.index.waiting import changes_in, changes_table
from filewatchd.cli.options import examples, path_arguments, with_json
from filewatchd.cli.page import BAD, GOOD, WARNING, Block, Cell, Lines, Text
from filewatchd.cli.text import duration, number, size
from filewatchd.control.places import action_place

if TYPE_CHECKING:
    from filewatchd.state.index.rows import Run

_LOOK = 0.2  # seconds between two looks at how far it is
_WINDOW = 10.0  # seconds that the rate is taken over
_WIDTH = 20
_LISTED = 2000  # findings in the document; `index pending` has all


@click.command(
    short_help="Hold files against the index.",
    epilog=examples("filewatchctl index verify --quick", "filewatchctl index verify /srv/releases --full"),
)
@said_argument
@click.option("--quick", "mode", flag_value="quick", help="Compare metadata; read only files that look changed.")
@click.option("--full", "mode", flag_value="full", default=True, help="Read every file (the default).")
@click.option("--fresh", is_flag=True, help="Begin anew, also where a verify like this was interrupted.")
@with_json
def verify(session: Session, said: str | None, mode: str, fresh: bool) -> int:
    """Hold files at or below PATH, or those of RULE, or all, against the index. Exit code 3: there are findings.

    Ctrl-C stops it where it is; the same command goes on there.
    """
    with opened(session) as reader:
        found = scopes(reader, said)
    rules = kept(session)
    found = [scope for scope in found if scope.root.rule in rules]
    if not found:
        raise click.ClickException("no rule that is configured has that; see filewatchctl index status")
    done: list[dict[str, Any]] = []
    for rule in rules_in(found):
        done += _verify(session, rule, said, found, mode, fresh=fresh)
    with opened() as reader:
        from filewatchd.cli.index.telling import change

        waits = changes_in(reader, found)
        findings = [change(each, root) for each, root in itertools.islice(waits, _LISTED)]
        more = sum(1 for _ in waits)
    document = {"runs": done, "findings": findings, "more": more}
    session.tell(document, verified)
    failed = any(run["state"] != "done" for run in done)
    return 3 if findings else 1 if failed else 0


def _verify(
    session: Session, rule: str, said: str | None, found: Sequence[Scope], mode: str, *, fresh: bool
) -> list[dict[str, Any]]:
    """Verify one rule's part, to the end."""
    scoped = any(scope.path for scope in found if scope.root.rule == rule)
    where = path_arguments(said) if scoped and said is not None else {}
    like = [] if fresh else _like(rule, found, mode)
    runs = [each.id for each in like]
    for each in like:
        if each.state == "stopped":
            session.ask(action_place("checksum", "resume", acts=True), {"rule": rule, "run": each.id})
    if not runs:
        begun = session.ask(action_place("checksum", "verify", acts=True), {"rule": rule, "mode": mode, **where})
        runs = begun["runs"]
    try:
        return _followed(session, rule, runs)
    except KeyboardInterrupt:
        for run in runs:
            session.ask(action_place("checksum", "stop", acts=True), {"rule": rule, "run": run})
        click.echo("\nstopped; the same command goes on there, --fresh begins anew", err=True)
        raise


def _like(rule: str, found: Sequence[Scope], mode: str) -> list[Run]:
    """Verifies like this one that run, or were stopped and none like them has ended since: the newest of each root."""
    wanted = {(scope.root.root, scope.path) for scope in found if scope.root.rule == rule}
    with opened() as reader:
        newest: dict[str, Run] = {}
        for run in reader.runs(rule, "verify"):
            if run.mode == mode and (run.root, run.scope) in wanted:
                newest.setdefault(run.root, run)
    return [run for run in newest.values() if run.state in ("stopped", "running")]


def _followed(session: Session, rule: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Wait until these runs have ended, and show how far they are."""
    line = ProgressLine(rule, shown=sys.stderr.isatty() and not session.as_json)
    place = action_place("checksum", "runs")
    try:
        while True:
            told = session.ask(place, {"rule": rule})["runs"]
            mine = [run for run in told if run["id"] in numbers]
            if not any(run["state"] == "running" for run in mine):
                return [{"rule": rule, **run} for run in mine]
            line.show(mine, time.monotonic())
            time.sleep(_LOOK)
    finally:
        line.clear()


class ProgressLine:
    """One line on standard error, written over and over: a bar, rates, the time left."""

    def __init__(self, rule: str, *, shown: bool) -> None:
        self._rule = rule
        self._shown = shown
        self._looks: list[tuple[float, int, int]] = []

    def show(self, runs: Sequence[Mapping[str, Any]], now: float) -> None:
        """Write it anew."""
        if not self._shown:
            return
        files, total = (sum(run[name] for run in runs) for name in ("files", "total"))
        read = sum(run["bytes"] + run.get("reading", 0) for run in runs)
        self._looks = [look for look in self._looks if look[0] > now - _WINDOW] + [(now, files, read)]
        text = progress(self._rule, files, total, read, *self._rates())
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def _rates(self) -> tuple[float, float]:
        (first, files, read), (last, more_files, more_read) = self._looks[0], self._looks[-1]
        elapsed = last - first
        return ((more_files - files) / elapsed, (more_read - read) / elapsed) if elapsed > 0 else (0.0, 0.0)

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def progress(rule: str, files: int, total: int, read: int, file_rate: float, byte_rate: float) -> str:
    """How far it is, in one line."""
    rates = f"{file_rate:,.0f} files/s, {size(byte_rate)}/s"
    if not total:
        return f"{rule}  {number(files, 'file')}, {size(read)}  {rates}"
    share = min(1.0, files / total)
    bar = "#" * int(_WIDTH * share) + "-" * (_WIDTH - int(_WIDTH * share))
    left = f"  {duration(round((total - files) / file_rate))} left" if file_rate > 0 and total > files else ""
    return f"{rule}  [{bar}] {share:4.0%}  {files:,} of {total:,} files, {size(read)}  {rates}{left}"


def verified(document: Mapping[str, Any]) -> Sequence[Block]:
    """What was verified, and what waits."""
    lines: list[Text] = []
    for run in document["runs"]:
        text = f"{run['rule']}: {number(run['files'], 'file')}, {size(run['bytes'])} read"
        lines.append(Cell(text, GOOD) if run["state"] == "done" else Cell(f"{text}; {run['state']}", WARNING))
    end: Text = Cell("nothing is found", GOOD)
    if document["findings"]:
        total = len(document["findings"]) + document["more"]
        end = Cell(f"{number(total, 'finding')}; see `filewatchctl index pending`", BAD)
    return [Lines(lines), changes_table(document["findings"][:100], "Findings"), Lines([end])]
