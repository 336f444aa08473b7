"""What is told of a set's symlinks: those to directories outside, and with `publish` those back to the source."""

from __future__ import annotations

from filewatchd.actions.reload.desk import FINDING, Desk
from filewatchd.actions.reload.entries import LINK
from filewatchd.actions.reload.taking import Taken


def tell_links(desk: Desk, taken: Taken) -> None:
    """As findings, which end when the links do."""
    _tell(desk, "outside", _leading_out(taken))
    _tell(desk, "source", _leading_back(desk, taken))


def _tell(desk: Desk, what: str, text: str) -> None:
    if text:
        desk.ctx.finding(f"{FINDING}-{what}", text)
    else:
        desk.ctx.clear_finding(f"{FINDING}-{what}")


def _leading_out(taken: Taken) -> str:
    if not taken.leading_out:
        return ""
    where = ", ".join(taken.leading_out[:3])
    return f"{where} leads to a directory outside the roots, which is not part of the set; add it to the roots"


def _leading_back(desk: Desk, taken: Taken) -> str:
    """The service follows links from the live directory: one to the source leads past the check."""
    publish = desk.options.publish
    if publish is None:
        return ""
    links = {key: entry.content for key, entry in taken.entries.items() if entry.kind == LINK}
    back = [key for key, target in links.items() if f"{target}/".startswith(f"{publish.source}/")]
    text = f"{desk.named(back)} leads to {publish.source}, so that the service reads what isn't checked"
    return f"{text}; make it relative, or have it lead to the live directory" if back else ""
