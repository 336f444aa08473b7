"""Passes: which files go, told before and after they do.

The files of a share are written down (a step of the job) before the first is deleted, and told in the job's output and
the log when they are. A crash in between leaves some deleted that weren't told: `recover` looks which of them are gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from filewatchd.actions.base import Context, Ground, JobContext
from filewatchd.actions.expire.files import MOST, File, Gathered, Removal, gather, remove
from filewatchd.model import OK, Outcome, Trigger, Verdict
from filewatchd.work.retention import Going, Kept, Limits, Space, oldest_going

if TYPE_CHECKING:
    from filewatchd.actions.expire import Options

SHARE = 100  # files that are written down together
_PAUSE = 60.0  # seconds between two passes that changes ask for
_PLANNED = 10_000  # entries that a plan may look at: some ten milliseconds, on the loop
_TOLD = 20  # directories that a finding names
REMOVE = "remove"  # the step


class ExpireAction:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._counts = {"passes": 0, "removed": 0, "freed": 0, "failed": 0}
        self._last: float | None = None
        self.reconfigure(options)

    def reconfigure(self, options: Options) -> bool:
        """Always possible in place."""
        self._options = options
        self._limits = options.keep.limits(0)
        self._ctx.timers.every("pass", options.every, self._ask)
        return True

    async def recover(self) -> None:
        """Tell of files whose deletion was written down, and which of them are gone."""
        for cut in self._ctx.unfinished():
            paths = [path for step in cut.steps.recorded() if step.name == REMOVE for path in step.data["paths"]]
            gone = await self._ctx.pool.run("", missing, paths)
            for path in gone:
                self._ctx.log.info("%s was deleted before the restart", path)
            self._count("removed", len(gone))
            await cut.steps.clear()

    async def stop(self, grace: float) -> None:
        """Nothing runs between jobs."""

    def statistics(self) -> Mapping[str, Any]:
        """Passes, files and bytes."""
        return dict(self._counts)

    def _ask(self) -> None:
        self._ctx.request_job(Trigger.SCHEDULE)

    # ---- jobs

    async def run(self, job: JobContext) -> Outcome:
        """One pass over all files, unless only files came and nothing counts them, or they were just looked at."""
        if job.trigger in (Trigger.CHANGE, Trigger.RESCAN):
            if not counts(self._limits):
                return Outcome(Verdict.SKIPPED, "files grow old by themselves: the timer looks at them")
            if self._last is not None and (left := self._last + _PAUSE - self._ctx.clock.monotonic()) > 0:
                self._ctx.timers.at("soon", self._ctx.clock.wall_ns() / 1e9 + left, self._ask)
                return Outcome(Verdict.SKIPPED, f"all files were just looked at, and will be again in {left:.0f} s")
        await self._pass(job)
        return OK

    async def _pass(self, job: JobContext) -> None:
        self._last = self._ctx.clock.monotonic()
        self._count("passes", 1)
        trouble: list[str] = []
        left: set[str] = set()  # files that can't be deleted, or are in use: not tried again in this pass
        more = True
        while more and not job.cancelled:
            grounds = list(self._ctx.grounds())
            found = [await self._gather(ground) for ground in grounds]
            trouble = [f"{path}: {why}" for each in found for path, why in each.failed]
            gone = self._counts["removed"]
            going = [pair for pair in chosen(found, self._limits, self._now) if pair[0].path not in left]
            for start in range(0, len(going), SHARE):
                results = await self._remove(job, grounds, dict(going[start : start + SHARE]))
                left |= {each.path for each in results if each.result != "removed"}
                trouble += [f"{each.path}: {each.why}" for each in results if each.result == "failed"]
                job.progress(min(start + SHARE, len(going)), len(going), "files")
            more = self._counts["removed"] > gone and any(each.number > len(each.oldest) for each in found)
        self._tell(trouble)

    async def _gather(self, ground: Ground) -> Gathered:
        recursive = self._ctx.rule.recursive
        return await self._ctx.worker.call(gather, ground.root, ground.include, ground.exclude, recursive, MOST, 0)

    async def _remove(self, job: JobContext, grounds: Sequence[Ground], going: Mapping[File, Going]) -> list[Removal]:
        """Delete a share of them, written down before and told afterwards."""
        await job.steps.record(REMOVE, {"paths": [file.path for file in going]})
        results: list[Removal] = []
        for root, files in by_root([ground.root for ground in grounds], list(going)):
            results += await self._ctx.worker.call(remove, root, files)
        reasons = {file.path: (file, gone.why) for file, gone in going.items()}
        for each in results:
            self._told(job, each, *reasons[each.path])
        await job.steps.clear()
        return results

    def _told(self, job: JobContext, removal: Removal, file: File, why: str) -> None:
        path = removal.path
        if removal.result == "removed":
            self._count("removed", 1)
            self._count("freed", file.frees)
            job.wrote(path)
            job.effect("removed", path, None)
            self._ctx.log.info("deleted %r: %s", path, why)
            job.output(f"deleted {path!r}: {why}\n".encode("utf-8", "surrogateescape"))
        elif removal.result != "gone":
            self._count("failed", int(removal.result == "failed"))
            reason = {"changed": "it has changed", "written": "it is open for writing"}.get(removal.result, removal.why)
            job.output(f"kept {path!r}: {reason}\n".encode("utf-8", "surrogateescape"))

    def _tell(self, trouble: Sequence[str]) -> None:
        """A finding for what can't be done, as long as it can't."""
        if not trouble:
            self._ctx.clear_finding("expire")
            return
        more = f", and {len(trouble) - _TOLD} more" if len(trouble) > _TOLD else ""
        text = "; ".join(trouble[:_TOLD])
        self._ctx.finding("expire", f"files can't be looked at or deleted: {text}{more}; see to the rights there")

    def _count(self, name: str, by: int) -> None:
        self._counts[name] += by
        if by:
            self._ctx.count(name, by)

    @property
    def _now(self) -> float:
        return self._ctx.clock.wall_ns() / 1e9

    # ---- plans

    def plan(self, job: JobContext) -> Sequence[str]:
        """The files that would go, if there aren't too many to look at here."""
        recursive = self._ctx.rule.recursive
        found = [
            gather(ground.root, ground.include, ground.exclude, recursive, MOST, _PLANNED)
            for ground in self._ctx.grounds()
        ]
        if not all(each.whole for each in found):
            return [
                f"look at all files, of which there are more than {_PLANNED:,}, and delete the oldest beyond a limit"
            ]
        going = chosen(found, self._limits, self._now)
        return [f"delete {gone.file.name!r}: {gone.why}" for _, gone in going] or [
            "delete nothing: no limit is exceeded"
        ]


