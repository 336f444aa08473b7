"""Which method a log is rotated by, and why: pure.

What each one needs and costs, from the safest on:

- ``exchange``: the name gets a fresh file, the old inode becomes the archive. Nothing can be lost: whoever still writes
  to the old inode writes to the archive. But a writer that never opens anew goes on writing there for ever, so `auto`
  takes it only where `reopen` tells the writer, or where there is none.
- ``collapse``: the archived head is cut off the live file. Every writer must append: one that keeps a position of its
  own would go on behind a hole. That is proven, or it isn't done.
- ``punch``: the archived head's blocks are freed and the positions stay, so any writer may go on. The file keeps its
  length, and who reads its head sees zeros; it is healed by an exchange once its last writer has gone.
- ``copy``: an archive of what is new, and the live file stays as it is.
- ``copytruncate``: what is written between the copy and the truncation is lost; only if it is asked for.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Chosen = Literal["exchange", "collapse", "punch", "copy", "copytruncate", "refuse"]


class Facts(NamedTuple):
    """What was found out about a log.

    Attributes:
        leased: False: a lease proves that nobody writes; True: somebody does; None: that can't be told.
        writers: descriptors and mappings that were seen to write; ``appending``: those of them with O_APPEND.
        mapped: mappings among them.
        hidden: processes that couldn't be looked into.
        initial: no pid namespace is above this one.
        held: nobody could open it meanwhile.
        collapses, punches: what its filesystem can do.
        skip: bytes at its head that are archived already, and still there as a hole or padding.
        keeper: a program that rotates it itself, and the setting that tells it to.
    """

    leased: bool | None
    writers: int = 0
    appending: int = 0
    mapped: int = 0
    hidden: int = 0
    initial: bool = True
    held: bool = True
    collapses: bool = True
    punches: bool = True
    skip: int = 0
    names: tuple[str, ...] = ()
    keeper: str = ""


class Decision(NamedTuple):
    """The method, and the reasons for people."""

    method: Chosen
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.method}: {'; '.join(self.reasons)}"


def decide(method: str, unproven: str, reopens: bool, facts: Facts) -> Decision:
    """The method for a log as it is now."""
    if facts.keeper:
        return Decision("refuse", (facts.keeper,))
    if method in ("auto", "punch") and facts.leased is False and facts.skip:
        return Decision("exchange", ("its head is archived, and a lease proves that nobody writes to it any more",))
    if method == "collapse":
        return _by_name(facts)
    if method != "auto":
        return _asked(method, facts)
    if reopens:
        return Decision("exchange", ("the writer is told to open its log anew (reopen)",))
    if facts.leased is False:
        return Decision("exchange", ("a lease proves that nobody has it open for writing",))
    doubts = tuple(_doubts(facts))
    if not doubts:
        return Decision("collapse", (f"all {facts.writers} writers append, nobody else could open it meanwhile",))
    if unproven == "refuse":
        return Decision("refuse", (*doubts, "and unproven is refuse: set reopen, or a method"))
    if not facts.punches:
        return Decision("refuse", (*doubts, "and its filesystem can't punch holes: set reopen, or a method"))
    return Decision("punch", (*doubts, "so its head is punched out, which is safe with any writer"))


def _asked(method: str, facts: Facts) -> Decision:
    if method == "punch" and not facts.punches:
        return Decision("refuse", ("its filesystem can't punch holes: set another method",))
    assert method in ("exchange", "punch", "copy", "copytruncate")
    return Decision(method, ("the rule says so",))  # type: ignore[arg-type]


def _by_name(facts: Facts) -> Decision:
    """The rule's author vouches for what can't be seen, but not for what can."""
    if facts.leased is False:
        return Decision("exchange", ("nobody has it open for writing, so nothing needs to be cut off",))
    plain = facts.writers - facts.appending
    if plain:
        return Decision("refuse", (f"{_many(plain, 'writer')} without O_APPEND{_named(facts)} would leave a hole",))
    if not facts.collapses:
        return Decision("refuse", ("its filesystem can't cut off a file's head, or not safely: set another method",))
    return Decision("collapse", ("the rule says so, and every writer that can be seen appends",))


def _doubts(facts: Facts) -> list[str]:
    """Why a collapse isn't proven safe."""
    doubts = []
    if not facts.collapses:
        doubts.append("its filesystem can't cut off a file's head, or not safely")
    if facts.mapped:
        doubts.append(f"{_many(facts.mapped, 'process')} has it mapped")
    plain = facts.writers - facts.appending - facts.mapped
    if plain > 0:
        doubts.append(f"{_many(plain, 'writer')} without O_APPEND{_named(facts)}")
    if not facts.writers:
        doubts.append("no writer can be seen, and yet a lease is refused or can't tell")
    if facts.hidden:
        doubts.append(f"{_many(facts.hidden, 'process')} can't be looked into")
    if not facts.initial:
        doubts.append("processes outside this pid namespace can't be seen")
    if not facts.held:
        doubts.append("the kernel or our rights don't let us hold up new openers")
    return doubts


def _many(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _named(facts: Facts) -> str:
    return f" ({', '.join(facts.names)})" if facts.names else ""
