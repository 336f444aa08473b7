"""Findings are kept whatever is in their texts."""

from __future__ import annotations

from pathlib import Path

from filewatchd.jobs.findings import Findings
from filewatchd.state.database import Database

ODD = "/srv/caf\udce9"


def test_a_finding_may_name_a_path_of_any_bytes(tmp_path: Path) -> None:
    with Database(str(tmp_path / "journal.db")) as database:
        findings = Findings(database)
        findings.raise_finding("rule", f"key {ODD}", f"modified: {ODD}", ODD, 1)
        findings.raise_finding("rule", f"key {ODD}", f"modified: {ODD}", ODD, 2)
        (found,) = findings.all()
        assert (found.path, found.message, found.times) == (ODD, "modified: /srv/caf\\udce9", 2)
        assert findings.clear("rule", f"key {ODD}", 3)
        assert findings.all() == []
