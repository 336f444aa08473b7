"""The route `changes`: the history from where a reader wants it, and on as it grows.

Everybody reads the history itself, in pieces, at a pace of their own, so that a slow reader holds nobody up and costs
what its socket holds. One that falls behind what is kept is told how much it missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.control import arguments
from filewatchd.control.api import Handler, Peer, RequestError, Stream, decoded
from filewatchd.errors import StateError
from filewatchd.jobs.changes import ChangeHistory, CursorError, LostCursorError, Stub
from filewatchd.jobs.engine import Engine
from filewatchd.model import Change
from filewatchd.service.asking import rules_of
from filewatchd.service.lines import PAGE, Batches, Label, Page
from filewatchd.service.turns import Turns

log = logging.getLogger("filewatchd.control")

NEWEST = 100  # changes that are told where nothing else is said
_PIECE = 16 * 1024  # bytes, from which on a piece is large enough
_STEPS = 64  # pages or batches that are looked at in one turn
_STUBS = 64  # batches


class Wanted(NamedTuple):
    """Which changes are told."""

    rule: str | None
    path: str | None

    def has_batch(self, stub: Stub) -> bool:
        """Whether changes of this batch may be among them."""
        return self.rule in (None, stub.rule)

    def has(self, change: Change) -> bool:
        """Whether this change of such a batch is."""
        return self.path is None or self._is_below(change.path) or self._is_below(change.old_path)

    def _is_below(self, path: str | None) -> bool:
        assert self.path is not None
        return path is not None and (path == self.path or path.startswith(self.path.rstrip("/") + "/"))


class Reader:
    """One reader's way through the history."""

    def __init__(
        self, history: ChangeHistory, batches: Batches, wanted: Wanted, at: int, end: int | None, left: int | None
    ) -> None:
        """``at``: the last change it knows. ``end``: the last it wants; None: whatever comes. ``left``: how many."""
        self._history = history
        self._batches = batches
        self._wanted = wanted
        self._at = at
        self._end = end
        self._left = left
        self._stubs: deque[Stub] = deque()

    @property
    def ended(self) -> bool:
        """It has all it wants."""
        return self._left == 0 or (self._end is not None and self._at >= self._end)

    @property
    def caught_up(self) -> bool:
        """There is nothing that it hasn't seen."""
        return self._at >= self._history.newest

    def piece(self) -> bytes:
        """The next lines; may be none though there is more, since a piece is a bounded piece of work.

        Raises:
            StateError: the history can't be read.
        """
        told: list[bytes] = [] if self._stubs else self._look()
        size = 0
        for _ in range(_STEPS):
            if not self._stubs or self.ended or size >= _PIECE:
                break
            text = self._step(self._stubs[0])
            size += len(text)
            told.append(text)
        return b"".join(told)

    def _look(self) -> list[bytes]:
        """Find the next batches; tells of those that are forgotten."""
        told: list[bytes] = []
        newest, begin = self._history.newest, self._history.begin()
        if self._at < begin:
            missed = self._history.forgotten(self._at, begin)
            told += [self._batches.missed(begin, missed)] * (missed > 0)
            self._at = begin
        self._stubs.extend(self._history.after(self._at, _STUBS))
        if not self._stubs:
            self._at = newest
        return told

    def _step(self, stub: Stub) -> bytes:
        """Take the next page of a batch, or leave the batch out."""
        if not self._wanted.has_batch(stub):
            self._pass(stub)
            return b""
        batch = self._batches.get(stub.first)
        if batch is None:  # forgotten since
            self._stubs.clear()
            return b""
        number, skipped = divmod(max(0, self._at + 1 - stub.first), PAGE)
        page = batch.page(number)
        self._at = stub.first + number * PAGE + len(page.lines) - 1
        if self._at == stub.first + stub.size - 1:
            self._stubs.popleft()
        return self._chosen(page, skipped)

    def _pass(self, stub: Stub) -> None:
        self._at = stub.first + stub.size - 1
        self._stubs.popleft()

    def _chosen(self, page: Page, skipped: int) -> bytes:
        if self._wanted.path is None and not skipped and self._left is None:  # as nearly all are
            return page.text
        pairs = zip(page.lines[skipped:], page.changes[skipped:], strict=True)
        told = [line for line, change in pairs if self._wanted.has(change)][: self._left]
        if self._left is not None:
            self._left -= len(told)
        return b"".join(told)


