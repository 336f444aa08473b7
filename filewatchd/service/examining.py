"""The route `doctor`: what `filewatchd doctor` finds, of the configuration in force, and the daemon's own view."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from filewatchd.actions import registry
from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer
from filewatchd.service.doctor import examine
from filewatchd.service.findings import Finding, Report, Severity, document
from filewatchd.service.report import Parts
from filewatchd.service.vitals import CHECKS

_SAME = {
    "root-waiting": frozenset({"root-missing", "root-unusable", "root-stalled"})
}  # what the examination has better words for


class Examining:
    """The handler of `control.api.ROUTES`: doctor. One examination at a time: it may walk every tree."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._one = asyncio.Lock()

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"doctor": self.doctor}

    async def doctor(self, asked: arguments.Doctor, peer: Peer) -> documents.Examined:
        """Examine in the pool, and add what only a daemon at work can tell."""
        configuration, watches = self._parts.life().configuration, self._watches()
        async with self._one:
            work = partial(examine, lambda: configuration, registry.packages(), quick=asked.quick, watches=watches)
            report: Report = await self._parts.pool.run("doctor", work)
        own = [finding for check in CHECKS for finding in check(self._parts)]
        return documents.Examined(**document(report._replace(findings=together(report.findings, own))))

    def _watches(self) -> int:
        backends = self._parts.rooting.statistics()["backends"].values()
        return sum(found.get("watches", 0) + found.get("anchors", 0) for found in backends)


def together(examined: Sequence[Finding], own: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of both, each once, the worst first."""
    known = {(finding.code, finding.path) for finding in examined}
    fresh = [
        finding
        for finding in own
        if not any((code, finding.path) in known for code in (finding.code, *_SAME.get(finding.code, ())))
    ]
    order = list(Severity)
    return tuple(sorted([*fresh, *examined], key=lambda finding: order.index(finding.severity)))
