"""What one rule's reload works with: its options, store, record, staged tree and checker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from filewatchd.actions.base import Bind, Context
from filewatchd.actions.reload import publishing
from filewatchd.actions.reload import record as records
from filewatchd.actions.reload.checking import Checker, Verdict
from filewatchd.actions.reload.entries import FILE, Set, differences, path_of, summary
from filewatchd.actions.reload.options import Options
from filewatchd.actions.reload.record import Record, Version
from filewatchd.actions.reload.staging import Stage
from filewatchd.actions.reload.states import PASSING, Happening, State, move
from filewatchd.actions.reload.store import Store, adopt
from filewatchd.actions.reload.taking import Taken, Taker
from filewatchd.errors import ActionError
from filewatchd.measures import format_duration

FINDING = "reload"
FLAP_REST = 600.0  # seconds
_LANE = "state"
_REMEMBERED = 3  # sets


class Desk:
    """All of it. Everything that reads or writes the record or the staged tree holds ``lock``."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self.options = options
        self.ctx = ctx
        self.lock = asyncio.Lock()
        self.store = Store(f"{ctx.state_dir}/versions/{ctx.rule.name}")
        self.record = Record()
        self.stage = Stage(self.store)
        self.checker = Checker(ctx)
        self.taker = self.taker_of(self.roots)
        self.rooted = ctx.rule.roots
        self.doubted = ""  # the set, if it was saved while the service was told of it
        self._loaded = False
        self._saved = b""
        self._sets: dict[str, Set] = {}

    @property
    def roots(self) -> Sequence[str]:
        """Where the candidate is."""
        publish = self.options.publish
        return [publish.source] if publish is not None else self.ctx.rule.roots

    @property
    def live(self) -> Sequence[str]:
        """Where the service reads."""
        publish = self.options.publish
        return [publish.target] if publish is not None else self.ctx.rule.roots

    def taker_of(self, roots: Sequence[str]) -> Taker:
        """What takes the rule's set from other places than its own, too."""
        return Taker(self.ctx, self.store, roots, [] if self.options.publish is None else self.live)

    # ---- the record

    async def load(self) -> None:
        """Read the record, once.

        Raises:
            ActionError: it can't be read.
        """
        if self._loaded:
            return
        self.record, aside = await self.ctx.pool.run(_LANE, self._load)
        self._loaded = True
        self.record.roots = [plain(root) for root in self.roots]
        if aside:
            self.ctx.log.error("the record of versions was damaged and is kept as %s; it begins anew", aside)

    def _load(self) -> tuple[Record, str]:
        former = self.ctx.rule.renamed_from
        if former:
            adopt(self.store.directory, f"{os.path.dirname(self.store.directory)}/{former}")
        try:
            self.store.prepare()
        except OSError as error:
            raise ActionError(f"versions can't be kept: {error}") from error
        return records.load(self.store.directory)

    async def save(self) -> None:
        """Write the record, if it says something new. Raises StateError."""
        text = records.encode(self.record)
        if text != self._saved:
            await self.ctx.pool.run(_LANE, records.save, self.store.directory, text)
            self._saved = text

    async def move(self, happening: Happening) -> None:
        """Something happened. A state that holds is on the disk when this returns; of others the job's steps tell."""
        self.record.state = move(self.record.state, happening)
        if self.record.state not in PASSING:
            await self.save()

    async def prune(self) -> None:
        """Keep to the options' number of versions."""
        before = len(self.record.versions)
        self.record.bound(self.options.keep.versions)
        if len(self.record.versions) < before:
            await self.save()
            kept = [version.digest for version in self.record.versions]
            try:
                await self.ctx.pool.run(_LANE, self.store.prune, kept, self.taker.contents)
            except (ActionError, OSError) as error:  # that is no failure of the job
                self.ctx.log.warning("old versions can't be removed: %s", error)

    # ---- sets

    async def enter(self, taken: Taken, job: int, origin: str = "disk") -> Version:
        """The version that a set is: a known one, or a new one, kept from now on."""
        known = self.record.version(self.record.desired) if origin == "disk" else None
        if known is not None and known.digest == taken.digest:
            return known
        found = self.record.find(taken.digest)
        if found is None:
            try:
                await self.ctx.pool.run(_LANE, self.store.put_set, taken.text)
            except OSError as error:
                raise ActionError(f"the set can't be kept in {self.store.directory}: {error.strerror}") from error
            self.remember(taken.digest, taken.entries)
            base = await self._base(known or self.record.version(self.record.good))
            changes = await self.ctx.pool.run(_LANE, differences, base, taken.entries)
            added, changed, removed = summary(changes)
            files = [entry.size for entry in taken.entries.values() if entry.kind == FILE]
            found = self.record.add(
                Version(
                    number=0, digest=taken.digest, selected=taken.selected, seen=self.now, origin=origin, job=job,
                    files=len(files), size=sum(files), added=added, changed=changed, removed=removed,
                )
            )  # fmt: skip
        return found

    async def _base(self, version: Version | None) -> Set:
        """What a new set's changes are counted from; one that is damaged keeps nobody from going on."""
        try:
            return await self.load_set(version)
        except ActionError as error:
            self.ctx.log.error("%s", error)
            return {}

    async def load_set(self, version: Version | None) -> Set:
        """A version's set; an empty one for none."""
        if version is None:
            return {}
        if version.digest not in self._sets:
            found = await self.ctx.pool.run(_LANE, self.store.load, version.digest)
            self.remember(version.digest, found)
        return self._sets[version.digest]

    def remember(self, digest: str, entries: Set) -> None:
        """Sets used lately needn't be read again."""
        self._sets[digest] = entries
        while len(self._sets) > _REMEMBERED:
            del self._sets[next(iter(self._sets))]

    async def look_live(self) -> None:
        """With `publish`: whether the live directory is as it was published."""
        publish, live = self.options.publish, self.record.version(self.record.live)
        if publish is None or live is None:
            return
        if not await self.ctx.pool.run("", publishing.is_aside, publish.target):
            self.ctx.clear_finding(f"{FINDING}-kept")
        taken = await self.taker_of([publish.target]).take(keep=False)
        self.record.differs = (
            "" if taken.digest == live.digest else f"{plain(publish.target)} isn't version {live.number}"
        )
        if self.record.differs:
            self.ctx.finding(
                f"{FINDING}-live", f"{self.record.differs}: somebody edited it; the next publish keeps that"
            )
        else:
            self.ctx.clear_finding(f"{FINDING}-live")

    def named(self, keys: Sequence[str], most: int = 3) -> str:
        """A few of the names, for people."""
        shown = [path_of(key, self.roots) for key in keys[:most]]
        more = len(keys) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.ctx.clock.wall_ns() / 1e9

    def longest_wait(self, *, tripped: bool) -> float:
        """Seconds that a set which passed may have to wait before it is applied."""
        return max(FLAP_REST if tripped else self.options.splay, self.options.cooldown)

    def is_held_off(self) -> bool:
        """Whether what waits has to wait on, and there is a timer for it: not if the clock was set meanwhile."""
        left = self.record.not_before - self.now
        return 0 < left <= self.longest_wait(tripped=self.record.state is State.TRIPPED)

    def left(self) -> str:
        """How long what waits has to wait on, in words."""
        return format_duration(max(1.0, round(self.record.not_before - self.now)))

    # ---- the check

    async def try_out(self, entries: Set) -> Verdict:
        """As `check`, for nothing but the verdict: what is made for it is taken away again."""
        made: list[str] = []
        try:
            return await self.check(entries, 0, lambda _: None, made)
        finally:
            if made:
                await self.ctx.pool.run("", publishing.unprepare, made)

    async def check(
        self, entries: Set, job: int, output: Callable[[bytes], None], made: list[str] | None = None
    ) -> Verdict:
        """Stage a set and check it in the live place. ``made`` gets the directories that had to be made there.

        Raises:
            ActionError: it couldn't be checked.
        """
        option = self.options.check
        try:
            if self.options.publish is not None:
                fresh = await self.ctx.pool.run("", publishing.prepare, self.options.publish.target)
                (made if made is not None else []).extend(fresh)
            if option is None:
                return Verdict(True, "")
            await self.ctx.pool.run(_LANE, self.stage.make, entries)
            binds = [
                Bind(self.stage.place(number), os.path.realpath(root))
                for number, root in sorted(enumerate(self.live), key=lambda place: len(place[1]))
            ]
            verdict = await self.checker.check(option, binds, job, output)
        except OSError as error:
            self.stage.doubt()
            raise ActionError(f"the candidate can't be staged: {error}") from error
        if verdict.blind:
            self.stage.doubt()  # nothing held the check back from writing there
        return verdict

    def tell_blindness(self, verdict: Verdict) -> None:
        """Warn, once, of a check that can't see everything."""
        if verdict.blind:
            self.ctx.finding(f"{FINDING}-check", verdict.blind)
        else:
            self.ctx.clear_finding(f"{FINDING}-check")


def plain(text: str) -> str:
    """Text for people and JSON: what isn't UTF-8 in a path is replaced."""
    return text.encode("utf-8", "replace").decode()
