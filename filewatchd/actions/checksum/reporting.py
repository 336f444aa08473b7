"""What waits of a rule's index, as findings in status: one for each verdict, for what was rejected, for packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from filewatchd.actions.base import Context
from filewatchd.actions.checksum.packages.grouping import Upgrade
from filewatchd.model import Found
from filewatchd.state.index.rows import State, Verdict

_NAMED = 3  # upgrades that are told by name
_REJECTED = State.REJECTED.value


def report(ctx: Context, waits: Iterable[tuple[str, int, str]], upgrades: Sequence[Upgrade]) -> None:
    """Raise and clear the findings. ``waits``: see `Reader.waits`; those of upgrades aren't among them."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for verdict, number, path in waits:
        counts[verdict] += number
        first.setdefault(verdict, path)
    found: list[Found] = []
    for what in (*(each.value for each in Verdict), _REJECTED):
        if counts[what]:
            more = f", and {counts[what] - 1} more" if counts[what] > 1 else ""
            remedy = "put back what was there, or approve it" if what == _REJECTED else "see filewatchctl index pending"
            found.append(Found(f"index-{what}", f"{what}: {first[what]}{more}; {remedy}", first[what]))
        else:
            ctx.clear_finding(f"index-{what}")
    if upgrades:
        found.append(Found("index-packages", packages_text(upgrades)))
    else:
        ctx.clear_finding("index-packages")
    ctx.raise_findings(found)


def packages_text(upgrades: Sequence[Upgrade]) -> str:
    """Upgrades that wait, in a sentence."""
    named = "; ".join(each.text for each in upgrades[:_NAMED])
    more = f"; and {len(upgrades) - _NAMED} more packages" if len(upgrades) > _NAMED else ""
    hint = upgrades[0].package if len(upgrades) == 1 else "NAME"
    return f"{named}{more}; approve with filewatchctl index approve --package {hint}"
