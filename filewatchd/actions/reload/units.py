"""Whether systemd knows the units that a reload names: a misspelt one is told at the start, not at the first change."""

from __future__ import annotations

from filewatchd.actions.reload.desk import FINDING, Desk
from filewatchd.errors import ActionError

_PATIENCE = 10.0  # seconds


def named(desk: Desk) -> dict[tuple[str, str | None], None]:
    """The units that it tells, and those whose health it watches, each with its manager."""
    options = desk.options
    found = [(probe.unit, probe.manager) for probe in options.probes]
    if options.apply is not None:
        found.insert(0, (options.apply.unit, options.apply.manager))
    return {(unit, manager): None for unit, manager in found if unit is not None}


async def unknown(desk: Desk) -> str:
    """What is wrong with their names; "" if nothing is, or systemd can't be asked: that is told when it is needed."""
    missing = []
    for unit, manager in named(desk):
        try:
            state = await desk.ctx.services.state(unit, _PATIENCE, manager)
        except ActionError:
            return ""
        if state.load == "not-found":
            missing.append(unit)
    hint = "nothing can be applied; correct the name, or install the service"
    return f"systemd knows no unit {', '.join(missing)}: {hint}" if missing else ""


async def tell_unknown(desk: Desk) -> None:
    """Raise a finding of it, or clear it."""
    text = await unknown(desk)
    if text:
        desk.ctx.finding(f"{FINDING}-unit", text)
    else:
        desk.ctx.clear_finding(f"{FINDING}-unit")
