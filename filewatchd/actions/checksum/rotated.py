"""What other actions did to files: a log that was rotated is moved, its archive is no news, an expired one no loss.

An action tells of it at once, long before the changes come as a job. So the row goes with its file here and now;
what the jobs find later agrees with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filewatchd.actions.checksum.glance import LANE
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.actions.checksum.settling import Looked
from filewatchd.state.index.rows import NO_ATTRIBUTES, Record

if TYPE_CHECKING:
    from filewatchd.actions.checksum.action import Checksum

_MOST = 10_000
_LABEL = "rotation"


class Rotated:
    """Effects of other actions on the rule's files."""

    def __init__(self, action: Checksum) -> None:
        self._action = action
        self._paths: dict[str, None] = {}  # where something is expected, whichever

    def effect(self, kind: str, old: str, new: str | None) -> None:
        """Somebody told: on the loop."""
        for path in (old, new):
            if path is not None:
                self._expect(path)
        for ground in self._action.ctx.grounds():
            top = ground.root.rstrip("/") + "/"
            if new is not None and old.startswith(top) and new.startswith(top):
                work = self._carry(ground.root, old[len(top) :], new[len(top) :], whole=kind == "moved")
                self._action.follow("carry", work)

    def _expect(self, path: str) -> None:
        if len(self._paths) >= _MOST:
            del self._paths[next(iter(self._paths))]
        self._paths[path] = None

    async def _carry(self, root: str, old: str, new: str, *, whole: bool) -> None:
        action = self._action
        ledger = await action.ledger(root)
        action.runs.touch(root, [old, new])
        await action.ctx.pool.run(LANE, carry, ledger, old, new, whole)

    def label(self, path: str) -> str | None:
        """Why a change of a path is as it should be; once."""
        return _LABEL if self._paths.pop(path, _LABEL) is None else None

    def adapted(self, looked: Looked) -> Looked:
        """An archive has other content than its log: it is taken as it is, once."""
        row = looked.row
        if looked.label is None or row is None or row.digest is not None or row.verified:
            return looked
        return looked._replace(row=Record(looked.seen.identity, attributes=NO_ATTRIBUTES))


def carry(ledger: Ledger, old: str, new: str, whole: bool) -> None:
    """Move a row; ``whole``: with its digest, since the content went along."""
    ledger.carry(old, new, _LABEL, whole=whole)
