"""A rule on a root: turns what watching says into the rule's dirty paths, and full scans into differences.

The manifest of a (rule, root) starts with a *baseline*: what was there before the rule. Its start is committed
before its first row, rows count only once it is closed, and a path that changed after the start (its ctime
says so, less the lag of the kernel's clock, or a live event does) is a change and no baseline. So it is with each
filesystem that comes to stand at the root or below it (`state.places`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.model import FileIdentity, Hint, Initial, Look, Ready, Region, RuleSettings
from filewatchd.rules.match import Selection
from filewatchd.state.comparison import ManifestReader, TreeComparison
from filewatchd.state.manifest import Baseline, Manifest
from filewatchd.state.places import Place, Standing
from filewatchd.state.rows import LINKS, PLACE, RACY

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

_LAG_NS = 20_000_000  # the kernel's clock for ctime runs behind by up to a tick
_SLICE = 1000

_SCAN = Hint.SCAN
_AWAY = Hint.SCAN | Hint.AWAY
_STRICT = Hint.SCAN | Hint.STRICT

Entry = tuple[str, FileIdentity, int]


def below(root: str, path: str) -> str | None:
    """A path relative to a root; None if it is elsewhere. Names only: the disk isn't asked."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


class Totals(NamedTuple):
    """What a whole comparison found: files, known ones on filesystems that aren't there, mount points that are gone."""

    here: int
    unmounted: int
    vanished: list[Place]


class Differences(NamedTuple):
    """What a comparison found: dirty paths, rows for the baseline, rows that the selection no longer covers."""

    dirty: list[str]
    adopt: list[tuple[str, FileIdentity, int]]
    unselected: list[str]
    totals: Totals | None = None  # at its end


def parameters_of(settings: RuleSettings) -> str:
    """A selection as the manifest keeps it, so that a later one can be compared with it."""
    return json.dumps([list(settings.include), list(settings.exclude), list(settings.presets)])


def selection_of(settings: RuleSettings) -> Selection:
    """The rule's compiled patterns."""
    return Selection(settings.include, settings.exclude, settings.presets)


class _Comparison:
    """A full scan held against the manifest; lives in the scan thread with its own read-only connection."""

    def __init__(
        self,
        reader: ManifestReader,
        baseline: Baseline,
        standing: Standing,
        new: Selection,
        old: Selection | None,
        *,
        take: bool,
        strict: bool,
        since_ns: int,
    ) -> None:
        """``take``: unknown files are the rule's to process. ``old``: the selection that the rows were made under.

        ``since_ns``: when the new one came into force.
        """
        self._reader = reader
        self.every = not reader.is_empty(baseline.id)  # at the usual first start there is no row to compare with
        self._tree = TreeComparison(reader, baseline.id, strict=strict, standing=standing)
        self._standing = standing
        self._unseen = {place.inside for place in standing.away}
        self._here = 0
        self._new = new
        self._old = old
        self._take = take
        self._since_ns = since_ns

    def feed(self, directories: Sequence[tuple[str, Sequence[Entry]]]) -> Differences:
        """Compare some directories' selected files."""
        result = Differences([], [], [])
        self._here += sum(len(entries) for _, entries in directories)
        self._unseen.difference_update(directory for directory, _ in directories)
        if not self.every:
            for directory, entries in directories:
                self._new_in(directory, entries, result)
            return result
        listed = [(directory, {name: i for name, i, _ in entries}) for directory, entries in directories]
        unknown, differing, missing = self._tree.feed_many(listed)
        result.dirty.extend(differing)
        self._gone(missing, result)
        fresh = set(unknown)
        for directory, entries in directories if fresh else ():
            self._new_in(
                directory, [e for e in entries if (f"{directory}/{e[0]}" if directory else e[0]) in fresh], result
            )
        return result

    def _new_in(self, directory: str, entries: Sequence[Entry], result: Differences) -> None:
        """Files of a directory without a row: changes, or what the baseline adopts."""
        prefix = f"{directory}/" if directory else ""
        for name, identity, links in entries:
            path = prefix + name
            if self._is_change(path, identity):
                result.dirty.append(path)
            else:
                flags = LINKS if links > 1 else 0
                result.adopt.append((path, identity, flags | self._standing.number(path) * PLACE))

    def skip(self, directory: str) -> None:
        """A directory that is there and can't be looked into: nothing below it is missing."""
        self._tree.skip(directory)

    def _gone(self, missing: Sequence[str], result: Differences) -> None:
        for path in missing:
            (result.dirty if self._new.selects_path(path) else result.unselected).append(path)

    def _is_change(self, path: str, identity: FileIdentity) -> bool:
        if self._take:
            return True
        place = self._standing.place(path)
        if place is not None and not place.closed:
            return identity.ctime_ns >= place.started_ns - _LAG_NS
        if self._old is None or self._old.selects_path(path):  # what other patterns selected was known
            return True
        return identity.ctime_ns >= self._since_ns - _LAG_NS  # its event may be still to come

    def finish(self) -> Differences:
        """What is known but wasn't seen: gone, or no longer selected."""
        result = Differences([], [], [])
        for missing in self._tree.finish():
            self._gone(missing, result)
        vanished = [place for place in self._standing.away if place.inside in self._unseen]
        return result._replace(totals=Totals(self._here, self._tree.unmounted, vanished))