# ---- deciding, pure


def counts(limits: Limits) -> bool:
    """Whether a file that comes may make others go."""
    return (limits.count, limits.total, limits.min_free) != (None, None, None)


def chosen(found: Sequence[Gathered], limits: Limits, now: float) -> list[tuple[File, Going]]:
    """The files that go. The limits hold for all roots together, but for ``min_free``: for each filesystem."""
    oldest = at_hand(found)
    count, total = sum(each.number for each in found), sum(each.total for each in found)
    common = Limits(limits.count, limits.age, limits.total, None, limits.min_count)
    going = [
        (oldest[at], gone)
        for at, gone in enumerate(oldest_going([kept(file) for file in oldest], common, now, count, total))
    ]
    if limits.min_free is not None:
        going += list(for_space(found, oldest[len(going) :], count - len(going), limits, [f for f, _ in going], now))
    return going


def at_hand(found: Sequence[Gathered]) -> list[File]:
    """The oldest of all roots. Behind the last that a root has told of, another may have some that it hasn't."""
    last = min((each.oldest[-1] for each in found if each.number > len(each.oldest)), default=None)
    return [file for file in sorted(file for each in found for file in each.oldest) if last is None or file <= last]


def for_space(
    found: Sequence[Gathered], oldest: Sequence[File], count: int, limits: Limits, gone: Sequence[File], now: float
) -> Iterator[tuple[File, Going]]:
    """Of what is left, the files that go for the room on their filesystems."""
    for disk in {each.dev: each for gathered in found for each in gathered.disks}.values():
        here = [file for file in oldest if file.dev == disk.dev]
        freed = sum(file.frees for file in gone if file.dev == disk.dev)
        alone = Limits(min_free=limits.min_free, min_count=limits.min_count)
        told = oldest_going([kept(file) for file in here], alone, now, count, 0, Space(disk.free + freed, disk.total))
        yield from zip(here, told, strict=False)
        count -= len(told)


def kept(file: File) -> Kept:
    """A file as `work.retention` sees it."""
    return Kept(file.mtime_ns / 1e9, file.path, file.size, file.frees)


def by_root(roots: Sequence[str], files: Sequence[File]) -> Iterator[tuple[str, list[File]]]:
    """The files of each root; those of a root that isn't there any more are left alone."""
    for root in dict.fromkeys(roots):
        below = root.rstrip("/") + "/"
        mine = [file for file in files if file.path == root or file.path.startswith(below)]
        if mine:
            yield root, mine


def missing(paths: list[str]) -> list[str]:
    """Which of these aren't there."""
    return [path for path in paths if not os.path.lexists(path)]
