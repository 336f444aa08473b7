"""Plans as the control socket tells them: of a trigger's dry run, and of what a rule would do now."""

from __future__ import annotations

from typing import Any

from filewatchd.control import documents
from filewatchd.jobs.planning import Plan, Plans
from filewatchd.notation import path_fields


def planned(plans: Plans) -> dict[str, Any]:
    """The fields ``planned``, ``together`` and ``more`` of a document."""
    return {"planned": [_planned(plan) for plan in plans.plans], "together": list(plans.together), "more": plans.more}


def _planned(plan: Plan) -> documents.Planned:
    change = plan.change
    old = {} if change.old_path is None else path_fields("old_path", change.old_path)
    fields: dict[str, Any] = {**path_fields("path", change.path), **old}
    return documents.Planned(kind=change.kind.value, steps=list(plan.steps), **fields)
