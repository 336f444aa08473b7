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
    """What is wrong with their names; "" if nothing is.

    Raises:
        ActionError: systemd can't be asked.
    """
    missing = []
    for unit, manager in named(desk):
        state = await desk.ctx.services.state(unit, _PATIENCE, manager)
        if state.load == "not-found":
            missing.append(unit)
    hint = "nothing can be applied; correct the name, or install the service"
    return f"systemd knows no unit {', '.join(missing)}: {hint}" if missing else ""


async def foretold(desk: Desk) -> str:
    """The same for a plan, with what keeps it from asking."""
    try:
        return await unknown(desk)
    except ActionError as error:
        return f"nothing can be applied now: {error}"


async def tell_unknown(desk: Desk) -> None:
    """Raise a finding of it, or clear it. Where systemd can't be asked, perhaps not yet, it is told when it matters."""
    try:
        text = await unknown(desk)
    except ActionError:
        return
    if text:
        desk.ctx.finding(f"{FINDING}-unit", text)
    else:
        desk.ctx.clear_finding(f"{FINDING}-unit")
