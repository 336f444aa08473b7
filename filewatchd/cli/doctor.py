"""`filewatchd doctor`: what the service's doctor found, for people or as JSON. Progress goes to a terminal's stderr."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filewatchd.cli.check import count, tell_mistakes, to_json
from filewatchd.config.load import load
from filewatchd.errors import ConfigError
from filewatchd.notation import path_fields
from filewatchd.service.doctor import examine
from filewatchd.service.findings import Finding, Report, Severity
from filewatchd.service.limits import Limit
from filewatchd.service.survey import RootFacts

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

_FINDINGS = 3  # exit code
_LONG = 1.0  # seconds after which progress is worth a line
_WIDTH = 110  # columns of a finding's text
_COMMAND = re.compile("`[^`]*`")
_HARD = "\N{NO-BREAK SPACE}"  # textwrap breaks at ASCII's blanks only


def doctor(
    config: Path,
    *,
    registry: Mapping[str, ActionPackage],
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    as_json: bool = False,
    quick: bool = False,
) -> int:
    """Examine and print; the exit code is 0, 3 with warnings or errors, 78 with mistakes in the configuration."""
    progress = Progress()
    try:
        report = examine(
            partial(load, config, registry=registry, environ=environ, flags=flags),
            registry,
            quick=quick,
            tell=progress.tell,
        )
    except ConfigError as error:
        tell_mistakes(error.mistakes, as_json)
        return error.exit_code
    finally:
        progress.end()
    print(to_json(document(report)) if as_json else "\n".join(lines(report, quick=quick)))
    return 0 if report.healthy else _FINDINGS


class Progress:
    """A line on a terminal, rewritten while the walk takes long."""

    def __init__(self) -> None:
        self._from = time.monotonic() + _LONG if sys.stderr.isatty() else float("inf")
        self._shown = False

    def tell(self, directories: int) -> None:
        """Show how many directories were counted so far."""
        if time.monotonic() >= self._from:
            self._shown = True
            print(f"\r{directories:,} directories", end="\x1b[K", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# ---- JSON


def document(report: Report) -> dict[str, Any]:
    """The report as JSON shows it."""
    return {
        "roots": [_root(root) for root in report.roots],
        "limits": [_limit(limit) for limit in report.limits],
        "findings": [_finding(finding) for finding in report.findings],
    }


def _root(root: RootFacts) -> dict[str, Any]:
    return {
        **path_fields("path", root.path),
        "rules": [rule.name for rule in root.rules],
        "filesystem": root.filesystem or None,
        "backend": root.choice.name,
        "reason": root.choice.reason,
        "directories": root.tree.directories if root.tree is not None else None,
        "files": root.tree.files if root.tree is not None else None,
    }


def _limit(limit: Limit) -> dict[str, Any]:
    share = round(limit.share, 4) if limit.share is not None and limit.limit else None
    return {"name": limit.name, "limit": limit.limit, "needed": limit.needed, "used": limit.used, "share": share}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "rule": finding.rule or None,
        **(path_fields("path", finding.path) if finding.path else {"path": None}),
        **path_fields("message", finding.message),
        "why": finding.why,
        **path_fields("remedy", finding.remedy),
    }


# ---- for people


def lines(report: Report, *, quick: bool = False) -> Iterator[str]:
    """The report as plain text."""
    if report.roots:
        yield from ("Roots", "")
        head = ("path", "filesystem", "backend", "directories", "files", "why this backend")
        yield from _table([head, *map(_root_cells, report.roots)])
        yield ""
    if report.limits:
        yield from ("Limits", "")
        yield from _table([("limit", "value", "needed", "used by others", "share"), *map(_limit_cells, report.limits)])
        yield ""
    if report.findings:
        yield from ("Findings", "")
        for finding in report.findings:
            yield from map(_shown, _told(finding))
            yield ""
    yield _summary(report) + ("; trees were not walked (--quick)" if quick else "")


def _root_cells(root: RootFacts) -> tuple[str, ...]:
    tree = root.tree
    numbers = (_number(tree.directories), _number(tree.files)) if tree is not None else ("-", "-")
    return root.path, root.filesystem or "?", root.choice.name, *numbers, root.choice.reason


def _limit_cells(limit: Limit) -> tuple[str, ...]:
    share = f"{limit.share:.0%}" if limit.share is not None and limit.limit else "-"
    return limit.name, f"{limit.limit:,}", _number(limit.needed), _number(limit.used), share


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as what is in them; numbers stand on the right."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    right = [all(cell[:1] in "-0123456789" for cell in column[1:]) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = zip(row, widths, right, strict=True)
        yield "  " + "  ".join(f"{c:>{w}}" if r else f"{c:<{w}}" for c, w, r in cells).rstrip()


def _told(finding: Finding) -> Iterator[str]:
    about = [f"rule {finding.rule}"] if finding.rule else []
    about += [finding.path] if finding.path else []
    yield f"  {finding.severity.value}: {finding.code}" + (f" ({', '.join(about)})" if about else "")
    for label, text in (("what", finding.message), ("why", finding.why), ("mend", finding.remedy)):
        if text:
            yield from _wrapped(f"{label}:", text)


def _wrapped(label: str, text: str) -> Iterator[str]:
    """Wrapped, but never within a path or a command in backticks: they can be copied."""
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _HARD), text)
    for line in textwrap.wrap(
        whole, _WIDTH, initial_indent=f"    {label:<6}", subsequent_indent=" " * 10,
        break_long_words=False, break_on_hyphens=False,
    ):  # fmt: skip
        yield line.replace(_HARD, " ")


def _summary(report: Report) -> str:
    numbers = Counter(finding.severity for finding in report.findings)
    told = [count(range(numbers[severity]), severity.value) for severity in Severity if numbers[severity]]
    return ", ".join(told) or "nothing found that needs mending"


def _shown(text: str) -> str:
    """Safe for a terminal: names may hold control characters, or bytes that are no text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
