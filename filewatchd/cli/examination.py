"""What doctor finds, for people: of `filewatchd doctor`, and of the daemon's own view in `filewatchctl doctor`."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING, Block, Cell, Column, Lines, Table, Text, numbers
from filewatchd.cli.text import number, path_in

_WIDTH = 110  # columns of a finding's text
_COMMAND = re.compile("`[^`]*`")
_HARD = "\N{NO-BREAK SPACE}"  # textwrap breaks at ASCII's blanks only
_SEVERITIES = {"error": BAD, "warning": WARNING, "note": ""}
_ROOTS = (Column("path"), Column("filesystem"), Column("backend"), *numbers("directories", "files"),
          Column("why this backend"))  # fmt: skip
_LIMITS = (Column("limit"), *numbers("value", "needed", "used by others", "share"))


def page(document: Mapping[str, Any], *, quick: bool = False) -> Sequence[Block]:
    """Roots, limits, findings, and what it comes to."""
    findings = document["findings"]
    return [
        Table(_ROOTS, [_root(root) for root in document["roots"]], "Roots"),
        Table(_LIMITS, [_limit(limit) for limit in document["limits"]], "Limits"),
        Lines(list(_findings(findings)), "Findings"),
        Lines([_summary(findings, quick=quick)]),
    ]


def unwell(document: Mapping[str, Any]) -> bool:
    """Whether there are findings worse than a note."""
    return any(finding["severity"] != "note" for finding in document["findings"])


def _root(root: Mapping[str, Any]) -> Sequence[Text]:
    counted = (_number(root["directories"]), _number(root["files"]))
    return path_in(root), root["filesystem"] or "?", root["backend"], *counted, root["reason"]


def _limit(limit: Mapping[str, Any]) -> Sequence[Text]:
    share = "-" if limit["share"] is None else f"{limit['share']:.0%}"
    return limit["name"], f"{limit['limit']:,}", _number(limit["needed"]), _number(limit["used"]), share


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _findings(findings: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    for position, finding in enumerate(findings):
        if position:
            yield ""
        yield _head(finding)
        yield from _told(finding)


def _head(finding: Mapping[str, Any]) -> Cell:
    about = [f"rule {finding['rule']}"] if finding["rule"] else []
    about += [path_in(finding)] if finding["path"] else []
    where = f" ({', '.join(about)})" if about else ""
    severity = finding["severity"]
    return Cell(f"{severity}: {finding['code']}{where}", _SEVERITIES.get(severity, ""))


def _told(finding: Mapping[str, Any]) -> Iterator[str]:
    texts = (("what", path_in(finding, "message")), ("why", finding["why"]), ("mend", path_in(finding, "remedy")))
    for label, text in texts:
        if text:
            yield from _wrapped(f"{label}:", text)


def _wrapped(label: str, text: str) -> Iterator[str]:
    """Wrapped, but never within a path or a command in backticks: they can be copied."""
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _HARD), text)
    for line in textwrap.wrap(
        whole, _WIDTH, initial_indent=f"  {label:<6}", subsequent_indent=" " * 8,
        break_long_words=False, break_on_hyphens=False,
    ):  # fmt: skip
        yield line.replace(_HARD, " ")


def _summary(findings: Sequence[Mapping[str, Any]], *, quick: bool) -> Cell:
    found = Counter(finding["severity"] for finding in findings)
    told = [number(found[severity], severity) for severity in _SEVERITIES if found[severity]]
    text = ", ".join(told) or "nothing found that needs mending"
    style = next((style for name, style in _SEVERITIES.items() if found[name]), GOOD)
    return Cell(f"{text}; trees were not walked (--quick)" if quick else text, style or FAINT)