class Binding:
    """One rule on one root: a `watch.roots.Subscriber`."""

    def __init__(self, number: int, pipeline: Pipeline, root: str, selection: Selection, manifest: Manifest) -> None:
        """``number`` names the binding in the rule's keys. ``root``: as the user named it."""
        self.number = number
        self.pipeline = pipeline
        self.root = root
        self.selection = selection
        self._manifest = manifest
        self.baseline = manifest.bind(pipeline.settings.name, root, selection.digest)
        self.regions: Sequence[Region] = ()
        self.standing = Standing()
        self._totals: Totals | None = None  # of the last scan
        self._rescan = 0  # what a path that the scan finds is known by besides, if it isn't the first one
        self.unmounted = self.here = 0
        self.real = ""  # where the root really was when that was asked last
        self._since_ns = pipeline.clock.wall_ns()  # when its selection came into force

    def path(self, relative: str) -> str:
        """The full path, as the user named the root."""
        if not relative:
            return self.root
        return f"{self.root}/{relative}" if self.root != "/" else f"/{relative}"

    def relative(self, path: str) -> str | None:
        """A full path below this root; None if it isn't."""
        return below(self.root, path)

    @property
    def quiet(self) -> bool:
        """Nobody wants to know of writes: neither an action nor readiness. Asked in scan threads, too."""
        actions = self.pipeline.actions
        ready = self.pipeline.settings.ready is Ready.IMMEDIATE
        return ready and bool(actions) and not any(opened.needs.writes for opened in actions)

    def knows(self) -> bool:
        """Whether the manifest has rows of it."""
        return self.baseline is not None and self._manifest.has_rows(self.baseline.id)

    # ---- places

    def settle(self, regions: Sequence[Region]) -> None:
        """These filesystems are there now."""
        if regions != self.regions:
            self.regions = regions
            self._stand()

    def _stand(self) -> None:
        if self.baseline is not None:
            self.standing = self._manifest.places.standing(self.baseline.id, self.regions)

    def flags(self, path: str, look: Look) -> int:
        """A look's flags as the manifest keeps them."""
        flags = RACY if look.racy else 0
        if look.nlink > 1:
            flags |= LINKS
        return flags | max(0, self.standing.number(path)) * PLACE

    # ---- live

    def mark(self, path: str, hint: int, now: float) -> None:
        """A live event."""
        self.pipeline.mark((self.number, path), hint, now)

    def pair(self, old: str, new: str) -> None:
        """A rename: both sides share a deadline and a batch."""
        self.pipeline.window.pair((self.number, old), (self.number, new))

    def beneath(self, directory: str, now: float) -> None:
        """Everything known beneath is in doubt: rows, open rows, and paths of running jobs."""
        number, mark = self.number, self.pipeline.mark
        if self.baseline is not None:
            for path in self._manifest.below(self.baseline.id, directory):
                mark((number, path), _AWAY, now)
            if not directory and self._manifest.rows(self.baseline.id, [""]):  # a file root's own row
                mark((number, ""), _AWAY, now)
        self.other(directory, _AWAY, now)
        prefix = f"{directory}/" if directory else ""
        for key in self.pipeline.attempted():
            if key[0] == number and key[1].startswith(prefix):
                mark(key, _AWAY, now)

    def other(self, path: str, hint: int, now: float) -> None:
        """Something happened to a directory itself."""
        if self.pipeline.engine.asks(self.pipeline) and not self.selection.prunes(path):
            self.mark(path, hint | Hint.OTHER, now)

    def found(self, directory: str, entries: Sequence[Entry], now: float) -> None:
        """A fresh directory's files: all are dirty, and come by no close."""
        number, mark = self.number, self.pipeline.mark
        prefix = f"{directory}/" if directory else ""
        for name, _, _ in entries:
            mark((number, prefix + name), _SCAN, now)

    # ---- full scans

    def comparison(self, *, appeared: bool, lost: bool = False, came_ns: int = 0) -> _Comparison:
        """Begin a full scan; the first one begins the baseline. ``lost``: because events were.

        A root that is there, ``came_ns`` 0, counts from the moment on in which the rule was in force: what is written
        before its scan begins is a change.
        """
        settings = self.pipeline.settings
        take = settings.initial is Initial.PROCESS
        scanned = self.baseline is not None and self.baseline.closed and not appeared
        self._rescan = Hint.RESCAN if scanned else 0
        old: Selection | None = None
        started = self.pipeline.clock.wall_ns()
        if self.baseline is None:
            # All of a root that appeared is new, also to a scan that begins anew.
            began = 0 if appeared else max(self._since_ns, came_ns)
            self.baseline = self._manifest.begin(
                settings.name, self.root, self.selection.digest, began, parameters=parameters_of(settings)
            )
            take = take or appeared
        elif self.baseline.selection != self.selection.digest and self.baseline.parameters:
            old = Selection(*json.loads(self.baseline.parameters))
        self._enter(self.baseline, started)
        # What is being attempted has a row that tells of before the attempt: comparing with it proves nothing.
        now = self.pipeline.clock.monotonic()
        hint = _AWAY if lost else _SCAN  # a lost event may have told of its directory
        for key in self.pipeline.attempted():
            if key[0] == self.number:
                self.pipeline.mark(key, hint, now)
        return _Comparison(
            self.pipeline.reader(),
            self.baseline,
            self.standing,
            self.selection,
            old,
            take=take,
            strict=settings.strict,
            since_ns=self._since_ns,
        )

    def _enter(self, baseline: Baseline, started_ns: int) -> None:
        """Get to know the filesystems that are new. To a baseline of before there were places, none is."""
        places = self._manifest.places
        first = not places.of(baseline.id)
        if first and not baseline.closed:
            started_ns = baseline.started_ns  # which a power loss can't have taken
        places.enter(baseline.id, self.regions, started_ns, closed=baseline.closed and first)
        self._stand()

    def compared(self, result: Differences, now: float) -> None:
        """Take a stretch of a scan: dirty paths are marked; baseline rows yield to anything live."""
        hint = (_STRICT if self.pipeline.settings.strict else _SCAN) | self._rescan
        if self.pipeline.engine.starting:
            hint |= Hint.STARTUP
        for path in result.dirty:
            self.pipeline.mark((self.number, path), hint, now)
        if self.baseline is None:
            return
        live = self.pipeline.is_live
        rows = [row for row in result.adopt if not live((self.number, row[0]))]
        for start in range(0, len(rows), _SLICE):
            self._manifest.adopt(self.baseline.id, rows[start : start + _SLICE])
        for start in range(0, len(result.unselected), _SLICE):
            self._manifest.drop(self.baseline.id, result.unselected[start : start + _SLICE])
        self._totals = result.totals

    def _total(self, baseline: Baseline, totals: Totals) -> None:
        self.here, self.unmounted = totals.here, totals.unmounted
        unused = [p.number for p in totals.vanished if p.inside and not self._manifest.below(baseline.id, p.inside)]
        self._manifest.places.forget(baseline.id, unused)

    def scan_ended(self, *, whole: bool, now: float) -> None:
        """Close the baseline, or enter that the rows now follow the new patterns."""
        if self.baseline is None:
            return
        if self._totals is not None:
            self._total(self.baseline, self._totals)
        if not self.baseline.closed:
            self._manifest.close(self.baseline.id, self.pipeline.clock.wall_ns())
        self._manifest.places.close(self.baseline.id, self.standing.open, self.pipeline.clock.wall_ns())
        if self.baseline.selection != self.selection.digest:
            self._manifest.reselect(self.baseline.id, self.selection.digest, parameters_of(self.pipeline.settings))
        self.baseline = self._manifest.bind(self.pipeline.settings.name, self.root, self.selection.digest)
        self._stand()
        self.pipeline.engine.scanned(self.pipeline, self.root)
