"""One archive, driven from whatever state it is in until every byte is in one place.

A rotation that goes well and one that a crash cut off take the same way: the driver looks at the row and does what
comes next, each step taken on disk by the worker and written down before the next one leans on it. Only ``begun`` means
two things: while a rotation runs it goes on, after a crash it is undone, or adopted if the swap had happened.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from errno import EXDEV

from filewatchd.actions.base import Context
from filewatchd.actions.rotate import copying, freeing, packing, swapping
from filewatchd.actions.rotate.abreast import Abreast
from filewatchd.actions.rotate.ledger import Archive, Ledger
from filewatchd.actions.rotate.machine import State, Step
from filewatchd.actions.rotate.numbering import Numbering
from filewatchd.actions.rotate.options import Options
from filewatchd.actions.rotate.places import Move, Names, Setting, folder_in, folder_name
from filewatchd.actions.rotate.standing import is_within
from filewatchd.actions.rotate.strokes import Task, Work, name_of
from filewatchd.actions.rotate.waiting import Waiting

_MOST, _MOST_PACKED = 64, 16  # archives of one call of the worker
_SMALL = 4 << 20  # bytes that are packed together with others': nobody waits long for them

_UNDO: dict[str, Work] = {"exchange": swapping.swap_again, "copytruncate": copying.discard}


class Rotation:
    """Drives the archives of one rule. ``whole`` is told of each archive when it has its name."""

    def __init__(
        self, ctx: Context, ledger: Ledger, options: Options, whole: Callable[[Archive], Awaitable[None]]
    ) -> None:
        self._ctx = ctx
        self._ledger = ledger
        self._whole = whole
        self._locks: dict[str, asyncio.Lock] = {}
        self.ending = asyncio.Event()
        self.options = options
        self._abreast = Abreast(ctx, self._record, _MOST)
        self._small = Abreast(ctx, self._record, _MOST_PACKED)
        self.waiting = Waiting(ctx, lambda: self.options, self.setting, self.ending)
        self.numbering = Numbering(ctx, ledger, lambda: self.options, self.setting)

    # ---- what it needs to know

    def setting(self, live: str) -> Setting:
        """The options, as file work needs them."""
        options, into = self.options, self.options.into
        folder = folder_in(live, into.dir if into is not None else None)
        log_on = self._ledger.points.of(os.path.dirname(live))
        into_on = self._ledger.points.of(folder) or (log_on if log_on and is_within(folder, log_on) else "")
        return Setting(
            beneath=self._ctx.beneath(live),
            into=into.dir if into is not None else None,
            owner=into.owner if into is not None else None,
            group=into.group if into is not None else None,
            mode=mode_of(into.mode) if into is not None else None,
            create_owner=options.create.owner,
            create_group=options.create.group,
            create_mode=mode_of(options.create.mode),
            codec=options.compress.codec,
            level=options.compress.level,
            verify=options.compress.verify,
            threads=options.compress.threads,
            log_on=log_on,
            into_on=into_on,
        )

    def lock(self, live: str) -> asyncio.Lock:
        """One thing at a time happens to a log and its archives."""
        return self._locks.setdefault(live, asyncio.Lock())

    # ---- steps

    async def take(self, archive: Archive, work: Work, names: Names | None = None, *, proven: bool = False) -> Archive:
        """Let the worker do something, and write down each step that it takes, before it goes on."""
        task = Task(name_of(work), archive, self.setting(archive.live), names, proven)
        if work in (copying.copy, copying.empty_again) or (work is freeing.free and archive.plain is None):
            return await self._abreast.take_alone(task)  # writers wait for it, or lose what they write meanwhile
        if work is packing.pack:
            small = archive.end - archive.position <= _SMALL
            return await (self._small.take(task) if small else self._small.take_alone(task))
        return await self._abreast.take(task)

    def _record(self, moves: Sequence[tuple[Archive, Move]]) -> list[Archive]:
        for archive, move in moves:
            if move.grown:
                self._go_on(archive)
            if move.step is Step.SWAP:
                self._compare(archive.live, move.foreign)
            if move.lost:
                message = (
                    f"{archive.live}: somebody has taken its unfinished archive away, and {move.lost:,} bytes with it "
                    "that had been freed already; the rest is archived"
                )
                self._ctx.announce(f"lost:{archive.id}", message)
        return self._ledger.steps(moves, owed=self.options.after is not None)

    def _compare(self, live: str, foreign: str) -> None:
        if foreign:
            self._ctx.finding(f"owner:{live}", swapping.not_given(live, foreign, self._ctx.rule.user), live)
        else:
            self._ctx.clear_finding(f"owner:{live}")

    def _go_on(self, archive: Archive) -> None:
        """A swapped file has grown after its end was recorded: what came is another archive's, of the same file."""
        rows = self._ledger.of(archive.live)
        if any(row.id > archive.id and row.source == archive.source and row.begin == archive.end for row in rows):
            return  # a crash came before the row of the former archive was done
        later = archive._replace(begin=archive.end, end=0, position=0, path=None, size=0, first_ns=archive.last_ns)
        self._ledger.step(self._ledger.begin(later), Step.SWAP, plain=later.plain)

    async def swap(self, archive: Archive) -> Archive:
        """Begin an exchange; where the old file has only to get its name, that is all of it."""
        names = (
            self.numbering.stamped(archive.live, archive.txn, "none", archive.id) if archive.path is not None else None
        )
        return await self.take(archive, swapping.swap, names)

    def path_at_once(self, live: str, txn: str) -> str | None:
        """The path that a swapped file gets in the same stroke; None: that takes more."""
        options = self.options
        if options.name != "timestamp" or options.reopen is not None or options.after is not None:
            return None
        if options.compress.codec != "none":
            return None
        return os.path.join(folder_name(live, self.setting(live)), self.numbering.stamped(live, txn, "none").first)

    async def undo(self, archive: Archive) -> Archive:
        """A rotation that was cut off right after its beginning: given up, or adopted."""
        archive = await self.take(archive, _UNDO.get(archive.method, packing.discard))
        self._ledger.forget(archive.live)
        return archive

    async def finish(self, archive: Archive) -> Archive:
        """Do all that is left; waits for writers and readers.

        Raises:
            OSError, ActionError: it couldn't be done; the row stands where it does.
            Ended: the daemon ends.
        """
        while archive.unfinished:
            if archive.state is State.SWAPPED:
                archive = await self._leave(archive)
                continue
            await self.waiting.for_readers(archive)
            async with self.lock(archive.live):
                with suppress(KeyError):  # a job has given it up meanwhile
                    archive = self._ledger.get(archive.id)
                    archive = await self.next(archive) if archive.unfinished else archive
                    continue
                break
        return archive

    async def finish_here(self, archive: Archive) -> Archive:
        """The same for one whose log stays the same file; hold the log's lock."""
        while archive.unfinished:
            await self.waiting.for_readers(archive)
            archive = await self.next(archive)
        return archive

    async def next(self, archive: Archive) -> Archive:
        """What comes next, but for what has to be waited for."""
        match archive.state:
            case State.BEGUN if archive.method == "copytruncate":
                return await self.take(archive, copying.copy)
            case State.COPIED:
                return await self.take(archive, copying.empty_again)
            case State.BEGUN | State.WRITING if archive.method != "exchange":
                return await self._pack(archive)
            case State.CLOSED if archive.end <= archive.begin:
                return await self.take(archive, freeing.drop_empty)
            case State.CLOSED:
                return await self._pack(archive)
            case State.NAMED | State.STAMPED:
                return await self.take(archive, freeing.free, proven=self.options.method == "auto")
            case State.EXPIRING:
                return await self.take(archive, freeing.delete)
        return await self.undo(archive)

    async def _pack(self, archive: Archive) -> Archive:
        if archive.position < archive.end or archive.path is None:
            archive = await self.take(archive, packing.pack)
        try:
            return await self._name(archive, packing.give_name, archive.codec)
        except FileNotFoundError:  # somebody has taken the archive away, without its name; its source may be there
            archive = await self.take(self._ledger.get(archive.id), packing.pack)
        return await self._name(archive, packing.give_name, archive.codec)

    async def _name(self, archive: Archive, work: Work, codec: str) -> Archive:
        names = await self.numbering.names(archive, codec)
        if archive.state is State.SWAPPED:  # from here on it may be at its own name, and who reads must find it
            path = os.path.join(folder_name(archive.live, self.setting(archive.live)), names.first)
            if path != archive.path:
                await self._ledger.shift([(archive, path)])
                archive = self._ledger.get(archive.id)
        archive = await self.take(archive, work, names)
        await self._whole(archive)
        return archive

    # ---- swapped files

    async def _leave(self, archive: Archive) -> Archive:
        """A swapped file becomes the archive as it is, or is closed once nobody writes to it."""
        if self.stays(archive):
            try:
                async with self.lock(archive.live):
                    return await self._name(archive, packing.give_plain_name, "none")
            except OSError as error:
                if error.errno != EXDEV:
                    raise
        await self.waiting.for_writers(archive)
        async with self.lock(archive.live):
            return await self.take(archive, swapping.close)

    def stays(self, archive: Archive) -> bool:
        """Whether a swapped file is what the archive is to be."""
        return self.options.compress.codec == "none" and archive.begin == 0


def mode_of(text: str | None) -> int | None:
    """Octal digits as a mode."""
    return int(text, 8) if text is not None else None
