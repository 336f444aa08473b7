"""Whether a rule may run: the brake on loops and masses, and what lets it go. Pure.

A held rule keeps watching and marking dirty; it starts no job. Who holds it asks a person, so only a person lets it
go: by resuming it, or by changing the rule. A reload leaves an unchanged rule alone, and a restart says nothing about
what held it; only a rule whose action broke tries again at a start, because a start recovers its actions anew.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Hold(StrEnum):
    """Why a rule is held."""

    FREE = "free"
    LOOPS = "loops"
    MASSES = "masses"
    BROKEN = "broken"


class Brake(Enum):
    """What holds a rule or lets it go."""

    LOOPED = "a path triggers its own rule"
    EXCEEDED = "more paths changed than its limit allows"
    BROKE = "an action couldn't recover, or be handed on"
    RESUMED = "somebody resumes it"
    CHANGED = "a reload or a start finds the rule changed"
    RESTARTED = "a start finds the rule as it was"


_H, _B = Hold, Brake
HOLDS: dict[tuple[Hold, Brake], Hold] = {
    (_H.FREE, _B.LOOPED): _H.LOOPS,
    (_H.FREE, _B.EXCEEDED): _H.MASSES,
    **{(hold, _B.BROKE): _H.BROKEN for hold in _H},  # what is cut off comes before what is too much
    **{(hold, _B.RESUMED): _H.FREE for hold in _H if hold is not _H.FREE},
    **{(hold, _B.CHANGED): _H.FREE for hold in _H if hold is not _H.FREE},
    (_H.LOOPS, _B.RESTARTED): _H.LOOPS,
    (_H.MASSES, _B.RESTARTED): _H.MASSES,
    (_H.BROKEN, _B.RESTARTED): _H.FREE,
}


def lasting(hold: Hold) -> bool:
    """Whether a hold outlives the daemon, and so has to be written down."""
    return HOLDS.get((hold, Brake.RESTARTED), Hold.FREE) is not Hold.FREE
