"""What was noticed before a job: when the first raw event came, and which there were, as the journal keeps it.

A path's hint gathers the raw events (`filewatchd.rules.events`) and its dirty record the times of the first and the
last of them, so a story costs nothing before its job starts. It is told of at most 20 paths, in at most 4 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.clock import Clock
from filewatchd.state.pack import pack, unpack

if TYPE_CHECKING:
    from filewatchd.jobs.runner import Item, Key
    from filewatchd.rules.debounce import Pending

SHOWN = 20  # paths
LIMIT = 4 * 1024  # bytes


class Noticed(NamedTuple):
    """What the journal keeps. ``first_ns``: of the earliest event, None where there was none."""

    first_ns: int | None
    story: bytes


NOTHING = Noticed(None, b"")


class Event(NamedTuple):
    """What was noticed of one path, from the first to the last event of it. ``hint``: as in `model.Hint`."""

    first_ns: int
    last_ns: int
    path: str
    hint: int


class Story(NamedTuple):
    """A story read back. ``due_ns``: when the last of the job's paths was due, so that the rest was waiting."""

    due_ns: int | None
    events: Sequence[Event]


def noticed(taken: Sequence[tuple[Key, Pending[Key]]], items: Sequence[Item], clock: Clock) -> Noticed:
    """What led to these items of a batch that was taken."""
    entries = dict(taken)
    found = [entry for item in items if (entry := entries.get(item.key)) is not None]
    found += [entry for item in items if item.old_key is not None and (entry := entries.get(item.old_key)) is not None]
    if not found:
        return NOTHING
    offset = clock.wall_ns() - int(clock.monotonic() * 1e9)
    first, due = min([entry.first for entry in found]), max([entry.due for entry in found])
    told = [(entries[key], path) for key, path in _paths(items[:SHOWN]) if key in entries][:SHOWN]
    rows = [(_wall(e.first, offset), _wall(e.last, offset), path, e.hint) for e, path in told]
    return Noticed(_wall(first, offset), _packed(_wall(due, offset), rows))


def _paths(items: Sequence[Item]) -> Iterator[tuple[Key, str]]:
    """Each item's path, and of a moved one its old name before that."""
    for item in items:
        if item.old_key is not None:
            yield item.old_key, item.change.old_path or ""
        yield item.key, item.change.path


def _wall(monotonic: float, offset: int) -> int:
    return int(monotonic * 1e9) + offset


def _packed(due_ns: int, rows: Sequence[tuple[int, int, str, int]]) -> bytes:
    """The story, with fewer rows where names are long."""
    story = pack((due_ns, rows))
    while len(story) > LIMIT:
        rows = rows[: len(rows) // 2]
        story = pack((due_ns, rows))
    return story


def read_story(story: bytes) -> Story:
    """What `noticed` kept.

    Raises:
        ValueError: it is damaged.
    """
    if not story:
        return Story(None, ())
    due_ns, rows = unpack(story)
    return Story(due_ns, [Event(*row) for row in rows])
