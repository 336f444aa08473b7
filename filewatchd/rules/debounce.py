"""Settle windows: when a dirty path is due. Pure: time comes in as a parameter.

A path is due when nothing happened to it for ``settle``, or ``max_wait`` after the first event. Paths carry
their own deadline; they stand in buckets of a quarter of settle, and a bucket that comes up moves those that
got a later deadline meanwhile. So an event costs O(1) and a burst is released in few batches.

A due path stays dirty, and an event restarts its settle, until `take` hands it out.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from filewatchd.model import Hint

K = TypeVar("K", bound=Hashable)

_FINEST = 0.005
_COARSEST = 0.1
_WRITE = Hint.WRITE
_WRITE_OR_CLOSED = Hint.WRITE | Hint.CLOSED
_NOT_CLOSED = ~Hint.CLOSED


class Pending(Generic[K]):
    """A dirty path: when it is due, since when it is dirty, what is known, and the other side of its rename."""

    __slots__ = ("due", "first", "hint", "last", "partner", "queued")

    def __init__(self, due: float, now: float, hint: int) -> None:
        self.due = due
        self.first = now
        self.last = now
        self.hint = hint
        self.partner: K | None = None
        self.queued = False  # stands in the due queue


class Window(Generic[K]):
    """The dirty paths of one rule. ``K`` names a path within the rule."""

    def __init__(self, settle: float, max_wait: float, *, together: bool = False) -> None:
        """``together``: all paths are due when the whole rule was quiet (``batch: rule``). Times in seconds."""
        self.settle = settle
        self.max_wait = max_wait
        self._together = together
        self._grain = _grain(settle)
        self._pending: dict[K, Pending[K]] = {}
        self._buckets: dict[int, list[K]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers
        self._due: deque[K] = deque()
        self._fresh: list[K] = []  # together: what waits for the rule to be quiet
        self._quiet_at = 0.0  # together: when that is
        self._since = 0.0  # together: the first event of this window

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, key: K) -> bool:
        return key in self._pending

    def __iter__(self) -> Iterator[K]:
        return iter(self._pending)

    def get(self, key: K) -> Pending[K] | None:
        """The dirty path's record, or None."""
        return self._pending.get(key)

    def mark(self, key: K, hint: int, now: float) -> None:
        """Something happened to this path."""
        if self._together:
            if not self._fresh and not self._due:
                self._since = now
            self._quiet_at = min(now + self.settle, self._since + self.max_wait)
        entry = self._pending.get(key)
        if entry is None:
            entry = self._pending[key] = Pending(now + self.settle, now, hint)
            self._enqueue(key, entry)
            return
        if hint & _WRITE_OR_CLOSED == _WRITE:
            entry.hint &= _NOT_CLOSED
        entry.hint |= hint
        entry.last = now
        due = now + self.settle
        cap = entry.first + self.max_wait
        old, entry.due = entry.due, min(cap, due)
        if entry.due < old and not entry.queued:  # it was put off for longer than settle: its bucket is too late
            self._enqueue(key, entry)

    def mark_after(self, key: K, hint: int, now: float, delay: float, since: float | None = None) -> None:
        """Mark a path to be looked at again after ``delay`` seconds; an event meanwhile goes by settle as usual.

        ``since``: what it is marked for happened then.
        """
        entry = self._pending.get(key)
        if entry is not None:
            entry.hint |= hint
            return
        entry = self._pending[key] = Pending(now + delay, now, hint)
        if since is not None:
            entry.first = since
        if delay > 0:
            self._file(key, entry)
        else:
            self._queue(key, entry)

    def hasten(self, key: K, now: float) -> bool:
        """Make a path that was put off due now; False if it isn't dirty, or waits in the queue already."""
        entry = self._pending.get(key)
        if entry is None or entry.queued:
            return False
        entry.due = min(entry.due, now)
        self._queue(key, entry)
        return True

    def put_back(self, key: K, entry: Pending[K], delay: float, now: float) -> None:
        """Return a taken path that wasn't ready; it keeps its age. An event since then wins, with what was known."""
        newer = self._pending.get(key)
        if newer is not None:
            newer.hint |= entry.hint & _NOT_CLOSED
            newer.first = min(newer.first, entry.first)
            return
        entry.due, entry.queued, entry.partner = now + delay, False, None
        self._pending[key] = entry
        self._file(key, entry)

    def pair(self, old: K, new: K) -> None:
        """The two sides of one rename share a deadline and a batch. Both must be dirty."""
        first, second = self._pending.get(old), self._pending.get(new)
        if first is None or second is None:
            return
        first.partner, second.partner = new, old
        first.due = second.due = max(first.due, second.due)

    def drop(self, key: K) -> Pending[K] | None:
        """Forget a path (its rule took it up elsewhere, or no longer wants it)."""
        return self._pending.pop(key, None)

    def next_due(self, now: float) -> float | None:
        """The next time in the future at which `release` finds something; None if nothing waits for time."""
        times = [self._order[0] * self._grain] if self._order else []
        if self._quiet_at > now and (self._fresh or self._due):
            times.append(self._quiet_at)
        return min(times) if times else None

    def due_at(self, key: K) -> float | None:
        """When a dirty path is due, should nothing happen before; None if it isn't dirty."""
        entry = self._pending.get(key)
        if entry is None:
            return None
        return self._quiet_at if self._together else self._deadline(entry)

    def release(self, now: float) -> int:
        """Move what is due into the queue; returns how many paths wait there."""
        while self._order and self._order[0] * self._grain <= now:
            for key in self._buckets.pop(heapq.heappop(self._order)):
                self._correct(key, now)
        if self._together:
            if now < self._quiet_at:
                return 0
            fresh, self._fresh = self._fresh, []
            for key in fresh:
                entry = self._pending.get(key)
                if entry is not None and not entry.queued:
                    self._queue(key, entry)
        while self._due and not self._is_due(self._due[0], now):
            self._due.popleft()
        return len(self._due)

    def is_due(self, hint: int) -> bool:
        """Whether a path waits in the queue of which one of these hints is known."""
        return any(entry.hint & hint for key in self._due if (entry := self._pending.get(key)) is not None)

    def take(self, most: int, now: float, most_bytes: int = 128 * 1024) -> list[tuple[K, Pending[K]]]:
        """Hand out up to ``most`` due paths, in order; both sides of a rename together."""
        taken: list[tuple[K, Pending[K]]] = []
        if self._together and now < self._quiet_at:
            return taken
        room = most_bytes
        due, pending = self._due, self._pending
        while due and len(taken) < most and room > 0:
            key = due.popleft()
            entry = pending.get(key)
            if entry is None or not entry.queued:
                continue
            if entry.partner is None and entry.due <= now:  # nearly all of them
                entry.queued = False
                del pending[key]
                taken.append((key, entry))
                room -= _size(key)
            elif self._is_due(key, now):
                entry.queued = False
                room -= self._hand_out(key, entry, taken)
        return taken

    def _is_due(self, key: K, now: float) -> bool:
        """Whether a queued path is still due; one that got more time meanwhile goes back to its bucket."""
        entry = self._pending.get(key)
        if entry is None or not entry.queued:
            return False
        if self._together or self._deadline(entry) <= now:
            return True
        entry.queued = False
        self._file(key, entry)
        return False

    def _hand_out(self, key: K, entry: Pending[K], taken: list[tuple[K, Pending[K]]]) -> int:
        del self._pending[key]
        taken.append((key, entry))
        if entry.partner is not None:
            other = self._pending.pop(entry.partner, None)
            if other is not None:
                taken.append((entry.partner, other))
        return _size(key)

    def _deadline(self, entry: Pending[K]) -> float:
        """A path whose rename partner is dirty waits for it, within max_wait."""
        other = self._pending.get(entry.partner) if entry.partner is not None else None
        if other is None or other.due <= entry.due:
            return entry.due
        return max(entry.due, min(other.due, entry.first + self.max_wait))

    def _correct(self, key: K, now: float) -> None:
        """A bucket came up: the path is due, unless an event since gave it more time."""
        entry = self._pending.get(key)
        if entry is None or entry.queued:
            return
        if self._deadline(entry) > now:
            self._file(key, entry)
        else:
            self._queue(key, entry)

    def _enqueue(self, key: K, entry: Pending[K]) -> None:
        if self._together:
            self._fresh.append(key)
        elif self.settle <= 0:
            self._queue(key, entry)
        else:
            self._file(key, entry)

    def _queue(self, key: K, entry: Pending[K]) -> None:
        entry.queued = True
        self._due.append(key)

    def _file(self, key: K, entry: Pending[K]) -> None:
        bucket = -int(-self._deadline(entry) // self._grain)
        keys = self._buckets.get(bucket)
        if keys is None:
            self._buckets[bucket] = [key]
            heapq.heappush(self._order, bucket)
        else:
            keys.append(key)


def _size(key: Hashable) -> int:
    """About the bytes of a path."""
    return len(key[-1]) if isinstance(key, tuple) else 64


def _grain(settle: float) -> float:
    return min(_COARSEST, max(_FINEST, settle / 4))
