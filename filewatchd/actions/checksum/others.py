"""What has rows and is no file: symlinks, and directories themselves, where the rule's `types` ask for them.

To a rule only regular files are files (decision 0003), so no job brings a change of these. The daemon tells of them
besides (`Context.on_other`): a path where something happened and no file is. It is looked at here, and what became of
it is taken in as a job's changes are. A directory that came or went is told as a whole: what is beneath it is swept, by
a walk that leaves files out. A whole root is swept when it was scanned, so that nothing is missed that happened while
the daemon was down, or when events were lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from filewatchd.actions.checksum.glance import LANE, look_at
from filewatchd.actions.checksum.judging import Reading, type_of
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.leftovers import slices
from filewatchd.actions.checksum.pairing import paired
from filewatchd.actions.checksum.paths import full, path_of
from filewatchd.actions.checksum.seeing import Presence, Seen, Wanted
from filewatchd.actions.checksum.walking import Walk
from filewatchd.errors import FilewatchdError
from filewatchd.model import Change, Kind
from filewatchd.state.index.rows import OTHER, Record, split

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum

_AT_ONCE = 500  # paths
_RETRY = 5.0  # seconds until a path is looked at again that couldn't be


class Others:
    """Those of one rule."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self._told: dict[str, dict[str, bool]] = {}  # by root: path -> whether with all beneath it
        self._early: dict[str, dict[str, bool]] = {}  # the same, of roots whose first build isn't over
        self._working = False
        self.sweeps: set[Walk] = set()

    def ask(self) -> None:
        """Be told of them, or not any more."""
        self._action.ctx.on_other(self.tell if self._action.options.others else None)

    def tell(self, root: str, path: str, whole: bool) -> None:
        """Something happened at a path where no file is; ``whole``: and maybe beneath it."""
        paths = self._told.setdefault(root, {})
        paths[path] = whole or paths.get(path, False)
        if not self._working:
            self._working = True
            self._action.follow("others", self._work())

    def built(self, root: str) -> None:
        """A build is over."""
        for path, whole in self._early.pop(root, {}).items():
            self.tell(root, path, whole)

    async def _work(self) -> None:
        try:
            while self._told and not self._action.runs.stopping:
                root = next(iter(self._told))
                await self._take(root, self._told.pop(root))
            await self._action.report()
        finally:
            self._working = False

    async def _take(self, root: str, paths: dict[str, bool]) -> None:
        ledger = await self._action.ledger(root)
        if not await self._action.ctx.pool.run(LANE, ledger.built):
            early = self._early.setdefault(root, {})  # where the build has been already it doesn't see them
            early.update({path: whole or early.get(path, False) for path, whole in paths.items()})
            return
        try:
            for some in slices(sorted(paths), _AT_ONCE):
                await self._look(ledger, some)
            if whole := tops(path for path, with_all in paths.items() if with_all):
                await self.sweep(root, whole)
        except (FilewatchdError, OSError):
            self._action.again.later([(root, path) for path in candidates(paths)], _RETRY)
            raise

    async def _look(self, ledger: Ledger, paths: Sequence[str]) -> None:
        """Look at paths, find out which of them were moved, and take them in."""
        action, names = self._action, candidates(paths)
        rows: dict[str, Record] = await action.ctx.pool.run(LANE, ledger.rows, names)
        wanted = [Wanted(*split(name)) for name in names]
        seen = await look_at(action.ctx, ledger.root, wanted, action.tracking())
        absent = [path_of(each) for each in seen if each.presence is Presence.ABSENT and path_of(each) not in rows]
        waiting = set(await action.ctx.pool.run(LANE, _waiting, ledger, absent))
        ours = {path: each for each in seen if _is_ours(each, rows.get(path := path_of(each))) or path in waiting}
        gone = {path: rows[path] for path, each in ours.items() if path in rows and each.presence is Presence.ABSENT}
        new = {p: each.identity for p, each in ours.items() if p not in rows and each.presence is Presence.HERE}
        moved = paired({**new}, gone, {})
        changes = [_change(ledger.root, path, moved) for path in ours if path not in moved.values()]
        if changes:
            await action.take(ledger.root, changes)

    async def sweep(self, root: str, beneath: Sequence[str] = ("",)) -> None:
        """Compare all that is no file beneath these paths with its rows."""
        action = self._action
        ground, ledger = action.ground(root), await action.ledger(root)
        if ground is None or action.runs.stopping:
            return  # it is swept when it stands again
        walk = Walk(
            action.ctx, ledger, ground, action.policy, action.tracking(), Reading.QUICK, 0,
            scopes=beneath, files=False, settled=action.settled, unstable=action.unstable,
        )  # fmt: skip
        self.sweeps.add(walk)
        try:
            await walk.run()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self.sweeps.discard(walk)
        await action.report()


def candidates(paths: Iterable[str]) -> list[str]:
    """What a path may be in the index: a symlink, or a directory, whose own row ends in a slash."""
    return [name for path in paths for name in ((path, f"{path}/") if path and path[-1] != "/" else (path,))]


def tops(paths: Iterable[str]) -> list[str]:
    """Those that aren't below another."""
    found: list[str] = []
    for path in sorted(paths, key=lambda each: each.split("/") if each else []):
        if not found or not (not found[-1] or path.startswith(f"{found[-1]}/") or path == found[-1]):
            found.append(path)
    return found


def _is_ours(seen: Seen, row: Record | None) -> bool:
    """Whether that is no file's doing: of files jobs tell."""
    if seen.presence is Presence.HERE:
        return type_of(seen.attributes) != 0
    return row is not None and row.flags & OTHER != 0


def _waiting(ledger: Ledger, paths: Sequence[str]) -> list[str]:
    """Those of which something waits."""
    return [path for path in paths if ledger.waiting(path)]


def _change(root: str, path: str, moved: dict[str, str]) -> Change:
    old = moved.get(path)
    if old is not None:
        return Change(Kind.MOVED, full(root, path), root, None, full(root, old))
    return Change(Kind.MODIFIED, full(root, path), root)
