"""Taking a set: looked at, read where it isn't known, looked at again, kept.

What was read is remembered by identity, so that the set of five thousand files with one changed costs two looks and one
read. The memory is of this process; a start reads everything once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.actions.base import Context
from filewatchd.actions.reload import looking
from filewatchd.actions.reload.entries import FILE, LINK, OUTSIDE, Entry, digest_of, joined, path_of, root_of, row
from filewatchd.actions.reload.looking import Content, Names, Seen
from filewatchd.actions.reload.store import Store
from filewatchd.errors import ActionError

_SHARE = 16 << 20  # bytes read before they are kept
_TRIES = 40
_PAUSE = 0.1  # seconds


class Taken(NamedTuple):
    """A set as it stood.

    Attributes:
        entries: all of it.
        text: the same as text; ``digest`` is its digest.
        selected: the digest of what counts as a change of it.
        missing: roots that aren't there: then nothing else counts.
        leading_out: symlinks to directories outside the roots, which are not of the set.
    """

    entries: Mapping[str, Entry]
    text: bytes
    digest: str
    selected: str
    missing: Sequence[str] = ()
    leading_out: Sequence[str] = ()


class Known(NamedTuple):
    """What was read of a name, and what that is as text."""

    seen: Seen
    entry: Entry
    row: str


class Taker:
    """Takes one rule's set. ``roots``: without globs. ``besides``: as `looking.look` has it."""

    def __init__(self, ctx: Context, store: Store, roots: Sequence[str], besides: Sequence[str] = ()) -> None:
        self._besides = list(besides)
        self._ctx = ctx
        self._store = store
        self.roots = list(roots)
        self._known: dict[str, Known] = {}
        self._names: Names | None = None
        self._order: list[str] = []  # keys, sorted, as of the last time
        self._counts: dict[str, bool] = {}
        self.read = 0  # files

    async def take(self, *, keep: bool = True) -> Taken:
        """The set, once it stands still. ``keep``: its contents go to the store, so that they can be had again.

        Raises:
            ActionError: it doesn't stand still, or can't be read.
        """
        for number in range(_TRIES):
            taken = await self._try(keep, patient=number < _TRIES // 2)
            if taken is not None:
                return taken
            await self._pause()
        raise ActionError(f"the set keeps changing: {_TRIES} looks found no two alike")

    async def still(self) -> bool:
        """Whether nobody has written to what counts of the set since it was last taken: one look.

        A content that was changed and changed back has new times: who read it meanwhile may have got another.
        """
        return await self._ctx.pool.run("state", self._alike, await self._look(), self._names)

    def forget_patterns(self) -> None:
        """The rule may select other files from now on."""
        self._counts.clear()

    async def _pause(self) -> None:
        import asyncio

        await asyncio.sleep(_PAUSE)

    async def _try(self, keep: bool, patient: bool) -> Taken | None:
        """The set if it stands still; ``patient``: and nobody is writing what changed."""
        began = self._ctx.clock.wall_ns()
        names = await self._look()
        if names.missing:
            return Taken({}, b"", "", "", names.missing)
        fresh = [key for key, seen in names.seen.items() if not self._is_known(key, seen)]
        for share in shares(fresh, names.seen):
            if not await self._read(share, names.seen, keep=keep, patient=patient, began=began):
                return None
        again = await self._look()
        if again != names:
            return None
        self._names = names
        return await self._ctx.pool.run("state", self._whole, names)

    async def _read(
        self, share: Sequence[str], seen: Mapping[str, Seen], *, keep: bool, patient: bool, began: int
    ) -> bool:
        """Read and keep a few names; False if they don't stand still."""
        paths, expected = [self.path(key) for key in share], [seen[key] for key in share]
        try:
            contents = await self._ctx.worker.call(looking.read, paths, [*map(self._beneath, share)], expected)
        except OSError as error:
            where = error.filename or paths[0]
            raise ActionError(
                f"the set can't be read: {where}: {error.strerror}; let the rule's user read it"
            ) from error
        found = [content for content in contents if content is not None]
        written = [key for key, content in zip(share, contents, strict=True) if content and content.written]
        if len(found) < len(share) or (patient and any(map(self._is_selected, written))):
            return False
        try:
            await self._ctx.pool.run("state", self._enter, share, seen, found, keep, began)
        except OSError as error:
            raise ActionError(f"the set can't be kept in {self._store.directory}: {error.strerror}") from error
        return True

    async def _look(self) -> Names:
        try:
            return await self._ctx.worker.call(looking.look, self.roots, self._besides)
        except OSError as error:
            raise ActionError(f"the set can't be looked at: {error.filename}: {error.strerror}") from error

    def _is_known(self, key: str, seen: Seen) -> bool:
        known = self._known.get(key)
        return known is not None and known.seen == seen

    def path(self, key: str) -> str:
        """Where a key is on the disk."""
        return path_of(key, self.roots)

    def _beneath(self, key: str) -> str:
        return root_of(key, self.roots) or ""

    # ---- in the pool

    def _alike(self, names: Names, others: Names | None) -> bool:
        return (
            others is not None and names.missing == others.missing and self._counting(names) == self._counting(others)
        )

    def _counting(self, names: Names) -> dict[str, Seen]:
        return {key: seen for key, seen in names.seen.items() if seen.kind in (FILE, LINK) and self._is_selected(key)}

    def _enter(
        self, keys: Sequence[str], seen: Mapping[str, Seen], contents: Sequence[Content], keep: bool, began: int
    ) -> None:
        """Remember what was read; what is racy, only until the next time."""
        files = [content.data for key, content in zip(keys, contents, strict=True) if seen[key].kind == FILE]
        names = iter(self._store.put(files) if keep else [hashlib.sha256(data).hexdigest() for data in files])
        self.read += len(files)
        for key, content in zip(keys, contents, strict=True):
            found = seen[key]
            what = next(names) if found.kind == FILE else found.target
            xattrs = tuple((name, value) for name, value in content.xattrs)
            entry = Entry(found.kind, found.mode, found.uid, found.gid, found.size, what, xattrs)
            racy = found.kind == FILE and looking.is_racy(found, began)
            self._known[key] = Known(found._replace(ino=-1) if racy or not keep else found, entry, row(key, entry))

    def _whole(self, names: Names) -> Taken:
        if self._known.keys() != names.seen.keys() or len(self._order) != len(self._known):
            for key in self._known.keys() - names.seen.keys():
                del self._known[key]
                self._counts.pop(key, None)
            self._order = sorted(self._known)
        known = [(key, self._known[key]) for key in self._order]
        text = joined([each.row for _, each in known])
        counting = [each.row for key, each in known if each.entry.kind in (FILE, LINK) and self._is_selected(key)]
        entries = {key: each.entry for key, each in known}
        return Taken(entries, text, digest_of(text), digest_of(joined(counting)), (), names.leading_out)

    @property
    def contents(self) -> set[str]:
        """What is taken to be kept: it must not be pruned."""
        return {known.entry.content for known in self._known.values() if known.entry.kind == FILE}

    def _is_selected(self, key: str) -> bool:
        known = self._counts.get(key)
        if known is None:
            known = key.startswith(OUTSIDE) or self._ctx.selects(self.path(key))
            self._counts[key] = known
        return known


def shares(keys: Sequence[str], seen: Mapping[str, Seen]) -> Iterator[list[str]]:
    """The keys in shares of so many bytes."""
    share: list[str] = []
    size = 0
    for key in keys:
        share.append(key)
        size += seen[key].size + 64
        if size > _SHARE or len(share) >= 1000:
            yield share
            share, size = [], 0
    if share:
        yield share


def without_globs(roots: Sequence[str]) -> bool:
    """Whether all roots are plain paths."""
    return not any(set("*?[") & set(root) for root in roots)
