"""Raw inotify events -> dirty names and the few events that change the tree of watches. Pure.

A burst repeats itself: a written file is CREATE, MODIFY.., CLOSE_WRITE. One read of the queue is therefore
folded at once into {watch: {name: mask}}, where a later MODIFY clears an earlier CLOSE_WRITE (the file may be
open again); what concerns directories, renames and the queue itself is kept apart, in order.

Format: inotify(7), ``struct inotify_event {int wd; uint32_t mask, cookie, len; char name[]}``, native order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from filewatchd.model import Hint, RawEvent
from filewatchd.rules.events import raw

IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ISDIR: Final = 0x40000000

#: Everything below a root. OPEN, ACCESS and CLOSE_NOWRITE stay out: a scan would wake itself with them.
TREE_MASK: Final = (
    IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF
)
#: The same where nobody wants to know of writes.
QUIET_MASK: Final = TREE_MASK & ~(IN_MODIFY | IN_CLOSE_WRITE)
#: The directories above a root, where only the coming and going of names matters, and whether they may be entered.
ANCHOR_MASK: Final = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ATTRIB

_STRUCTURAL: Final = (
    IN_ISDIR | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED
)
HEADER: Final = struct.Struct("=iIII")


class Folded(NamedTuple):
    """What some reads of the queue amount to. ``events``: raw events in them.

    ``half``: the last event is a rename's first side; the kernel queues the other one right behind it.
    """

    dirty: dict[int, dict[bytes, int]]
    structural: list[RawEvent]
    events: int
    half: bool = False


def fold(chunks: Iterable[bytes]) -> Folded:
    """Fold reads of an inotify queue, in order."""
    dirty: dict[int, dict[bytes, int]] = {}
    structural: list[RawEvent] = []
    count = mask = 0
    unpack = HEADER.unpack_from
    for data in chunks:
        offset, end = 0, len(data)
        while offset < end:
            watch, mask, cookie, length = unpack(data, offset)
            offset += 16
            name = data[offset : offset + length]
            offset += length
            count += 1
            if mask & _STRUCTURAL:
                structural.append(RawEvent(watch, mask, cookie, name))
                if mask & IN_ISDIR or not length:
                    continue
            names = dirty.get(watch)
            if names is None:
                dirty[watch] = {name: mask}
            elif mask == IN_MODIFY:
                names[name] = names.get(name, 0) & ~IN_CLOSE_WRITE | IN_MODIFY
            else:
                names[name] = names.get(name, 0) | mask
    return Folded(dirty, structural, count, bool(mask & IN_MOVED_FROM))


_WRITES: Final = IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
_CLOSES: Final = IN_CLOSE_WRITE | IN_MOVED_TO


class _Hints(dict[int, int]):
    def __missing__(self, mask: int) -> int:
        hint = Hint.LIVE | raw(mask)
        if mask & _WRITES:
            hint |= Hint.WRITE
            if mask & _CLOSES:
                hint |= Hint.CLOSED
        self[mask] = hint
        return hint


#: What a folded mask says about a path; there are few masks and many paths.
HINTS: Final = _Hints()


class Rename(NamedTuple):
    """Both sides of one rename, as (watch, padded name); one is None where it left or entered the watched trees."""

    source: tuple[int, bytes] | None
    target: tuple[int, bytes] | None
    directory: bool


def renames(structural: Iterable[RawEvent]) -> list[Rename]:
    """Pair MOVED_FROM and MOVED_TO by cookie; a half without its other half stands alone."""
    waiting: dict[int, int] = {}
    found: list[Rename] = []
    for event in structural:
        if event.mask & IN_MOVED_FROM:
            waiting[event.cookie] = len(found)
            found.append(Rename((event.watch, event.name), None, bool(event.mask & IN_ISDIR)))
        elif event.mask & IN_MOVED_TO:
            at = waiting.pop(event.cookie, None)
            if at is None:
                found.append(Rename(None, (event.watch, event.name), bool(event.mask & IN_ISDIR)))
            else:
                found[at] = found[at]._replace(target=(event.watch, event.name))
    return found
