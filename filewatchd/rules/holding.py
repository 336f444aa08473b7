"""Whether a rule may run: what brakes it, and whether somebody paused it. Pure.

A held rule keeps watching and marking dirty; it starts no job. What brakes it asks a person, so only a person lets it
go: by resuming it, or by changing the rule. A reload leaves an unchanged rule alone, and a restart says nothing about
what held it; only a rule whose action broke tries again at a start, because a start recovers its actions anew.

A pause is a person's own word, and about the rule of that name whatever it does: it outlives restarts and changes of
the rule, and ends by its time or by being resumed. The two are tables of their own, so that none hides the other: a
paused rule whose action breaks is held by both, and goes on when neither is left. Resuming ends both.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Hold(StrEnum):
    """What brakes a rule."""

    FREE = "free"
    LOOPS = "loops"
    MASSES = "masses"
    BROKEN = "broken"


class Brake(Enum):
    """What brakes a rule or lets it go."""

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


class Pausing(StrEnum):
    """Whether somebody paused a rule. What discards takes what changes meanwhile as handled."""

    NONE = "none"
    PAUSED = "paused"
    DISCARDING = "discarding"


class Word(Enum):
    """What begins or ends a pause, or doesn't."""

    PAUSE = "somebody pauses it"
    DISCARD = "somebody pauses it, and wants nothing of what changes"
    RESUME = "somebody resumes it"
    OVER = "its time is over, now or while the daemon was down"
    CHANGED = "a reload or a start finds the rule, changed or not"


_P, _W = Pausing, Word
PAUSES: dict[tuple[Pausing, Word], Pausing] = {
    **{(pausing, _W.PAUSE): _P.PAUSED for pausing in _P},
    **{(pausing, _W.DISCARD): _P.DISCARDING for pausing in _P},
    **{(pausing, _W.RESUME): _P.NONE for pausing in _P if pausing is not _P.NONE},
    **{(pausing, _W.OVER): _P.NONE for pausing in _P if pausing is not _P.NONE},
    **{(pausing, _W.CHANGED): pausing for pausing in _P if pausing is not _P.NONE},
}
