"""The states of an archive, from the moment its rotation begins until it is deleted: a table.

Every move is a durable step: it is written down, and synced, before anything happens that leans on it
(`filewatchd.actions.rotate.ledger`). What each state promises:

- ``begun``: nothing was done yet that can't be undone; or the live file was just swapped, which its inode tells.
- ``copied``: the log is being emptied, or was; a copy has all that the log had (``copytruncate``).
- ``swapped``: the log's name has a fresh file; the old one is beside it, and somebody may still be writing to it.
- ``closed``: nobody writes to the old file, or the copy, any more, so its end is known.
- ``writing``: part of the live file is in the archive and was punched out of it (only where space is short).
- ``named``: the archive is whole, synced, and has its name; the source still has what it holds.
- ``stamped``: what becomes the live file's head carries the stamp, and what is before it is about to be cut off.
- ``done``: every byte is in one place.
- ``expiring``: it is being deleted. ``gone``: it was; the row stays while it says where the live file goes on.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What is true of an archive."""

    NONE = "none"
    BEGUN = "begun"
    COPIED = "copied"
    SWAPPED = "swapped"
    CLOSED = "closed"
    WRITING = "writing"
    NAMED = "named"
    STAMPED = "stamped"
    DONE = "done"
    EXPIRING = "expiring"
    GONE = "gone"


class Step(StrEnum):
    """What happened to it."""

    BEGIN = "a rotation begins"
    SWAP = "the log was swapped with a fresh file"
    COPY = "a copy has what the log has"
    TRUNCATE = "the log was emptied, and the copy alone has it"
    CLOSE = "nobody writes to the old file any more"
    MEMBER = "a member of the archive is written and synced"
    NAME = "the archive is whole, synced and has its name"
    STAMP = "what will be the head carries the stamp"
    FREE = "the source has it no more"
    SHIFT = "it is about to get another name"
    EXPIRE = "a limit of keep is exceeded"
    DELETE = "the archive is deleted"
    AFTER = "the command after it has run"
    UNDO = "the rotation is given up"


MOVES: dict[tuple[State, Step], State] = {
    (State.NONE, Step.BEGIN): State.BEGUN,
    (State.BEGUN, Step.UNDO): State.GONE,
    (State.BEGUN, Step.SWAP): State.SWAPPED,
    (State.BEGUN, Step.COPY): State.COPIED,
    (State.COPIED, Step.TRUNCATE): State.CLOSED,
    (State.COPIED, Step.UNDO): State.GONE,
    (State.SWAPPED, Step.NAME): State.NAMED,
    (State.SWAPPED, Step.CLOSE): State.CLOSED,
    (State.CLOSED, Step.MEMBER): State.CLOSED,
    (State.CLOSED, Step.NAME): State.NAMED,
    (State.BEGUN, Step.MEMBER): State.WRITING,
    (State.WRITING, Step.MEMBER): State.WRITING,
    (State.WRITING, Step.NAME): State.NAMED,
    (State.BEGUN, Step.NAME): State.NAMED,
    (State.NAMED, Step.STAMP): State.STAMPED,
    (State.NAMED, Step.FREE): State.DONE,
    (State.STAMPED, Step.FREE): State.DONE,
    (State.SWAPPED, Step.SHIFT): State.SWAPPED,
    (State.NAMED, Step.SHIFT): State.NAMED,
    (State.STAMPED, Step.SHIFT): State.STAMPED,
    (State.DONE, Step.SHIFT): State.DONE,
    (State.NAMED, Step.AFTER): State.NAMED,
    (State.STAMPED, Step.AFTER): State.STAMPED,
    (State.DONE, Step.AFTER): State.DONE,
    (State.EXPIRING, Step.AFTER): State.EXPIRING,
    (State.GONE, Step.AFTER): State.GONE,
    (State.CLOSED, Step.DELETE): State.GONE,
    (State.DONE, Step.EXPIRE): State.EXPIRING,
    (State.EXPIRING, Step.DELETE): State.GONE,
}
UNFINISHED = frozenset(
    {State.BEGUN, State.COPIED, State.SWAPPED, State.CLOSED, State.WRITING, State.NAMED, State.STAMPED}
)


def after(state: State, step: Step) -> State:
    """The state that a step leads to.

    Raises:
        ValueError: there is no such move.
    """
    try:
        return MOVES[state, step]
    except KeyError:
        raise ValueError(f"an archive that is {state.value} has no step {step.name}") from None