class Following:
    """The handler, and what all followers share."""

    def __init__(self, engine: Engine, label: Label, configured: asyncio.Event) -> None:
        """``label``: host and instance. ``configured``: the engine knows its rules."""
        self._engine = engine
        self._configured = configured
        self._history = engine.store.journal.history
        self._batches = Batches(self._history, label)
        self._turns = Turns(self._is_busy, engine.clock.monotonic)
        self._open = 0
        self._history.told = self._turns.news

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"changes": self.changes}

    async def changes(self, asked: arguments.Changes, peer: Peer) -> Stream:
        """The changes that were asked for; with ``follow``, without an end."""
        wanted, newest = Wanted(asked.rule, path_of(asked)), self._history.newest
        if asked.since is not None:
            at, left = self._number(asked.since), asked.limit
        elif asked.follow:
            at, left = newest, asked.limit
        else:
            at, left = await self._before_last(wanted, newest, asked.limit or NEWEST), None
        if asked.follow and asked.rule is not None:
            await self._configured.wait()
            rules_of(self._engine, asked.rule)
        end = None if asked.follow else newest
        return Stream(self._pieces(Reader(self._history, self._batches, wanted, at, end, left)))

    def _is_busy(self) -> bool:
        return any(pipeline.window or pipeline.taken for pipeline in self._engine.pipelines.values())

    def _number(self, cursor: str) -> int:
        try:
            return self._history.number(cursor)
        except CursorError as error:
            raise RequestError(400, f"since: {error}") from None
        except LostCursorError as error:
            oldest = self._history.cursor(self._history.begin())
            remedy = "take the tree as it is now, and go on from `oldest`"
            raise RequestError(410, f"{error}; {remedy}", oldest=oldest) from None

    async def _before_last(self, wanted: Wanted, newest: int, most: int) -> int:
        """The number after which there are so many changes that are wanted, or all that there are."""
        at, left = newest, most
        while stubs := self._history.before(at, _STUBS):
            await self._turns.turn()
            for stub in filter(wanted.has_batch, stubs):
                found = await self._numbers(wanted, stub)
                if len(found) >= left:
                    return found[-left] - 1
                left -= len(found)
            at = stubs[-1].first - 1
        return at

    async def _numbers(self, wanted: Wanted, stub: Stub) -> Sequence[int]:
        """Those of the wanted changes in a batch."""
        if wanted.path is None:
            return range(stub.first, stub.first + stub.size)
        await self._turns.turn()
        batch = self._batches.get(stub.first)
        return [stub.first + i for i, change in enumerate(batch.changes) if wanted.has(change)] if batch else []

    async def _pieces(self, reader: Reader) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            while not reader.ended:
                await (self._turns.turn_at_news() if reader.caught_up else self._turns.turn())
                if piece := _read(reader):
                    yield piece
        finally:
            self._open -= 1
            if not self._open:
                self._batches.clear()


def _read(reader: Reader) -> bytes:
    try:
        return reader.piece()
    except StateError as error:
        log.warning("a reader of the changes is cut off: %s", error)
        raise ConnectionAbortedError(str(error)) from error  # so that it isn't taken for the end


def path_of(asked: arguments.Changes) -> str | None:
    """The path that was asked for, said in either way.

    Raises:
        RequestError: it is said twice, or is no absolute path.
    """
    path = asked.path
    if asked.path_b64 is not None:
        if path is not None:
            raise RequestError(400, "path and path_b64 are two ways to say one thing: give one of them")
        path = decoded(asked.path_b64, "path_b64")
    if path is not None and not path.startswith("/"):
        raise RequestError(400, f"path: {path!r} isn't absolute")
    return None if path is None else path.rstrip("/") or "/"
