"""What a reload can be in, as a table: (state, what happened) -> state. Pure.

Every state that holds over a crash is safe to be found in: `unsure` says that nobody knows what the service runs, and
ends in the check and the apply of what is on the disk. The steps are those that guard it; they are journaled before
what they announce is done, and cleared when the record says how it ended.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where disk and service stand to each other."""

    UNSURE = "unsure"  # what the service runs isn't known
    CHECKING = "checking"  # a new set is checked
    WAITING = "waiting"  # it passed; cooldown or splay isn't over
    PUBLISHING = "publishing"  # it goes to the live directory
    APPLYING = "applying"  # the service is being told
    WATCHING = "watching"  # it was told; its health is watched
    SYNCED = "synced"  # it runs what is on the disk
    RETRYING = "retrying"  # telling it failed; it is told again
    HELD = "held"  # what is on the disk is bad, and stays there; the service runs what it ran
    RESTORING = "restoring"  # the last good set is put back
    TRIPPED = "tripped"  # the set goes back and forth; nothing is applied until it rests


#: What is over when the job is.
PASSING = frozenset({State.CHECKING, State.PUBLISHING, State.APPLYING, State.WATCHING, State.RESTORING})


class Happening(StrEnum):
    """What moves it. The values are how people read them."""

    CHANGED = "the set differs"
    REVERTED = "the disk is as the service has it again"
    UNCHECKED = "the check couldn't be made"
    REFUSED = "the check failed"
    SETTLED = "passed, and applied already"
    EARLY = "passed, but it is too soon"
    FLAPPING = "passed, but it goes back and forth"
    PASSED = "passed"
    PUBLISH = "passed, to be published"
    PUBLISHED = "the live directory has it"
    TOLD = "the service was told"
    FAILED = "telling it failed"
    GAVE_UP = "it failed, and attempts are used up"
    HEALTHY = "it is healthy"
    UNHEALTHY = "it isn't healthy"
    RESAVED = "the set was saved while the service was told"
    RESTORE = "the last good set shall be put back"
    KEPT_BACK = "it is healthy with the last good set, the source still has the bad one"
    RESTORED = "the last good set is back, the service needs it"
    PUT_BACK = "the last good set is back, the service has it"
    DISTURBED = "somebody else changed it meanwhile"
    CUT_OFF = "the daemon died"


S, H = State, Happening
MOVES: dict[tuple[State, Happening], State] = {
    **{(state, H.CHANGED): S.CHECKING for state in (S.UNSURE, S.WAITING, S.SYNCED, S.RETRYING, S.HELD, S.TRIPPED)},
    **{(state, H.REVERTED): S.SYNCED for state in (S.WAITING, S.RETRYING, S.HELD, S.TRIPPED)},
    (S.CHECKING, H.UNCHECKED): S.RETRYING,
    (S.CHECKING, H.REFUSED): S.HELD,
    (S.CHECKING, H.SETTLED): S.SYNCED,
    (S.CHECKING, H.EARLY): S.WAITING,
    (S.CHECKING, H.FLAPPING): S.TRIPPED,
    (S.CHECKING, H.PASSED): S.APPLYING,
    (S.CHECKING, H.PUBLISH): S.PUBLISHING,
    (S.PUBLISHING, H.PUBLISHED): S.APPLYING,
    (S.PUBLISHING, H.FAILED): S.RETRYING,
    (S.APPLYING, H.TOLD): S.WATCHING,
    (S.APPLYING, H.FAILED): S.RETRYING,
    (S.APPLYING, H.GAVE_UP): S.HELD,
    (S.APPLYING, H.RESAVED): S.UNSURE,
    (S.WATCHING, H.HEALTHY): S.SYNCED,
    (S.WATCHING, H.UNHEALTHY): S.HELD,
    (S.WATCHING, H.KEPT_BACK): S.HELD,
    (S.WATCHING, H.RESAVED): S.UNSURE,
    (S.HELD, H.RESTORE): S.RESTORING,
    (S.RESTORING, H.RESTORED): S.APPLYING,
    (S.RESTORING, H.PUT_BACK): S.SYNCED,
    (S.RESTORING, H.DISTURBED): S.HELD,
    **{
        (state, H.CUT_OFF): S.UNSURE
        for state in (S.CHECKING, S.PUBLISHING, S.APPLYING, S.WATCHING, S.RESTORING, S.WAITING, S.RETRYING)
    },
}


class Step(StrEnum):
    """The journaled steps, in the order in which a reload may take them."""

    CHECK = "reload-check"  # the candidate is kept and about to be checked
    PUBLISH = "reload-publish"  # it passed, and is about to become the live directory
    APPLY = "reload-apply"  # it passed, and the service is about to be told
    HEALTH = "reload-health"  # the service was told, and its health is about to be asked
    RESTORE = "reload-restore"  # it is bad, and the last good set is about to be put back
    REAPPLY = "reload-reapply"  # that is back, and the service is about to be told


def move(state: State, happening: Happening) -> State:
    """The next state; what isn't in the table moves nothing."""
    return MOVES.get((state, happening), state)
