"""What `filewatchd doctor` finds: its nouns, and how JSON shows them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.config.configuration import Configuration
from filewatchd.notation import path_fields
from filewatchd.service.limits import Limit
from filewatchd.service.survey import RootFacts, Survey

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage


class Severity(StrEnum):
    """How much it matters, the worst first."""

    ERROR = "error"  # something doesn't work
    WARNING = "warning"  # something may not work, or not as it was meant
    NOTE = "note"  # good to know


class Finding(NamedTuple):
    """Something a person should look at: what, why it matters, and what mends it. ``code`` is stable."""

    severity: Severity
    code: str
    message: str
    why: str
    remedy: str
    rule: str = ""
    path: str = ""


class StateFacts(NamedTuple):
    """The state directory, or the nearest directory above it that there is. Sizes in bytes."""

    path: str
    filesystem: str
    free: int
    size: int
    owner: int | None  # uid; None: it isn't there yet


class Facts(NamedTuple):
    """Everything the checks judge. ``state`` is None where it doesn't answer; ``descriptors``: as many may be open."""

    configuration: Configuration
    registry: Mapping[str, ActionPackage]
    survey: Survey
    limits: tuple[Limit, ...]
    state: StateFacts | None
    descriptors: int


class Report(NamedTuple):
    """What doctor says: facts for people to read, and what was found, the worst first."""

    roots: tuple[RootFacts, ...]
    limits: tuple[Limit, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """True if nothing is worse than a note."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


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
