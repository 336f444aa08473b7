"""Which of a rule's changes are a package's doing: asked afterwards, a batch at a time, and noted at the changes.

A package manager replaces files first and writes down last what they should be. So changes are gathered for a moment,
and while one still runs, what has no label yet is asked about again; what never gets one is an ordinary change. Nothing
waits for a label: rows and findings are written without. Where no file beneath a root is a package's, which is known
for each state of dpkg's database, nothing is asked. What a package had and has no more is known from surveys of its
database (`surveying`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.actions.checksum import surveying
from filewatchd.actions.checksum.answering import note_packages
from filewatchd.actions.checksum.packages.asking import Changed, Databases
from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.packages.grouping import Upgrade, grouped
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Change, Record, Root, State, Type, Verdict
from filewatchd.state.index.writing import Index

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum

LABELLED = (Verdict.NEW, Verdict.MODIFIED, Verdict.OLDER, Verdict.METADATA, Verdict.DELETED)
_MOMENT = 2.0  # seconds that changes gather
_AGAIN = 10.0  # seconds until it is asked again while a package manager runs
_PATIENCE = 90  # times
_BATCH = 1000
_LOOK_BACK = 1000  # changes of an earlier life that may have no label yet


class Page(NamedTuple):
    """Changes without a label, and where the next page begins."""

    changes: list[tuple[Root, Change]]
    after: int


class Labelling:
    """Labels the changes of one rule. ``root``: where the machine's databases are."""

    def __init__(self, action: Checksum, root: str = "/") -> None:
        self._action = action
        self.root = root
        self._after: int | None = None  # changes up to this number are done with
        self._times = 0
        self._running = False
        self._set = False  # a timer is: each setting is written down

    def news(self) -> None:
        """There are new changes."""
        self._at(_MOMENT)

    def _at(self, seconds: float) -> None:
        if not self._set:
            self._set = True
            ctx = self._action.ctx
            ctx.timers.at("packages", ctx.clock.wall_ns() / 1e9 + seconds, self._due)

    def _due(self) -> None:
        self._set = False
        if self._running:
            self.news()
        else:
            self._action.follow("packages", self._label())

    async def remember(self) -> None:
        """A root was walked: after the first time, the versions of today are those that its files are of."""
        ctx, index = self._action.ctx, self._action.index
        asked_ns, databases = ctx.clock.wall_ns(), self._databases()
        if await ctx.pool.run("", _knows_none, index.path) and await self._concerned():
            versions = await databases.versions()
            await ctx.pool.run("", _remember, index, versions)
        if not await databases.busy():
            await self._survey(asked_ns)

    async def _survey(self, asked_ns: int) -> None:
        """Remember which files packages have. ``asked_ns``: before it was known that no package manager runs."""
        ctx, index = self._action.ctx, self._action.index
        concerned = await self._concerned()
        await ctx.pool.run("", surveying.survey, index, ctx.rule.name, Dpkg(self.root), concerned, asked_ns)

    async def _concerned(self) -> list[str]:
        """The roots beneath which packages have files."""
        return await self._databases().concerned([ground.root for ground in self._action.ctx.grounds()])

    def _databases(self) -> Databases:
        return Databases(self._action.ctx, self.root)

    async def _label(self) -> None:
        self._running = True
        try:
            ctx = self._action.ctx
            known = await ctx.pool.run("", surveying.knows_any, self._action.index.path, ctx.rule.name)
            if known or await self._concerned():
                await self._label_pages()
        finally:
            self._running = False

    async def _label_pages(self) -> None:
        ctx, index, rule = self._action.ctx, self._action.index, self._action.ctx.rule.name
        asked_ns = ctx.clock.wall_ns()
        busy = await self._databases().busy()
        if self._after is None:
            self._after = await ctx.pool.run("", _newest, index.path, _LOOK_BACK)
        after, found = self._after, 0
        while True:
            page = await ctx.pool.run("", _page, index.path, rule, after)
            if page.after == after:
                break
            after = page.after
            labels = await self._labels(page.changes)
            found += await ctx.pool.run("", _write, index, page.changes, labels)
        if found:
            await self._action.labelled()
        if not busy:
            await self._survey(asked_ns)
        self._times = self._times + 1 if busy else 0
        if busy and self._times < _PATIENCE:
            self._at(_AGAIN)  # from where it began: its lists may have come by then
        else:
            self._after, self._times = after, 0

    async def _labels(self, changes: Sequence[tuple[Root, Change]]) -> dict[str, str]:
        deleted = [each for each in changes if each[1].verdict is Verdict.DELETED]
        labels = await self._databases().label(
            [self._changed(*each) for each in changes if each[1].verdict is not Verdict.DELETED]
        )
        if deleted:
            path, dpkg = self._action.index.path, Dpkg(self.root)
            labels |= await self._action.ctx.pool.run("", surveying.labels, path, dpkg, deleted)
        return labels

    @staticmethod
    def _changed(root: Root, change: Change) -> Changed:
        after = change.after
        assert after is not None and after.digest is not None, "the page has no others"  # noqa: PT018
        path = f"{root.root.rstrip('/')}/{change.path}" if change.path else root.root
        beneath = root.root if change.path else root.root.rpartition("/")[0] or "/"
        before = None if change.before is None else change.before.attributes
        return Changed(path, beneath, after.algorithm, after.digest, before, after.attributes)

    async def upgrades(self) -> list[Upgrade]:
        """What waits of upgraded packages."""
        if self._action.options.approval != "required":
            return []
        return await self._action.ctx.pool.run("", _upgrades, self._action.index.path, self._action.ctx.rule.name)


def _knows_none(path: str) -> bool:
    with Reader(path) as reader:
        return not reader.packages()


def _remember(index: Index, versions: dict[str, str]) -> None:
    with index.edit() as edit:
        edit.packages(versions)


def _newest(path: str, back: int) -> int:
    with Reader(path) as reader:
        newest = reader.connection.execute("SELECT max(id) FROM changes").fetchone()[0]
    return max(0, (newest or 0) - back)


def _page(path: str, rule: str, after: int) -> Page:
    with Reader(path) as reader:
        roots = {root.id: root for root in reader.roots(rule)}
        found = reader.changes(rule=rule, states=(), after=after, limit=_BATCH)
    wanted = [
        (roots[change.root], change)
        for change in found
        if change.label is None
        and change.verdict in LABELLED
        and change.state in (State.ACCEPTED, State.PENDING)
        and (change.verdict is Verdict.DELETED or _is_file(change.after))
    ]
    return Page(wanted, found[-1].id if found else after)


def _is_file(record: Record | None) -> bool:
    """Whether a package database can tell of its content: of symlinks and directories dpkg says no more than names."""
    return record is not None and record.digest is not None and record.type is Type.FILE


def _write(index: Index, changes: Sequence[tuple[Root, Change]], labels: dict[str, str]) -> int:
    """Note the labels; returns how many there are."""
    if not labels:
        return 0
    accepted = []
    with index.edit() as edit:
        for root, change in changes:
            path = f"{root.root.rstrip('/')}/{change.path}" if change.path else root.root
            if path in labels and edit.label(change.id, labels[path]) and change.state is State.ACCEPTED:
                accepted.append(change._replace(label=labels[path]))
    note_packages(index, accepted)
    return len(labels)


def _upgrades(path: str, rule: str) -> list[Upgrade]:
    with Reader(path) as reader:
        waiting = reader.changes(rule=rule, states=(State.PENDING,), packages=True)
        return grouped(waiting, reader.packages())[0]
