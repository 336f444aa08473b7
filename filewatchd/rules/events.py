"""What was noticed of a dirty path, in words: the raw events whose bits its hint has gathered, and what was none. Pure.

The bits from `Hint.RAW` on are those of inotify(7), by which the raw events are called; the other backends give the
bits that say the same. They only ever add up, so they tell what happened, and neither how often nor in which order.
"""

from __future__ import annotations

from filewatchd.model import Hint

RAW_EVENTS = {
    0x100: "create",
    0x2: "modify",
    0x8: "close_write",
    0x4: "attrib",
    0x40: "moved_from",
    0x80: "moved_to",
    0x200: "delete",
}
RAW_MASK = sum(RAW_EVENTS)
_OTHERS = {
    Hint.SCAN: "scan",  # a scan found that it differs, or that it is new
    Hint.FORCED: "request",  # somebody asked for a job, or for a retry
    Hint.SCHEDULED: "schedule",
    Hint.AGAIN: "again",  # the last look could have missed a write
}


def raw(mask: int) -> int:
    """The bits of raw events, as a hint has them."""
    return (mask & RAW_MASK) << Hint.RAW


def events_of(hint: int) -> list[str]:
    """What was noticed: names of raw events, `link` (what a symlink leads to changed), and what was no event."""
    mask = hint >> Hint.RAW
    found = [name for bit, name in RAW_EVENTS.items() if mask & bit]
    if hint & Hint.LIVE and not found:
        found.append("link")
    return [*found, *(name for bit, name in _OTHERS.items() if hint & bit)]
